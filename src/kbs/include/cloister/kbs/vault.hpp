#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/recent.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/generator.hpp"
#include "cloister/kbs/labels.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/rcar/resource.hpp"
#include "cloister/storage/resources.hpp"

namespace cloister::kbs {

/// The resources of one tenant, as its administrators keep them; none of whom ever gets a value from here. Every change is in
/// the audit log when it returns; `who` is the operator's name there. Errors of all changes: `not_found` for a resource or
/// version that is not there; `conflict`, with the way out, for one whose state does not allow it. Thread-safe.
class Vault {
 public:
  using Info = storage::Resources::Info;
  using Version = storage::Resources::Version;

  Vault(const Services& services, const Options& options)
      : services_{services}, options_{options}, resources_{services.sealer} {}

  struct Terms {
    std::optional<Labels> labels{};  // in the place of those that it has
    bool existing = false;           // `not_found` rather than a new resource
  };
  /// A new version, the current one from now on; returns its number. `conflict` while the resource is deleted, or when its
  /// values are made here; `limit_exceeded` beyond the tenant's quota.
  [[nodiscard]] Result<std::uint64_t> put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now,
                                          const Terms& terms);
  [[nodiscard]] Result<std::uint64_t> put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now) {
    return put(path, value, who, now, Terms{});
  }
  /// A resource whose value is made when the first guest asks for it that may have it. `conflict` where there is a resource.
  [[nodiscard]] Result<void> declare(const rcar::ResourcePath& path, const Generator& generator, const std::optional<Labels>& labels,
                                     std::string_view who, UnixTime now);
  /// A new version of a resource that was declared, made now. `conflict` for one whose values are put.
  [[nodiscard]] Result<std::uint64_t> rotate(const rcar::ResourcePath& path, std::string_view who, UnixTime now);

  [[nodiscard]] Result<void> set_current(const rcar::ResourcePath& path, std::uint64_t version, std::string_view who, UnixTime now);
  [[nodiscard]] Result<void> set_labels(const rcar::ResourcePath& path, const Labels& labels, std::string_view who, UnixTime now);
  /// How many of the newest versions stay, beside the current one; nothing: all. The others are purged now, and from now on by
  /// every new version.
  [[nodiscard]] Result<void> set_retention(const rcar::ResourcePath& path, std::optional<std::uint32_t> keep, std::string_view who,
                                           UnixTime now);
  static constexpr std::uint32_t kMaxKeep = 10'000;

  /// Deletes one version, or the resource with all of them: guests do not get it until it is undeleted. No other version takes
  /// the place of a current one.
  [[nodiscard]] Result<void> mark_deleted(const rcar::ResourcePath& path, std::optional<std::uint64_t> version, std::string_view who,
                                          UnixTime now);
  [[nodiscard]] Result<void> undelete(const rcar::ResourcePath& path, std::optional<std::uint64_t> version, std::string_view who,
                                      UnixTime now);
  struct Purged {
    std::vector<std::uint64_t> versions;  // whose values are erased
    bool log_emptied = false;  // nothing of them is in the database's write-ahead log either; else that is so by and by
  };
  /// Erases what was deleted, for good: one version, or the resource with all of them. `conflict` for what was not deleted.
  [[nodiscard]] Result<Purged> purge(const rcar::ResourcePath& path, std::optional<std::uint64_t> version, std::string_view who,
                                     UnixTime now);
  /// Both at once, as clients of the protocol delete.
  [[nodiscard]] Result<void> remove(const rcar::ResourcePath& path, std::string_view who, UnixTime now);

  /// By path; deleted ones too.
  [[nodiscard]] Result<std::vector<Info>> list() const;
  [[nodiscard]] Result<Info> info(const rcar::ResourcePath& path) const;
  /// Newest first. `not_found`.
  [[nodiscard]] Result<std::vector<Version>> versions(const rcar::ResourcePath& path) const;
  [[nodiscard]] Result<storage::Resources::Usage> usage() const;
  [[nodiscard]] std::uint64_t max_resources() const noexcept { return options_.max_resources; }
  [[nodiscard]] std::uint64_t max_bytes() const noexcept { return options_.max_resource_bytes; }

  // For `Gate` alone, which decides who may have it.
  /// Of a resource that is there and not deleted; else none.
  [[nodiscard]] Result<Labels> labels(const rcar::ResourcePath& path) const;
  /// `not_found`.
  [[nodiscard]] Result<storage::Resources::Value> get(const rcar::ResourcePath& path, std::optional<std::uint64_t> version);
  /// The current value, made now when its first use was awaited, for the guest with that token. Of two at once both get the
  /// same. `not_found`.
  [[nodiscard]] Result<storage::Resources::Value> first_use(const rcar::ResourcePath& path, std::string_view token, UnixTime now);

 private:
  using Details = decltype(merkle::AuditLeaf::details);
  /// `act(transaction, details)` with its leaf, in one transaction.
  template <class Act>
  [[nodiscard]] auto change(std::string_view kind, const rcar::ResourcePath& path, std::string_view who, UnixTime now, Act act)
      -> std::invoke_result_t<Act&, storage::Transaction&, Details&>;
  [[nodiscard]] Result<Info> find(const storage::Reading& reading, const rcar::ResourcePath& path) const;
  [[nodiscard]] Result<Info> find_undeleted(const storage::Reading& reading, const rcar::ResourcePath& path) const;
  [[nodiscard]] Result<Version> find_version(const storage::Reading& reading, const rcar::ResourcePath& path,
                                             std::uint64_t version) const;
  [[nodiscard]] Result<std::uint64_t> generate(storage::Transaction& transaction, const rcar::ResourcePath& path, const Info& info,
                                               UnixTime now);
  [[nodiscard]] Result<void> trim(storage::Transaction& transaction, const rcar::ResourcePath& path,
                                  std::optional<std::uint32_t> keep, std::string_view who, UnixTime now);
  [[nodiscard]] Result<void> check_quota(const storage::Reading& reading) const;
  [[nodiscard]] Result<std::vector<std::uint64_t>> erase(storage::Transaction& transaction, const rcar::ResourcePath& path);

  static constexpr std::size_t kStoredBytes = 1U << 20;
  enum class Labelled { unknown, none, some };
  const Services& services_;
  const Options& options_;
  storage::Resources resources_;
  /// Whether any resource may have labels: where none has, guests wait for no reading of them. Set before labels are.
  mutable std::atomic<Labelled> labelled_{Labelled::unknown};
  /// Versions as they are stored, of paths and numbers (none: the current one). All are forgotten once anything has changed.
  using Stored = std::pair<std::string, std::optional<std::uint64_t>>;
  Recent<Stored, std::shared_ptr<const storage::Resources::Sealed>> stored_{kStoredBytes};
};

}  // namespace cloister::kbs
