#pragma once

#include <cstdint>
#include <map>
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

/// Tenants' resources of the key broker by path, in versions, each value sealed at rest. They are no `Secrets`: who gets one
/// of those its challenge's version says, who gets one of these the broker's policy. Versions of a path count from 1 and are
/// never used twice, also not after everything was purged. What may be done when is not decided here. Thread-safe; the sealer
/// outlives it.
class Resources {
 public:
  explicit Resources(Sealer& sealer) : sealer_{sealer} {}

  using Labels = std::map<std::string, std::string>;
  struct Info {
    std::string path;
    std::uint64_t last = 0;                // the newest version that there ever was; 0: none yet
    std::optional<std::uint64_t> current;  // the version for whoever names none; it may be deleted
    UnixTime created{};                    // since when there is such a resource
    std::optional<UnixTime> deleted{};     // with all of its versions, until it is undeleted
    Labels labels{};
    std::optional<std::string> generator{};  // values are made here, and nobody puts any
    std::uint64_t pending = 0;               // bytes of the value that its first use will make; 0: none
    std::optional<std::uint32_t> keep{};     // how many of the newest versions stay; nothing: all
  };
  /// Of a purged version the number stays, and when it was made.
  struct Version {
    std::uint64_t number = 0;
    UnixTime created{};
    std::uint64_t size = 0;  // bytes of the value
    bool generated = false;  // made here
    bool purged = false;
    std::optional<UnixTime> deleted{};
  };
  struct Value {
    std::uint64_t version = 0;
    crypto::SecretBytes value;
  };
  struct Usage {
    std::uint64_t resources = 0;  // deleted ones too
    std::uint64_t bytes = 0;      // of all versions that are not purged, and of those that first uses will make
  };
  static constexpr std::uint64_t kVersionBytes = 128;  // that a version takes beside its value
  static constexpr std::size_t kMaxValue = 2U << 20;

  /// The resource, deleted or not; `not_found` where there is none, or it was purged.
  [[nodiscard]] Result<Info> info(const Reading& reading, const TenantId& tenant, std::string_view path) const;
  /// All of them, deleted or not, by path.
  [[nodiscard]] Result<std::vector<Info>> list(const Reading& reading, const TenantId& tenant) const;
  /// Every version that there ever was of it, newest first.
  [[nodiscard]] Result<std::vector<Version>> versions(const Reading& reading, const TenantId& tenant, std::string_view path) const;
  /// One of them; `not_found` where it never was.
  [[nodiscard]] Result<Version> version(const Reading& reading, const TenantId& tenant, std::string_view path, std::uint64_t number) const;
  /// Whether any resource of the tenant has labels.
  [[nodiscard]] Result<bool> labelled(const Reading& reading, const TenantId& tenant) const;
  [[nodiscard]] Result<Usage> usage(const Reading& reading, const TenantId& tenant) const;
  /// That version, or the current one. `not_found`, also for what is deleted or purged.
  [[nodiscard]] Result<Value> get(const Reading& reading, const TenantId& tenant, std::string_view path,
                                  std::optional<std::uint64_t> version = std::nullopt);
  /// The same in two steps, for whoever keeps what it read: a version as it is stored, and its value without the database
  /// (`unavailable` while its data key is not in memory, `decryption_failed`).
  struct Sealed {
    std::uint64_t version = 0;
    Bytes value;
  };
  [[nodiscard]] Result<Sealed> sealed(const Reading& reading, const TenantId& tenant, std::string_view path,
                                      std::optional<std::uint64_t> version) const;
  [[nodiscard]] Result<Value> open(const Reading& reading, const TenantId& tenant, std::string_view path, const Sealed& sealed);
  [[nodiscard]] Result<Value> open_again(const TenantId& tenant, std::string_view path, const Sealed& sealed) const;

  /// A new version of the resource at `path`, which the caller has checked, and which is made where there is none; it is the
  /// current one from now on, and nothing is pending any more. Returns its number. `limit_exceeded` beyond `kMaxValue`.
  [[nodiscard]] Result<std::uint64_t> put(Transaction& transaction, const TenantId& tenant, std::string_view path, ByteView value,
                                          UnixTime now, bool generated = false);
  /// A resource without a version, whose first use will make one of `bytes`. `conflict` where there is one already.
  [[nodiscard]] Result<void> declare(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                     std::string_view generator, std::uint64_t bytes, UnixTime now);
  // The rest: `not_found` where there is no such resource or version, or it was purged.
  [[nodiscard]] Result<void> set_current(Transaction& transaction, const TenantId& tenant, std::string_view path, std::uint64_t version);
  [[nodiscard]] Result<void> set_labels(Transaction& transaction, const TenantId& tenant, std::string_view path, const Labels& labels);
  [[nodiscard]] Result<void> set_keep(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                      std::optional<std::uint32_t> keep);
  [[nodiscard]] Result<void> set_deleted(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                         std::optional<UnixTime> deleted);
  [[nodiscard]] Result<void> set_deleted(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                         std::uint64_t version, std::optional<UnixTime> deleted);
  /// Overwrites the value. Of the current version: then there is none.
  [[nodiscard]] Result<void> purge(Transaction& transaction, const TenantId& tenant, std::string_view path, std::uint64_t version);
  /// Overwrites the values of all versions, and forgets all else of the resource but its numbers.
  [[nodiscard]] Result<void> purge(Transaction& transaction, const TenantId& tenant, std::string_view path);
  /// Purges all versions but the newest `keep` and the current one; returns their numbers.
  [[nodiscard]] Result<std::vector<std::uint64_t>> purge_older(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                                               std::uint32_t keep);

 private:
  Sealer& sealer_;
};

}  // namespace cloister::storage
