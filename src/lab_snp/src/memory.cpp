#include "cloister/lab_snp/memory.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::string_view kPageDomain = "cloister/lab/1/SNP page";

crypto::Secret<32> page_key(const MemoryKey& guest, std::uint64_t spa) {
  codec::Writer info;
  info.raw(as_bytes(kPageDomain));
  info.u64le(spa);
  return crypto::hkdf32({}, guest.reveal(), info.bytes());
}

crypto::Nonce nonce_of(std::uint64_t number) {
  crypto::Nonce out{};
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(number >> (8 * i));
  return out;
}

}  // namespace

Fault Memory::host_write(std::uint64_t spa, const Page& page) {
  if (!has(spa)) return Fault::pf_rmp;
  if (const auto fault = rmp_.host_write(spa); fault != Fault::none) return fault;
  write_plain(spa, page);
  return Fault::none;
}

Loaded Memory::guest_read(const GuestView& guest, PageSize size) const {
  if (const auto fault = rmp_.guest_access(guest, vmpl_permission::kRead, size); fault != Fault::none) return {.fault = fault};
  return open(guest.spa, guest.asid);
}

Fault Memory::guest_write(const GuestView& guest, const Page& page, PageSize size) {
  if (const auto fault = rmp_.guest_access(guest, vmpl_permission::kWrite, size); fault != Fault::none) return fault;
  write_sealed(guest.spa, guest.asid, page);
  return Fault::none;
}

void Memory::write_sealed(std::uint64_t spa, std::uint32_t asid, const Page& page) {
  CLOISTER_ASSERT(has(spa));
  const auto key = page_key(keys_.at(asid), spa);
  DramPage out{.sealed = true, .nonce = ++nonce_};
  const auto sealed = crypto::aes_gcm_seal(key.reveal(), nonce_of(out.nonce), {}, page);
  std::ranges::copy(ByteView{sealed}.first(page.size()), out.bytes.begin());
  std::ranges::copy(ByteView{sealed}.last(out.tag.size()), out.tag.begin());
  dram_[spa] = out;
}

Loaded Memory::open(std::uint64_t spa, std::uint32_t asid) const {
  const auto there = dram(spa);
  const auto key = keys_.find(asid);
  if (!there.sealed || key == keys_.end()) return {.fault = Fault::integrity};
  auto sealed = to_bytes(there.bytes);
  append(sealed, there.tag);
  const auto opened = crypto::aes_gcm_open(page_key(key->second, spa).reveal(), nonce_of(there.nonce), {}, sealed);
  if (!opened) return {.fault = Fault::integrity};
  return {.page = to_array<kSmallPage>(opened->reveal())};
}

DramPage Memory::dram(std::uint64_t spa) const {
  CLOISTER_ASSERT(has(spa));
  const auto found = dram_.find(spa);
  return found == dram_.end() ? DramPage{} : found->second;
}

void Memory::set_dram(std::uint64_t spa, const DramPage& page) {
  CLOISTER_ASSERT(has(spa));
  dram_[spa] = page;
}

}  // namespace cloister::lab_snp
