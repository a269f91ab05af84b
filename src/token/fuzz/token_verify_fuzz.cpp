// Input: a JWK set or key, a zero byte, a token. What is verified was signed by a key that was given, and is shown as JSON.
#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/token/verify.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = as_text({data, size});
  const auto zero = input.find('\0');
  if (zero == std::string_view::npos) return 0;
  const auto keys = crypto::jose::parse_keys(input.substr(0, zero));
  if (!keys) return 0;
  const auto text = input.substr(zero + 1);
  token::Expected expected;
  expected.keys = *keys;
  expected.at = UnixTime{std::chrono::seconds{1'780'000'001}};
  expected.worst = token::Tier::contraindicated;
  expected.allow_lab = true;
  const auto verified = token::verify(text, expected);
  if (!verified) return 0;
  CLOISTER_ASSERT(verified->issued() <= expected.at && expected.at < verified->expires());
  CLOISTER_ASSERT(!verified->submodules().empty());
  CLOISTER_ASSERT(codec::json::parse(codec::json::write(token::to_json(*verified))).ok());
  // A stricter reader refuses only more.
  expected.worst = token::Tier::affirming;
  const auto strict = token::verify(text, expected);
  const auto affirmed = [](const token::Submodule& one) { return one.status == token::Tier::affirming; };
  CLOISTER_ASSERT(strict.ok() == std::ranges::all_of(verified->submodules(), affirmed));
  return 0;
}
