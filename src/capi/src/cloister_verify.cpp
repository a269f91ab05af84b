#include "cloister_verify.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "cloister/codec/json.hpp"
#include "cloister/core/random.hpp"
#include "request.hpp"

namespace cloister::capi {
namespace {

namespace json = codec::json;

struct Answer {
  std::int32_t code;
  json::Value object;
};

Answer refusal(std::int32_t code, const Error& error) {
  return {code, json::Object{{"error", json::Object{{"code", to_string(error.code())}, {"detail", error.detail()}}}}};
}

Answer verify(const cloister_verify_request* given) {
  const auto request = read_request(given);
  if (!request) return refusal(CLOISTER_VERIFY_USAGE_ERROR, request.error());
  const auto find = [&](const evidence::Quote& quote) { return request->setting->collateral_for(quote); };
  const auto endorsements = [&](const evidence::SnpReport& report, const auto&) { return request->setting->endorsements_for(report); };
  const auto judged = verdict::judge(request->evidence, request->tee, request->terms, {find, endorsements});
  if (!judged) return refusal(CLOISTER_VERIFY_FAILED, judged.error());
  return {judged->accepted() ? CLOISTER_VERIFY_ACCEPTED : CLOISTER_VERIFY_REJECTED, verdict::to_json(*judged)};
}

/// With malloc, so that releasing it needs nothing of C++; null without memory.
char* copy(const std::string& text) noexcept {
  auto* out = static_cast<char*>(std::malloc(text.size() + 1));
  if (out != nullptr) std::memcpy(out, text.c_str(), text.size() + 1);
  return out;
}

}  // namespace
}  // namespace cloister::capi

extern "C" {

std::uint32_t cloister_verify_abi_version(void) { return CLOISTER_VERIFY_ABI_VERSION; }

std::int32_t cloister_verify_evidence(const cloister_verify_request* request, char** result) {
  if (result != nullptr) *result = nullptr;
  try {
    const auto answer = cloister::capi::verify(request);
    if (result == nullptr) return answer.code;
    *result = cloister::capi::copy(cloister::codec::json::write(answer.object));
    return *result == nullptr ? CLOISTER_VERIFY_FAILED : answer.code;
  } catch (...) {  // only the standard library throws here: std::bad_alloc
    return CLOISTER_VERIFY_FAILED;
  }
}

void cloister_verify_free(char* result) { std::free(result); }

cloister_verify_cache* cloister_verify_cache_new(void) {
  try {
    cloister::SystemRandom random;
    return new cloister_verify_cache{random};
  } catch (...) {  // std::bad_alloc
    return nullptr;
  }
}

void cloister_verify_cache_free(cloister_verify_cache* cache) { delete cache; }

}  // extern "C"
