#include "cloister/revocation/list.hpp"

#include <algorithm>
#include <utility>

#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/merkle/log.hpp"

namespace cloister::revocation {
namespace {

namespace stored = storage::revocations;

/// One line of text, for people.
Result<void> check_reason(std::string_view reason) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  const bool one_line = std::ranges::none_of(reason, control) && codec::is_utf8(as_bytes(reason));
  if (!reason.empty() && reason.size() <= kMaxReason && one_line) return {};
  return Error{Errc::invalid_argument, "reason: one line of 1 to " + std::to_string(kMaxReason) + " bytes expected"};
}

Result<std::optional<UnixTime>> end_of(const Request& request, UnixTime now) {
  const bool passes = request.kind == Kind::session || request.kind == Kind::token;
  if (!request.lifetime) return passes ? std::optional{now + kShortLifetime} : std::nullopt;
  if (*request.lifetime >= kMinLifetime && *request.lifetime <= kMaxLifetime) return std::optional{now + *request.lifetime};
  return Error{Errc::invalid_argument, "lifetime: an hour to ten years expected"};
}

merkle::AuditLeaf leaf_of(std::string_view kind, const stored::Scope& scope, std::string_view id, std::string_view who, UnixTime now) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kind;
  leaf.subject = id;
  leaf.details = {{"by", std::string{who}}};
  if (scope) leaf.details.emplace_back("tenant", scope->str());  // without: of all tenants
  return leaf;
}

}  // namespace

Result<List::HeldPtr> List::read(const storage::Reading& reading, UnixTime now) const {
  CLOISTER_TRY(records, stored::list(reading, scope_, now));
  auto out = std::make_shared<Held>();
  for (const auto& one : records) {
    const auto kind = kind_from_string(one.kind);
    if (!kind) return Error{Errc::storage_corrupt, "revocation: no kind is called " + one.kind};
    (*out)[static_cast<std::size_t>(*kind)].emplace(one.value, one.expires);
  }
  if (records.size() > kMaxEntries) {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(kMaxEntries) + " revocations expected: lift what is not needed any more"};
  }
  return HeldPtr{std::move(out)};
}

List::HeldPtr List::current() const {
  const std::scoped_lock lock{mutex_};
  return held_;
}

List::HeldPtr List::exchange(HeldPtr held) {
  const std::scoped_lock lock{mutex_};
  return std::exchange(held_, std::move(held));
}

Result<void> List::load() {
  CLOISTER_TRY(snapshot, services_.database.read());
  CLOISTER_TRY(held, read(snapshot, UnixTime{}));  // whatever the clock says now
  exchange(std::move(held));
  return {};
}

Result<List::Record> List::add(const Request& request, std::string_view who, UnixTime now) {
  CLOISTER_TRY(value, canonical(request.kind, request.value));
  CLOISTER_CHECK(check_reason(request.reason));
  CLOISTER_TRY(expires, end_of(request, now));
  const Record record{random_id("rev", services_.random), std::string{to_string(request.kind)}, value, request.reason, std::string{who},
                      now, expires};
  auto leaf = leaf_of(kAdded, scope_, record.id, who, now);
  leaf.details.emplace_back("kind", record.kind);
  leaf.details.emplace_back("value", record.value);
  leaf.details.emplace_back("reason", record.reason);
  if (expires) leaf.details.emplace_back("expires", static_cast<std::uint64_t>(to_micros(*expires)));
  CLOISTER_CHECK(put(record, leaf, now));
  CLOISTER_CHECK(services_.log.cover(now));
  return record;
}

Result<void> List::put(const Record& record, const merkle::AuditLeaf& leaf, UnixTime now) {
  const std::scoped_lock lock{changing_};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(swept, stored::sweep(transaction, now));
  static_cast<void>(swept);
  if (auto added = stored::add(transaction, scope_, record); !added) {
    if (added.error().code() != Errc::conflict) return added.error();
    return Error{Errc::conflict, "this " + record.kind + " is revoked already: lift that first to change it"};
  }
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  // It holds before it is committed, and what is lifted holds until it is: in doubt, more is refused.
  CLOISTER_TRY(held, read(transaction, now));
  auto before = exchange(std::move(held));
  if (auto done = transaction.commit(); !done) {
    exchange(std::move(before));
    return done.error();
  }
  return {};
}

Result<void> List::lift(std::string_view id, std::string_view who, UnixTime now) {
  CLOISTER_CHECK(take(id, who, now));
  return services_.log.cover(now);
}

Result<void> List::take(std::string_view id, std::string_view who, UnixTime now) {
  const std::scoped_lock lock{changing_};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(stored::remove(transaction, scope_, id));
  CLOISTER_CHECK(services_.log.append(transaction, leaf_of(kLifted, scope_, id, who, now)));
  CLOISTER_TRY(held, read(transaction, now));
  CLOISTER_CHECK(transaction.commit());
  exchange(std::move(held));
  return {};
}

Result<std::vector<List::Record>> List::entries(UnixTime now) const {
  CLOISTER_TRY(snapshot, services_.database.read());
  return stored::list(snapshot, scope_, now);
}

Result<void> List::check(const Subjects& guest, UnixTime now) const {
  const auto held = current();
  const auto revoked = [&](Kind kind, const std::string& value) {
    const auto& values = (*held)[static_cast<std::size_t>(kind)];
    if (values.empty()) return false;
    const auto found = values.find(value);
    return found != values.end() && (!found->second || now < *found->second);
  };
  const auto any = [&](Kind kind, const std::vector<std::string>& values) {
    return std::ranges::any_of(values, [&](const std::string& value) { return revoked(kind, value); });
  };
  if (revoked(Kind::session, guest.session) || revoked(Kind::token, guest.token) || any(Kind::measurement, guest.measurements) ||
      any(Kind::chip, guest.chips)) {
    return Error{Errc::attestation_revoked, "what this guest is, or what it was given, was revoked"};
  }
  return {};
}

}  // namespace cloister::revocation
