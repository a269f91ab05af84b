#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister_verify.h"

namespace {

using cloister::ByteView;

/// Eight lengths (32 bits, little-endian) with their bytes, in this order, and the time (64 bits, little-endian).
enum Part { kEvidence, kCollateral, kSecondDocument, kCertificates, kRoot, kLabRoot, kNonce, kPolicy, kParts };

cloister_verify_bytes bytes_of(ByteView view) { return {view.empty() ? nullptr : view.data(), view.size()}; }

}  // namespace

/// The return value and the object agree, and the same request has the same answer, also with a cache that knows what
/// came before.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  codec::Reader in{ByteView{data, size}};
  std::array<cloister_verify_bytes, kParts> parts{};
  for (auto& part : parts) {
    const auto length = in.u32le();
    const auto bytes = length ? in.take(*length) : std::nullopt;
    if (!bytes) return 0;
    part = bytes_of(*bytes);
  }
  const auto time = in.u64le();
  if (!time) return 0;

  const std::array<cloister_verify_document, 2> documents{{{nullptr, parts[kCollateral]}, {"second", parts[kSecondDocument]}}};
  cloister_verify_request request{};
  request.struct_size = sizeof request;
  request.evidence = parts[kEvidence];
  request.collateral = documents.data();
  request.collateral_count = parts[kCollateral].size == 0 ? 0 : parts[kSecondDocument].size == 0 ? 1 : 2;
  request.certificates = &parts[kCertificates];
  request.certificate_count = parts[kCertificates].size == 0 ? 0 : 1;
  request.roots = &parts[kRoot];
  request.root_count = parts[kRoot].size == 0 ? 0 : 1;
  request.lab_roots = &parts[kLabRoot];
  request.lab_root_count = parts[kLabRoot].size == 0 ? 0 : 1;
  request.nonce = parts[kNonce];
  request.policy = parts[kPolicy];
  request.time = static_cast<std::int64_t>(*time);

  char* first = nullptr;
  char* second = nullptr;
  const auto code = cloister_verify_evidence(&request, &first);
  static const std::unique_ptr<cloister_verify_cache, void (*)(cloister_verify_cache*)> cache{cloister_verify_cache_new(),
                                                                                              cloister_verify_cache_free};
  request.cache = cache.get();
  if (cloister_verify_evidence(&request, &second) != code) std::abort();
  if (first == nullptr || second == nullptr || std::string_view{first} != second) std::abort();
  const auto object = codec::json::parse(first);
  if (!object) std::abort();
  const auto* verdict = object->find("verdict");
  const bool judged = code == CLOISTER_VERIFY_ACCEPTED || code == CLOISTER_VERIFY_REJECTED;
  if (judged != (verdict != nullptr)) std::abort();
  if (judged && *verdict->as_string() != (code == CLOISTER_VERIFY_ACCEPTED ? "accepted" : "rejected")) std::abort();
  if (!judged && code != CLOISTER_VERIFY_USAGE_ERROR) std::abort();
  cloister_verify_free(first);
  cloister_verify_free(second);
  return 0;
}
