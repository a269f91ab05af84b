#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>

#include "cloister/lab/tdx_status.hpp"

namespace cloister::lab::tdx {

/// A host physical address, without a key id.
struct Hpa {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const Hpa&, const Hpa&) = default;
};

inline constexpr std::uint64_t kFrameSize = 4096;  // bytes
/// Bytes that an entry of the secure EPT covers: level 0 is 4 KiB, 1 is 2 MiB, 2 is 1 GiB, 3 is 512 GiB.
[[nodiscard]] constexpr std::uint64_t span_of(unsigned level) noexcept { return kFrameSize << (9 * level); }

/// What a page is used for, as its metadata says (PT).
enum class PageType {
  tdr,    // a TD's root page
  tdcx,   // control structures of a TD or of a virtual CPU
  tdvpr,  // root page of a virtual CPU
  ept,    // a table of a secure EPT
  reg,    // private memory of a TD
};

/// `owner`: the root page of the TD that has the page; a root page owns itself. `level`: 0 or 1.
struct PageMetadata {
  PageType type = PageType::reg;
  Hpa owner;
  unsigned level = 0;
  friend bool operator==(const PageMetadata&, const PageMetadata&) = default;
};

/// The physical address metadata table: what every page of the memory that TDs may have is used for, and by which TD. A
/// page without an entry is free (PT_NDA). That no page has two owners is this table's doing (Base Architecture
/// Specification 348549, "Physical Memory Management"). A value; one thread at a time.
class Pamt {
 public:
  /// Of memory from 0 to `bytes`.
  explicit Pamt(std::uint64_t bytes) : bytes_{bytes} {}

  /// Whether all of the page may be given away: `operand_invalid` unless aligned to its size, `operand_addr_range_error`
  /// outside the memory, `page_metadata_incorrect` when part of it is in use.
  [[nodiscard]] Status check_free(Hpa page, unsigned level, Operand operand) const;
  /// The page was seen to be free (asserted).
  void assign(Hpa page, const PageMetadata& metadata);
  /// The page has an entry (asserted).
  void release(Hpa page);
  /// A private page of 2 MiB becomes 512 of 4 KiB of the same TD, or the reverse; they are there (asserted).
  void split(Hpa page);
  void join(Hpa page);
  /// Of the page that begins there; null where none does.
  [[nodiscard]] const PageMetadata* find(Hpa page) const;
  /// How many pages of 4 KiB the TD has, its root page not counted (CHLDCNT).
  [[nodiscard]] std::size_t children(Hpa owner) const;
  [[nodiscard]] const std::map<Hpa, PageMetadata>& all() const noexcept { return entries_; }

 private:
  std::uint64_t bytes_;
  std::map<Hpa, PageMetadata> entries_;
  std::map<Hpa, std::size_t> children_;
};

}  // namespace cloister::lab::tdx
