#include "cloister/kbs/rule_book.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "leaves.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;
namespace stored = storage::broker_rules;

constexpr std::size_t kMaxReferenceValues = 512U << 10;
constexpr std::size_t kMaxChanges = 256;  // of reference values at once
constexpr std::size_t kTagSize = 32;      // hex digits

std::string tag_of_text(std::string_view text) { return codec::to_hex(crypto::sha256(as_bytes(text))).substr(0, kTagSize); }

/// Names have no NUL in them, scopes neither.
template <class Compiled>
PolicyView view_of(PolicyKind kind, const Held<Compiled>& held) {
  static const auto built_in = Compiled::builtin().text();
  const auto& text = held.policy.text();
  const std::string_view separator{"\0", 1};
  std::string whole{to_string(kind)};
  whole.append(separator).append(held.ref.name).append(separator).append(held.scope).append(separator).append(text);
  return {kind, held.ref.name, held.scope, text, held.ref.digest, tag_of_text(whole), held.set,
          !held.set && text == built_in};
}

template <class Compiled>
Held<Compiled> held_of(std::string_view name, std::string scope, Compiled policy, std::optional<UnixTime> set) {
  const auto digest = crypto::sha256(as_bytes(policy.text()));
  return {{std::string{name}, digest}, std::move(scope), std::move(policy), set};
}

bool is_default(PolicyKind kind, std::string_view name) {
  return kind == PolicyKind::resource ? name == kDefaultResourcePolicy : name == kCpuPolicy || name == kDevicePolicy;
}

/// What there is already of that kind and name.
std::optional<PolicyView> find(const Rules& rules, PolicyKind kind, std::string_view name) {
  if (kind == PolicyKind::resource) {
    const auto* found = rules.resource_named(name);
    return found == nullptr ? std::nullopt : std::optional{view_of(kind, *found)};
  }
  const auto found = rules.attestation.find(name);
  return found == rules.attestation.end() ? std::nullopt : std::optional{view_of(kind, found->second)};
}

Result<void> check_name(PolicyKind kind, std::string_view name) {
  if (!valid_id(name)) {
    return Error{Errc::invalid_argument,
                 "policy: a name of 1 to 64 characters of [a-z0-9_.-] expected, beginning with a letter or digit"};
  }
  const bool reserved = name == kDefaultResourcePolicy || name.starts_with("default_");
  if (kind == PolicyKind::attestation && reserved && !is_default(kind, name)) {
    return Error{Errc::not_found,
                 "of the attestation policies whose names begin with default there are default_cpu and default_gpu"};
  }
  return {};
}

Result<void> check_scope(const RuleBook::NewPolicy& policy, const Rules& rules) {
  if (policy.kind == PolicyKind::attestation || policy.name == kDefaultResourcePolicy) {
    if (policy.scope.empty()) return {};
    return Error{Errc::invalid_argument, "policy: " + policy.name + " holds everywhere: no scope expected"};
  }
  if (!rcar::is_scope(policy.scope)) {
    return Error{Errc::invalid_argument, "policy: scope: repository, repository/type or repository/type/tag expected"};
  }
  const auto found = rules.resource.find(policy.scope);
  if (found == rules.resource.end() || found->second.ref.name == policy.name) return {};
  return Error{Errc::conflict, "policy: the scope " + policy.scope + " is that of the policy " + found->second.ref.name +
                                   ": one of them would have no say"};
}

/// How many policies of a kind there are beside those that always are, and what all that were set hold.
Result<void> check_limits(const Rules& rules) {
  if (rules.resource.size() > RuleBook::kMaxResourcePolicies + 1) {
    return Error{Errc::limit_exceeded, "policy: at most 64 resource policies beside default expected"};
  }
  if (rules.attestation.size() > RuleBook::kMaxAttestationPolicies + 2) {
    return Error{Errc::limit_exceeded, "policy: at most 8 attestation policies beside default_cpu and default_gpu expected"};
  }
  std::size_t size = 0;
  const auto add = [&size](const auto& all) {
    for (const auto& [key, held] : all) size += held.set ? held.policy.text().size() : 0;
  };
  add(rules.resource);
  add(rules.attestation);
  if (size <= RuleBook::kMaxTexts) return {};
  return Error{Errc::limit_exceeded, "policy: at most 256 KiB of all policies together expected"};
}

void erase(Rules& rules, PolicyKind kind, std::string_view name) {
  if (kind == PolicyKind::resource) {
    std::erase_if(rules.resource, [&](const auto& one) { return one.second.ref.name == name; });
  } else if (const auto found = rules.attestation.find(name); found != rules.attestation.end()) {
    rules.attestation.erase(found);
  }
}

Result<void> put(Rules& rules, const RuleBook::NewPolicy& policy, UnixTime set) {
  erase(rules, policy.kind, policy.name);
  if (policy.kind == PolicyKind::resource) {
    CLOISTER_TRY(compiled, ResourcePolicy::compile(policy.name, policy.text));
    rules.resource.insert_or_assign(policy.scope, held_of(policy.name, policy.scope, std::move(compiled), set));
    return {};
  }
  CLOISTER_TRY(compiled, appraisal::Policy::compile(policy.name, policy.text));
  rules.attestation.insert_or_assign(policy.name, held_of(policy.name, {}, std::move(compiled), set));
  return {};
}

std::string subject_of(PolicyKind kind, std::string_view name) {
  return std::string{to_string(kind)} + '/' + std::string{name};
}

}  // namespace

std::string_view to_string(PolicyKind kind) noexcept {
  switch (kind) {
    case PolicyKind::resource: return stored::kResource;
    case PolicyKind::attestation: return stored::kAttestation;
  }
  return "";
}

Result<void> Seen::holds(std::string_view what, std::string_view tag, bool is_set) const {
  const auto refuse = [&](std::string why) { return Error{Errc::conflict, std::string{what} + ": " + std::move(why)}; };
  switch (what_) {
    case What::whatever: return {};
    case What::some:
      if (!tag.empty()) return {};
      return refuse("there is none to be replaced");
    case What::unset:
      if (!is_set) return {};
      return refuse("it was set already; whoever replaces it names its tag, " + std::string{tag});
    case What::tag:
      if (tag_ == tag) return {};
      if (tag.empty()) return refuse("there is none any more");
      return refuse("it was changed, its tag is " + std::string{tag} + ": look at it again");
  }
  return {};
}

Rules RuleBook::configured() const {
  Rules out;
  const auto judge = [&out](std::string_view name, const appraisal::Policy& policy) {
    out.attestation.emplace(name, held_of(name, {}, policy, {}));
  };
  judge(kCpuPolicy, options_.attestation_policy);
  judge(kDevicePolicy, options_.device_policy);
  out.resource.emplace("", held_of(kDefaultResourcePolicy, {}, options_.resource_policy, {}));
  out.reference_values = options_.reference_values;
  return out;
}

Result<void> RuleBook::load() {
  auto rules = configured();
  CLOISTER_TRY(snapshot, services_.database.read());
  CLOISTER_TRY(policies, stored::policies(snapshot, options_.tenant));
  for (auto& one : policies) {
    const auto kind = one.kind == stored::kResource ? PolicyKind::resource : PolicyKind::attestation;
    CLOISTER_CHECK(put(rules, {kind, std::move(one.name), std::move(one.scope), std::move(one.text)}, one.changed));
  }
  if (!rules.resource.contains("")) return Error{Errc::storage_corrupt, "policies: none holds for every resource"};
  CLOISTER_TRY(values, stored::reference_values(snapshot, options_.tenant));
  if (values) {
    auto read = json::parse(*values);
    if (!read || read->as_object() == nullptr) return Error{Errc::storage_corrupt, "reference values: an object expected"};
    rules.reference_values = *std::move(read);
  }
  rules_ = std::make_shared<const Rules>(std::move(rules));
  return {};
}

RuleBook::RulesPtr RuleBook::current() const {
  const std::scoped_lock lock{mutex_};
  return rules_;
}

std::vector<PolicyView> RuleBook::policies() const {
  const auto rules = current();
  std::vector<PolicyView> out;
  for (const auto& [scope, held] : rules->resource) out.push_back(view_of(PolicyKind::resource, held));
  std::ranges::sort(out, {}, &PolicyView::name);
  for (const auto& [name, held] : rules->attestation) out.push_back(view_of(PolicyKind::attestation, held));
  return out;
}

Result<PolicyView> RuleBook::policy(PolicyKind kind, std::string_view name) const {
  auto found = find(*current(), kind, name);
  if (!found) return Error{Errc::not_found, "no such policy"};
  return *std::move(found);
}

merkle::AuditLeaf RuleBook::changed(std::string_view kind, std::string subject, std::string_view who, UnixTime now) const {
  auto leaf = leaf_of(kind, kbs::subject_of(std::move(subject)), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"by", std::string{who}}};
  return leaf;
}

template <class Store>
Result<void> RuleBook::change(const std::vector<merkle::AuditLeaf>& leaves, Store store, Rules fresh, UnixTime now) {
  CLOISTER_CHECK(commit(leaves, store));
  auto shared = std::make_shared<const Rules>(std::move(fresh));
  {
    const std::scoped_lock lock{mutex_};
    rules_ = std::move(shared);
  }
  return services_.log.cover(now);
}

template <class Store>
Result<void> RuleBook::commit(const std::vector<merkle::AuditLeaf>& leaves, Store& store) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(store(transaction));
  for (const auto& leaf : leaves) {
    CLOISTER_CHECK(services_.log.append(transaction, leaf));
  }
  return transaction.commit();
}

Result<PolicyView> RuleBook::set(NewPolicy policy, const Seen& seen, std::string_view who, UnixTime now) {
  CLOISTER_CHECK(check_name(policy.kind, policy.name));
  const std::scoped_lock lock{changing_};
  auto fresh = *current();
  const auto before = find(fresh, policy.kind, policy.name);
  CLOISTER_CHECK(seen.holds("policy " + policy.name, before ? before->tag : "", before && before->set));
  CLOISTER_CHECK(check_scope(policy, fresh));
  CLOISTER_CHECK(put(fresh, policy, now));
  CLOISTER_CHECK(check_limits(fresh));
  const auto made = find(fresh, policy.kind, policy.name);
  auto leaf = changed(kPolicyChanged, subject_of(policy.kind, policy.name), who, now);
  leaf.details.emplace_back("policy", digest_bytes(made->digest));
  leaf.details.emplace_back("scope", policy.scope);
  const stored::Policy row{std::string{to_string(policy.kind)}, policy.name, policy.scope, policy.text, now};
  const auto store = [&](storage::Transaction& into) { return stored::set(into, options_.tenant, row); };
  CLOISTER_CHECK(change({leaf}, store, std::move(fresh), now));
  return *made;
}

Result<void> RuleBook::remove(PolicyKind kind, std::string_view name, const Seen& seen, std::string_view who,
                              UnixTime now) {
  const std::scoped_lock lock{changing_};
  auto fresh = *current();
  const auto before = find(fresh, kind, name);
  if (!before) return Error{Errc::not_found, "no such policy"};
  CLOISTER_CHECK(seen.holds("policy " + before->name, before->tag, before->set.has_value()));
  if (!before->set) {
    return Error{Errc::not_found, "nobody set the policy " + before->name + ": it is as it is configured, or built in"};
  }
  erase(fresh, kind, name);
  auto again = configured();
  if (is_default(kind, name)) {
    fresh.resource.merge(again.resource);
    fresh.attestation.merge(again.attestation);
  }
  auto leaf = changed(kPolicyRemoved, subject_of(kind, name), who, now);
  leaf.details.emplace_back("policy", digest_bytes(before->digest));
  const auto store = [&](storage::Transaction& into) { return stored::remove(into, options_.tenant, to_string(kind), name); };
  return change({leaf}, store, std::move(fresh), now);
}

Result<void> RuleBook::store_values(std::vector<merkle::AuditLeaf> leaves, json::Value values, UnixTime now) {
  const auto text = json::write(values);
  if (const auto again = json::parse(text); !again) return again.error().in("reference values");
  if (text.size() > kMaxReferenceValues) {
    return Error{Errc::limit_exceeded, "reference values: at most 512 KiB in all expected"};
  }
  for (auto& leaf : leaves) leaf.details.emplace_back("values", digest_bytes(crypto::sha256(as_bytes(text))));
  auto fresh = *current();
  fresh.reference_values = std::move(values);
  const auto store = [&](storage::Transaction& into) { return stored::set_reference_values(into, options_.tenant, text); };
  return change(leaves, store, std::move(fresh), now);
}

Result<void> RuleBook::set_reference_values(const json::Value& values, std::string_view who, UnixTime now) {
  const auto* members = values.as_object();
  if (members == nullptr) return Error{Errc::malformed, "reference values: an object expected"};
  if (members->size() > kMaxChanges) return Error{Errc::limit_exceeded, "reference values: at most 256 at once expected"};
  const std::scoped_lock lock{changing_};
  auto merged = reference_values();
  std::vector<merkle::AuditLeaf> leaves;
  for (const auto& [name, value] : *members) {
    merged.set(name, value);
    auto leaf = changed(kReferenceChanged, name, who, now);
    leaf.details.emplace_back("value", digest_bytes(crypto::sha256(as_bytes(json::write(value)))));
    leaves.push_back(std::move(leaf));
  }
  return store_values(std::move(leaves), std::move(merged), now);
}

Result<void> RuleBook::set_reference_value(std::string_view name, const json::Value& value, const Seen& seen, std::string_view who,
                                           UnixTime now) {
  const std::scoped_lock lock{changing_};
  auto merged = reference_values();
  const auto* before = merged.find(name);
  CLOISTER_CHECK(seen.holds("reference value", before == nullptr ? "" : tag_of(*before), before != nullptr));
  merged.set(name, value);
  auto leaf = changed(kReferenceChanged, std::string{name}, who, now);
  leaf.details.emplace_back("value", digest_bytes(crypto::sha256(as_bytes(json::write(value)))));
  return store_values({std::move(leaf)}, std::move(merged), now);
}

Result<void> RuleBook::remove_reference_value(std::string_view name, const Seen& seen, std::string_view who,
                                              UnixTime now) {
  const std::scoped_lock lock{changing_};
  auto left = reference_values();
  auto& members = *left.as_object();
  const auto before = std::ranges::find(members, name, &json::Object::value_type::first);
  if (before == members.end()) return Error{Errc::not_found, "no such reference value"};
  CLOISTER_CHECK(seen.holds("reference value", tag_of(before->second), true));
  members.erase(before);
  return store_values({changed(kReferenceRemoved, std::string{name}, who, now)}, std::move(left), now);
}

json::Value RuleBook::reference_values() const {
  auto values = current()->reference_values;
  return values.is_null() ? json::Value{json::Object{}} : values;
}

Result<json::Value> RuleBook::reference_value(std::string_view name) const {
  const auto now = current();
  const auto* value = now->reference_values.find(name);
  if (value == nullptr) return Error{Errc::not_found, "no such reference value"};
  return *value;
}

std::string RuleBook::tag_of(const json::Value& value) { return tag_of_text(json::write(value)); }

}  // namespace cloister::kbs
