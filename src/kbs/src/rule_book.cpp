#include "cloister/kbs/rule_book.hpp"

#include "cloister/crypto/hash.hpp"
#include "leaves.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;
namespace stored = storage::broker_rules;

constexpr std::size_t kMaxReferenceValues = 512U << 10;
constexpr std::size_t kMaxChanges = 256;  // of reference values at once
constexpr std::string_view kCpuPolicy = "default_cpu";
constexpr std::string_view kDevicePolicy = "default_gpu";
constexpr std::string_view kResourcePolicy = "default";

}  // namespace

Result<void> RuleBook::load() {
  Rules rules{options_.attestation_policy, options_.device_policy, options_.reference_values, options_.resource_policy};
  CLOISTER_TRY(snapshot, services_.database.read());
  CLOISTER_TRY(policies, stored::policies(snapshot, options_.tenant));
  for (auto& one : policies) {
    if (one.kind == stored::kResource) {
      CLOISTER_TRY(policy, ResourcePolicy::compile("resource", std::move(one.text)));
      rules.resource = std::move(policy);
      continue;
    }
    CLOISTER_TRY(policy, appraisal::Policy::compile(one.name, std::move(one.text)));
    (one.name == kCpuPolicy ? rules.cpu : rules.device) = std::move(policy);
  }
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

template <class Store, class Change>
Result<void> RuleBook::change(const std::vector<merkle::AuditLeaf>& leaves, Store store, Change change) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(store(transaction));
  for (const auto& leaf : leaves) {
    CLOISTER_TRY(index, services_.log.append(transaction, leaf));
    static_cast<void>(index);
  }
  auto fresh = *current();
  change(fresh);
  auto shared = std::make_shared<const Rules>(std::move(fresh));
  CLOISTER_CHECK(transaction.commit());
  const std::scoped_lock lock{mutex_};
  rules_ = std::move(shared);
  return {};
}

Result<void> RuleBook::set_resource_policy(std::string text, std::string_view who, UnixTime now) {
  CLOISTER_TRY(policy, ResourcePolicy::compile("resource", text));
  auto leaf = leaf_of(kPolicyChanged, "resource", now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"policy", digest_bytes(policy.digest())}, {"by", std::string{who}}};
  const std::scoped_lock lock{changing_};
  const stored::Policy row{std::string{stored::kResource}, std::string{kResourcePolicy}, "", std::move(text), now};
  return change({leaf}, [&](storage::Transaction& into) { return stored::set(into, options_.tenant, row); },
                [&](Rules& rules) { rules.resource = policy; });
}

Result<void> RuleBook::set_attestation_policy(std::string_view id, std::string text, std::string_view who, UnixTime now) {
  const bool cpu = id == kCpuPolicy;
  if (!cpu && id != kDevicePolicy) return Error{Errc::not_found, "policies are called default_cpu and default_gpu"};
  CLOISTER_TRY(policy, appraisal::Policy::compile(std::string{id}, text));
  auto leaf = leaf_of(kPolicyChanged, id, now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"policy", digest_bytes(policy.digest())}, {"by", std::string{who}}};
  const std::scoped_lock lock{changing_};
  const stored::Policy row{std::string{stored::kAttestation}, std::string{id}, "", std::move(text), now};
  return change({leaf}, [&](storage::Transaction& into) { return stored::set(into, options_.tenant, row); },
                [&](Rules& rules) { (cpu ? rules.cpu : rules.device) = policy; });
}

Result<void> RuleBook::set_reference_values(const json::Value& values, std::string_view who, UnixTime now) {
  const auto* members = values.as_object();
  if (members == nullptr) return Error{Errc::malformed, "reference values: an object expected"};
  if (members->size() > kMaxChanges) return Error{Errc::limit_exceeded, "reference values: at most 256 at once expected"};
  const std::scoped_lock lock{changing_};
  auto merged = current()->reference_values;
  if (merged.is_null()) merged = json::Object{};
  std::vector<merkle::AuditLeaf> leaves;
  for (const auto& [name, value] : *members) {
    merged.set(name, value);
    auto leaf = leaf_of(kReferenceChanged, subject_of(name), now);
    leaf.details = {{"tenant", options_.tenant.str()},
                    {"value", digest_bytes(crypto::sha256(as_bytes(json::write(value))))},
                    {"by", std::string{who}}};
    leaves.push_back(std::move(leaf));
  }
  const auto text = json::write(merged);
  if (const auto again = json::parse(text); !again) return again.error().in("reference values");
  if (text.size() > kMaxReferenceValues) return Error{Errc::limit_exceeded, "reference values: at most 512 KiB in all expected"};
  return change(leaves, [&](storage::Transaction& into) { return stored::set_reference_values(into, options_.tenant, text); },
                [&](Rules& rules) { rules.reference_values = merged; });
}

Result<json::Value> RuleBook::reference_value(std::string_view name) const {
  const auto now = current();
  const auto* value = now->reference_values.find(name);
  if (value == nullptr) return Error{Errc::not_found, "no such reference value"};
  return *value;
}

}  // namespace cloister::kbs
