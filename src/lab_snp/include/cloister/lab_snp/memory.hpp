#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/lab_snp/rmp.hpp"

/// LAB ONLY - NOT HARDWARE. The memory of a machine behind its Reverse Map Table.
namespace cloister::lab_snp {

using Page = ByteArray<kSmallPage>;
using MemoryKey = crypto::Secret<32>;  // of one guest: VEK in AMD's terms

/// A page as it stands in DRAM: plaintext of the host's, or ciphertext under a page's key, with nonce and tag.
struct DramPage {
  Page bytes{};
  bool sealed = false;
  std::uint64_t nonce = 0;
  ByteArray<16> tag{};
  friend bool operator==(const DramPage&, const DramPage&) = default;
};

/// What a load gave, or what stopped it.
struct Loaded {
  Fault fault = Fault::none;
  Page page{};
  [[nodiscard]] bool ok() const noexcept { return fault == Fault::none; }
};

/// DRAM, the memory controller with a key for each ASID, and the RMP in front of both. Each page has a key of its own, which
/// follows from the guest's and the page's address: a page that is changed, or moved to another address, does not open
/// (`Fault::integrity`; hardware has no such fault: it would read noise). An older page put back at its own address does open,
/// as on hardware: against that, nothing stands but the RMP, which keeps the host from writing.
/// One thread at a time; movable.
class Memory {
 public:
  /// `pages` of 4 KiB, all the hypervisor's, all zero.
  explicit Memory(std::size_t pages) : rmp_{pages} {}

  [[nodiscard]] Rmp& rmp() noexcept { return rmp_; }
  [[nodiscard]] const Rmp& rmp() const noexcept { return rmp_; }
  /// Whether this is the address of a page of the machine.
  [[nodiscard]] bool has(std::uint64_t spa) const noexcept { return spa % kSmallPage == 0 && spa / kSmallPage < rmp_.pages(); }

  /// The host: whatever stands in DRAM, ciphertext where it is a guest's. The address is a page's (asserted).
  [[nodiscard]] Page host_read(std::uint64_t spa) const { return dram(spa).bytes; }
  /// `pf_rmp` for pages that are not the hypervisor's.
  [[nodiscard]] Fault host_write(std::uint64_t spa, const Page& page);

  /// A guest, C bit set: a whole page. Faults of the RMP, and `integrity`.
  [[nodiscard]] Loaded guest_read(const GuestView& guest, PageSize size = PageSize::small) const;
  [[nodiscard]] Fault guest_write(const GuestView& guest, const Page& page, PageSize size = PageSize::small);

  /// Firmware: keys by ASID, and pages past the RMP.
  void install_key(std::uint32_t asid, MemoryKey key) { keys_.insert_or_assign(asid, std::move(key)); }
  void remove_key(std::uint32_t asid) { keys_.erase(asid); }
  void write_plain(std::uint64_t spa, const Page& page) { dram_[spa] = {.bytes = page}; }
  /// Under the key of this ASID, which is installed (asserted).
  void write_sealed(std::uint64_t spa, std::uint32_t asid, const Page& page);

  /// Somebody at the memory bus, whom the RMP does not see.
  [[nodiscard]] DramPage dram(std::uint64_t spa) const;
  void set_dram(std::uint64_t spa, const DramPage& page);

 private:
  [[nodiscard]] Loaded open(std::uint64_t spa, std::uint32_t asid) const;
  Rmp rmp_;
  std::map<std::uint32_t, MemoryKey> keys_;
  std::map<std::uint64_t, DramPage> dram_;  // by SPA; pages that are not there are zero
  std::uint64_t nonce_ = 0;                 // the last that a page was sealed with
};

}  // namespace cloister::lab_snp
