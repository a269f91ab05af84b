#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/rules.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/storage/broker_rules.hpp"

namespace cloister::kbs {

enum class PolicyKind { resource, attestation };
/// "resource", "attestation".
[[nodiscard]] std::string_view to_string(PolicyKind kind) noexcept;

/// A policy as administrators see it.
struct PolicyView {
  PolicyKind kind{};
  std::string name;
  std::string scope;
  std::string text;
  Digest32 digest{};            // SHA-256 of the text
  std::string tag;              // another one for another text or scope
  std::optional<UnixTime> set;  // by an administrator
  bool built_in = false;        // else, where nobody set it, it is the configured one
};

/// What an administrator knew when a change was asked for: nobody overwrites what they have not seen.
class Seen {
 public:
  /// That it does not matter what there is.
  [[nodiscard]] static Seen whatever() { return Seen{What::whatever}; }
  /// That there is one.
  [[nodiscard]] static Seen some() { return Seen{What::some}; }
  /// That nobody has set any.
  [[nodiscard]] static Seen unset() { return Seen{What::unset}; }
  /// What has that tag.
  [[nodiscard]] static Seen tagged(std::string tag) { return Seen{What::tag, std::move(tag)}; }
  /// `conflict`. `tag` is that of what there is, empty for nothing; `is_set`: an administrator set it.
  [[nodiscard]] Result<void> holds(std::string_view what, std::string_view tag, bool is_set) const;

 private:
  enum class What { whatever, some, unset, tag };
  explicit Seen(What what, std::string tag = {}) : what_{what}, tag_{std::move(tag)} {}
  What what_;
  std::string tag_;
};

/// The rules of one tenant as they are now, and how administrators change them: each change holds at once, also after a
/// restart, and is in the audit log, under a signed head, when it returns; `who` is the operator's name there. Where no head could
/// be signed, the error is that of `audit::Log::cover`. Thread-safe.
class RuleBook {
 public:
  static constexpr std::size_t kMaxResourcePolicies = 64;    // beside "default"
  static constexpr std::size_t kMaxAttestationPolicies = 8;  // beside "default_cpu" and "default_gpu"
  /// Bytes of all policies that administrators set: compiled, they hold up to 140 times that, of what the process has for all.
  static constexpr std::size_t kMaxTexts = 256U << 10;

  RuleBook(const Services& services, const Options& options) : services_{services}, options_{options} {}

  /// Reads what was set before; `policy_invalid` when one of the policies does not compile any more; of the storage.
  [[nodiscard]] Result<void> load();
  using RulesPtr = std::shared_ptr<const Rules>;  // shared: a change takes it from nobody
  [[nodiscard]] RulesPtr current() const;

  /// Resource policies first, each kind by name.
  [[nodiscard]] std::vector<PolicyView> policies() const;
  /// `not_found`.
  [[nodiscard]] Result<PolicyView> policy(PolicyKind kind, std::string_view name) const;

  struct NewPolicy {
    PolicyKind kind{};
    std::string name;
    std::string scope;  // of a resource policy: 1 to 3 segments of paths; "default" has the empty one, as no other
    std::string text;
  };
  /// Nothing changes unless all of this holds: `policy_invalid` with line and column; `invalid_argument` for a name or scope
  /// that cannot be; `conflict` for a scope that another policy has, and where `seen` does not hold; `limit_exceeded`.
  [[nodiscard]] Result<PolicyView> set(NewPolicy policy, const Seen& seen, std::string_view who, UnixTime now);
  /// Those that are always there are what is configured, or built in, again. `not_found` when nobody set it; `conflict`.
  [[nodiscard]] Result<void> remove(PolicyKind kind, std::string_view name, const Seen& seen, std::string_view who,
                                    UnixTime now);

  /// Sets the members of an object, and leaves other reference values as they are. `limit_exceeded` beyond 512 KiB in all.
  [[nodiscard]] Result<void> set_reference_values(const codec::json::Value& values, std::string_view who, UnixTime now);
  /// One of them; `conflict` where `seen` does not hold.
  [[nodiscard]] Result<void> set_reference_value(std::string_view name, const codec::json::Value& value, const Seen& seen,
                                                 std::string_view who, UnixTime now);
  /// `not_found`; `conflict`.
  [[nodiscard]] Result<void> remove_reference_value(std::string_view name, const Seen& seen, std::string_view who,
                                                    UnixTime now);
  /// All of them: an object.
  [[nodiscard]] codec::json::Value reference_values() const;
  /// `not_found`.
  [[nodiscard]] Result<codec::json::Value> reference_value(std::string_view name) const;
  /// What changes with it.
  [[nodiscard]] static std::string tag_of(const codec::json::Value& value);

 private:
  /// Stores the change with its leaves, lets it hold, and has a head signed that covers it.
  template <class Store>
  [[nodiscard]] Result<void> change(const std::vector<merkle::AuditLeaf>& leaves, Store store, Rules fresh, UnixTime now);
  template <class Store>
  [[nodiscard]] Result<void> commit(const std::vector<merkle::AuditLeaf>& leaves, Store& store);
  [[nodiscard]] Rules configured() const;
  [[nodiscard]] Result<void> store_values(std::vector<merkle::AuditLeaf> leaves, codec::json::Value values, UnixTime now);
  [[nodiscard]] merkle::AuditLeaf changed(std::string_view kind, std::string subject, std::string_view who, UnixTime now) const;
  const Services& services_;
  const Options& options_;
  std::mutex changing_;       // one change at a time
  mutable std::mutex mutex_;  // guards the one below
  RulesPtr rules_;
};

}  // namespace cloister::kbs
