#pragma once

#include <cstdint>

#include "cloister/core/bytes.hpp"

/// The launch digest of AMD SEV-SNP, page by page, as firmware computes it (AMD 56860, SEV-SNP Firmware ABI, section 8.17
/// SNP_LAUNCH_UPDATE, Table 67 PAGE_INFO).
namespace cloister::measure {

inline constexpr std::size_t kSnpPageSize = 4096;
/// Where firmware measures the state of virtual CPUs.
inline constexpr std::uint64_t kSnpVmsaGpa = 0xFFFFFFFFF000;

/// PAGE_TYPE. Contents of normal pages and VMSAs are measured; of the others the type and address alone.
enum class SnpPageType : std::uint8_t { normal = 1, vmsa = 2, zero = 3, unmeasured = 4, secrets = 5, cpuid = 6 };
[[nodiscard]] constexpr bool contents_measured(SnpPageType type) noexcept {
  return type == SnpPageType::normal || type == SnpPageType::vmsa;
}

/// Permissions of the page for VMPL1 to VMPL3, as RMPADJUST has them.
struct SnpVmplPermissions {
  std::uint8_t vmpl1 = 0;
  std::uint8_t vmpl2 = 0;
  std::uint8_t vmpl3 = 0;
  friend bool operator==(const SnpVmplPermissions&, const SnpVmplPermissions&) = default;
};

/// A running launch digest, zero at first. The order of the pages is part of it. A value; one thread at a time.
class SnpLaunchDigest {
 public:
  SnpLaunchDigest() = default;
  /// To be continued from here.
  explicit SnpLaunchDigest(const Digest48& value) : value_{value} {}
  /// One page of 4 KiB. `gpa`: of the page, a multiple of 4096 (asserted); `contents`: the whole page where its contents are
  /// measured (asserted), else not looked at.
  void update(SnpPageType type, std::uint64_t gpa, ByteView contents, const SnpVmplPermissions& permissions = {});
  /// Many pages of one type, from `gpa` on. `contents` is whole pages (asserted).
  void update_pages(SnpPageType type, std::uint64_t gpa, ByteView contents);
  [[nodiscard]] const Digest48& value() const noexcept { return value_; }

 private:
  Digest48 value_{};
};

}  // namespace cloister::measure
