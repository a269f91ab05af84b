#include "keys.hpp"

#include "cloister/audit/log.hpp"
#include "cloister/codec/cbor.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::server {
namespace {

Result<crypto::Secret<32>> derive(const kms::Kms& kms, std::string_view use) {
  codec::cbor::Writer info;
  info.array(2).text("cloister/server-key/1").text(use);
  return kms.derive(std::move(info).take());
}

std::string id_of(const crypto::Ed25519Public& key) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const auto digest = crypto::sha256(key);
  std::string id = "srv-";
  for (std::size_t i = 0; i < 26; ++i) id += kAlphabet[digest[i] & 31U];
  return id;
}

}  // namespace

Result<ServerKeys> derive_keys(const kms::Kms& kms) {
  CLOISTER_TRY(current, derive(kms, "channel-current"));
  CLOISTER_TRY(next, derive(kms, "channel-next"));
  CLOISTER_TRY(token, derive(kms, "token"));
  CLOISTER_TRY(audit, kms.public_key(audit::kSigningKey));
  auto token_key = crypto::Ed25519Key::from_seed(std::move(token));
  auto id = id_of(token_key.public_key());
  return ServerKeys{std::move(id), crypto::X25519Key::from_private(std::move(current)),
                    crypto::X25519Key::from_private(std::move(next)), std::move(token_key), audit};
}

}  // namespace cloister::server
