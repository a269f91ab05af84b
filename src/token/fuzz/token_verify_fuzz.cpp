// Input: a JWK set or key, a zero byte, a token. What is verified was signed by a key that was given, and is shown as JSON.
#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/token/verify.hpp"

using namespace cloister;

namespace {

/// Under which no chain of an input ends: what is read of one is read all the same.
crypto::x509::CertificatePtr root() {
  const auto key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  const auto name = crypto::x509::encode_name({"root", "", "", "", ""});
  const crypto::x509::CertificateSpec spec{.serial = {1}, .issuer = name, .subject = name, .not_before = UnixTime{},
                                           .not_after = UnixTime{std::chrono::seconds{2'000'000'000}},
                                           .key = key.public_key(), .is_ca = true, .key_usage = 0x0400};
  return *crypto::x509::parse_certificate(crypto::x509::issue_certificate(spec, key));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = as_text({data, size});
  const auto zero = input.find('\0');
  if (zero == std::string_view::npos) return 0;
  const auto keys = crypto::jose::parse_keys(input.substr(0, zero));
  if (!keys) return 0;
  const auto text = input.substr(zero + 1);
  token::Expected expected;
  expected.keys = *keys;
  static const auto kRoot = root();
  expected.roots = {kRoot};
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
