#include "cloister/lab/boot_log.hpp"

#include "cloister/crypto/hash.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr std::uint32_t kEventSeparator = 4;  // TCG PC Client Platform Firmware Profile, "Event types"

}  // namespace

Status BootLog::measure(unsigned index, std::uint32_t type, ByteView measured, ByteView data) {
  const Digest48 digest = crypto::sha384(measured);
  if (const auto status = td_->tdg_mr_rtmr_extend(GuestLevel::boot, index, digest); !status.ok()) return status;
  events_.push_back({static_cast<std::uint8_t>(index), type, digest, {}, to_bytes(data)});
  return {};
}

Status BootLog::separate(unsigned index) {
  constexpr ByteArray<4> kZero{};
  return measure(index, kEventSeparator, kZero, kZero);
}

void BootLog::note(unsigned index, ByteView data) {
  events_.push_back({static_cast<std::uint8_t>(index), evidence::kEventNoAction, {}, {}, to_bytes(data)});
}

}  // namespace cloister::lab::tdx
