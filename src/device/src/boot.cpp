#include "cloister/device/boot.hpp"

#include <algorithm>

#include "cloister/codec/cbor.hpp"

namespace cloister::device {
namespace {

namespace cbor = codec::cbor;

constexpr std::string_view kDomain = "cloister/boot/1";

Result<int> checked_descriptor(std::uint64_t number, const std::map<Digest32, int>& before) {
  constexpr std::uint64_t kFirst = kFirstBlobDescriptor;
  if (number < kFirst || number >= kFirst + kMaxBootBlobs) {
    return Error{Errc::malformed, "boot: blob at descriptor " + std::to_string(number)};
  }
  const auto descriptor = static_cast<int>(number);
  if (std::ranges::any_of(before, [=](const auto& blob) { return blob.second == descriptor; })) {
    return Error{Errc::malformed, "boot: descriptor " + std::to_string(number) + " twice"};
  }
  return descriptor;
}

}  // namespace

Bytes encode(const Boot& boot) {
  cbor::Writer out;
  out.array(3).text(kDomain).bytes(boot.configuration).array(boot.blobs.size());
  for (const auto& [digest, descriptor] : boot.blobs) {
    out.array(2).bytes(digest).uint(static_cast<std::uint64_t>(descriptor));
  }
  return std::move(out).take();
}

Result<Boot> decode_boot(ByteView bytes) {
  if (bytes.size() > kMaxBootSize) return Error{Errc::limit_exceeded, "boot information: 80 KiB at most"};
  cbor::Reader in{bytes};
  in.array(3);
  in.domain(kDomain);
  Boot boot{.configuration = to_bytes(in.bytes()), .blobs = {}};
  for (auto left = in.array_up_to(kMaxBootBlobs); left > 0 && !in.failed(); --left) {
    in.array(2);
    const auto digest = in.bytes<32>();
    const auto number = in.uint();
    if (in.failed()) break;
    if (!boot.blobs.empty() && digest <= boot.blobs.rbegin()->first) {
      return Error{Errc::not_canonical, "boot: blobs in ascending order, each once, expected"};
    }
    CLOISTER_TRY(descriptor, checked_descriptor(number, boot.blobs));
    boot.blobs.emplace(digest, descriptor);
  }
  CLOISTER_CHECK(in.finish());
  return boot;
}

Result<Boot> read_boot(process::UniqueFd memfd) {
  CLOISTER_TRY(mapping, process::SealedMapping::of(memfd.get()));
  return decode_boot(mapping.contents());
}

}  // namespace cloister::device
