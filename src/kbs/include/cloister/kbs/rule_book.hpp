#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/resource_policy.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/storage/broker_rules.hpp"

namespace cloister::kbs {

/// What the guests of one tenant are judged by. A value that does not change, so that one judgement sees one state of it.
struct Rules {
  appraisal::Policy cpu;     // of TEEs
  appraisal::Policy device;  // of devices
  codec::json::Value reference_values;
  ResourcePolicy resource;
};

/// The rules of one tenant as they are now, and how administrators change them. Thread-safe.
class RuleBook {
 public:
  RuleBook(const Services& services, const Options& options) : services_{services}, options_{options} {}

  /// Reads what was set before; `policy_invalid` when one of the policies does not compile any more; of the storage.
  [[nodiscard]] Result<void> load();
  using RulesPtr = std::shared_ptr<const Rules>;  // shared: a change takes it from nobody
  [[nodiscard]] RulesPtr current() const;

  /// The resource policy from now on, also after a restart. `policy_invalid` with line and column: nothing changes then.
  [[nodiscard]] Result<void> set_resource_policy(std::string text, std::string_view who, UnixTime now);
  /// The same of "default_cpu", for TEEs, or "default_gpu", for devices; `not_found` for any other.
  [[nodiscard]] Result<void> set_attestation_policy(std::string_view id, std::string text, std::string_view who, UnixTime now);
  /// Sets the members of an object, and leaves other reference values as they are. `limit_exceeded` beyond 512 KiB in all.
  [[nodiscard]] Result<void> set_reference_values(const codec::json::Value& values, std::string_view who, UnixTime now);
  /// `not_found`.
  [[nodiscard]] Result<codec::json::Value> reference_value(std::string_view name) const;

 private:
  /// Stores the change with its leaves, and lets it hold.
  template <class Store, class Change>
  [[nodiscard]] Result<void> change(const std::vector<merkle::AuditLeaf>& leaves, Store store, Change change);
  const Services& services_;
  const Options& options_;
  std::mutex changing_;       // one change at a time
  mutable std::mutex mutex_;  // guards the one below
  RulesPtr rules_;
};

}  // namespace cloister::kbs
