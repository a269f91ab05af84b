#include "cloister/guest/boot.hpp"

#include "cloister/codec/cbor.hpp"

namespace cloister::guest {
namespace {

constexpr std::size_t kMaxBlobs = 200;

}  // namespace

Result<Boot> decode_boot(ByteView bytes) {
  codec::cbor::Reader in{bytes};
  Boot boot;
  in.array(3);
  in.domain("cloister/boot/1");
  boot.configuration = to_bytes(in.bytes());
  const auto count = in.array_up_to(kMaxBlobs);
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    in.array(2);
    const auto digest = in.bytes<32>();
    const auto descriptor = in.uint();
    if (descriptor < kFirstBlobDescriptor || descriptor >= kFirstBlobDescriptor + kMaxBlobs) {
      in.fail(Errc::invalid_argument, "a blob's descriptor is out of range");
    }
    if (!in.failed() && !boot.blobs.emplace(digest, static_cast<int>(descriptor)).second) {
      in.fail(Errc::malformed, "a blob stands twice");
    }
  }
  CLOISTER_CHECK(in.finish());
  return boot;
}

}  // namespace cloister::guest
