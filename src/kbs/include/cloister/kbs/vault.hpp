#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/rcar/resource.hpp"
#include "cloister/storage/resources.hpp"

namespace cloister::kbs {

/// The resources of one tenant, as its administrators keep them. Every change is in the audit log when it returns; `who` is
/// the operator's name there. Thread-safe.
class Vault {
 public:
  Vault(const Services& services, const Options& options)
      : services_{services}, options_{options}, resources_{services.sealer} {}

  /// A new version; returns its number.
  [[nodiscard]] Result<std::uint64_t> put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now);
  /// `not_found`.
  [[nodiscard]] Result<void> remove(const rcar::ResourcePath& path, std::string_view who, UnixTime now);
  [[nodiscard]] Result<std::vector<storage::Resources::Info>> list() const;

  /// For `Gate` alone, which decides who may have it: `not_found`.
  [[nodiscard]] Result<storage::Resources::Value> get(const rcar::ResourcePath& path);

 private:
  const Services& services_;
  const Options& options_;
  storage::Resources resources_;
};

}  // namespace cloister::kbs
