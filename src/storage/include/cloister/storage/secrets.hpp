#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/sealing.hpp"

namespace cloister::storage {

/// Tenants' secrets by path, each value sealed at rest. Versions of a path count from 1 and are never used twice.
/// Thread-safe; the sealer outlives it.
class Secrets {
 public:
  explicit Secrets(Sealer& sealer) : sealer_{sealer} {}

  struct Info {
    std::string path;
    std::uint64_t version = 0;
    UnixTime created{};
  };
  struct Value {
    Info info;
    crypto::SecretBytes value;
  };
  static constexpr std::size_t kMaxValue = 64 * 1024;

  /// A new version of the secret at `path` (model::valid_secret_path); returns its number.
  [[nodiscard]] Result<std::uint64_t> put(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                          ByteView value, UnixTime now);
  /// That version, or the newest. `not_found`, also for a removed one.
  [[nodiscard]] Result<Value> get(const Reading& reading, const TenantId& tenant, std::string_view path,
                                  std::optional<std::uint64_t> version = std::nullopt);
  /// The newest version of every path, without values, by path.
  [[nodiscard]] Result<std::vector<Info>> list(const Reading& reading, const TenantId& tenant) const;
  /// Erases the values of all versions. `not_found`.
  [[nodiscard]] Result<void> remove(Transaction& transaction, const TenantId& tenant, std::string_view path);

 private:
  Sealer& sealer_;
};

}  // namespace cloister::storage
