#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/hash.hpp"

/// The launch measurement of Intel TDX (MRTD), as the TDX module computes it: Intel TDX Module Base Architecture
/// Specification (348549), "TD Measurement", and ABI Reference (348551), TDH.MEM.PAGE.ADD and TDH.MR.EXTEND.
namespace cloister::measure {

inline constexpr std::size_t kTdPageSize = 4096;
inline constexpr std::size_t kTdChunkSize = 256;

using TdPage = std::span<const std::uint8_t, kTdPageSize>;
using TdChunk = std::span<const std::uint8_t, kTdChunkSize>;

/// A running MRTD. The order of the calls is part of the measurement. One thread at a time; movable.
class TdMeasurement {
 public:
  /// TDH.MEM.PAGE.ADD: one 128-byte block that names the page's address. Contents are not covered by it.
  /// `gpa` is a guest physical address, a multiple of 4096 (asserted).
  void page_add(std::uint64_t gpa);
  /// TDH.MR.EXTEND: one 128-byte block that names the chunk's address, then the 256 bytes themselves.
  /// `gpa` is a multiple of 256 (asserted).
  void extend(std::uint64_t gpa, TdChunk chunk);
  /// `page_add`, then `extend` of the page's 16 chunks in ascending order.
  void add_and_extend(std::uint64_t gpa, TdPage page);
  /// TDH.MR.FINALIZE: MRTD. The object may only be destroyed or assigned afterwards.
  [[nodiscard]] Digest48 finish() { return hash_.finish(); }

 private:
  crypto::Sha384 hash_;
};

/// How a VMM orders the calls for a section of virtual firmware whose contents are measured. Both orders are in use,
/// and give different measurements of one firmware.
enum class TdvfProfile {
  single_pass,  // each page: PAGE.ADD, then its 16 EXTENDs (QEMU, td-shim)
  two_pass,     // all pages of the section: PAGE.ADD; then the EXTENDs of all of them (Google's and dstack's VMM)
};

/// "single-pass" or "two-pass".
[[nodiscard]] Result<TdvfProfile> parse_tdvf_profile(std::string_view text);

/// One entry of the TDVF descriptor (Intel TDX Virtual Firmware Design Guide 344991, section 11.2).
struct TdvfSection {
  std::uint32_t data_offset = 0;  // into the firmware file; bytes, as all sizes here
  std::uint32_t data_size = 0;    // 0: memory of zeros
  std::uint64_t gpa = 0;
  std::uint64_t memory_size = 0;
  std::uint32_t type = 0;         // 0 BFV, 1 CFV, 2 TD_HOB, 3 temporary memory, 4 permanent memory, 5.. payload and others
  std::uint32_t attributes = 0;

  static constexpr std::uint32_t kMrExtend = 1;  // contents are measured
  static constexpr std::uint32_t kPageAug = 2;   // added at run time, not at build: not measured
  friend bool operator==(const TdvfSection&, const TdvfSection&) = default;
};

inline constexpr std::size_t kMaxFirmwareSize = 64U << 20;
inline constexpr std::size_t kMaxTdvfSections = 64;

/// The sections of a TDVF image, found through the GUIDed table at its end. `malformed` when the table, the descriptor
/// or a section is not as specified (a section outside the file, unaligned, or larger than `kMaxFirmwareSize`).
[[nodiscard]] Result<std::vector<TdvfSection>> tdvf_sections(ByteView firmware);

/// MRTD of a TD that boots this firmware. Errors: as `tdvf_sections`.
[[nodiscard]] Result<Digest48> mrtd_of_tdvf(ByteView firmware, TdvfProfile profile);

}  // namespace cloister::measure
