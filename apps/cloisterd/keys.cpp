#include "keys.hpp"

#include "cloister/audit/log.hpp"
#include "cloister/codec/cbor.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/storage/files.hpp"

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

constexpr std::string_view kIdentityDomain = "cloister/identity/1";
constexpr std::size_t kMaxIdentity = 4096;
constexpr std::string_view kCurrent = "channel-current";
constexpr std::string_view kNext = "channel-next";
constexpr std::string_view kToken = "token";
constexpr std::string_view kGuestSessions = "guest-sessions";

/// What binds a wrapped key to its use.
Bytes bound_to(std::string_view use) { return codec::cbor::Writer{}.array(2).text(kIdentityDomain).text(use).take(); }

struct Seeds {
  crypto::Secret<32> current;
  crypto::Secret<32> next;
  crypto::Secret<32> token;
};

Result<Seeds> derive_seeds(const kms::Kms& kms) {
  CLOISTER_TRY(current, derive(kms, kCurrent));
  CLOISTER_TRY(next, derive(kms, kNext));
  CLOISTER_TRY(token, derive(kms, kToken));
  return Seeds{std::move(current), std::move(next), std::move(token)};
}

Result<Seeds> unwrap_seeds(const kms::Kms& kms, ByteView file) {
  codec::cbor::Reader in{file};
  in.array(4);
  in.domain(kIdentityDomain);
  const auto wrapped_current = in.bytes();
  const auto wrapped_next = in.bytes();
  const auto wrapped_token = in.bytes();
  CLOISTER_CHECK(in.finish());
  CLOISTER_TRY(current, kms.unwrap(wrapped_current, bound_to(kCurrent)));
  CLOISTER_TRY(next, kms.unwrap(wrapped_next, bound_to(kNext)));
  CLOISTER_TRY(token, kms.unwrap(wrapped_token, bound_to(kToken)));
  return Seeds{std::move(current), std::move(next), std::move(token)};
}

Result<Seeds> load_seeds(const kms::Kms& kms, const std::filesystem::path& file) {
  auto bytes = storage::read_small_file(file, kMaxIdentity);
  if (!bytes) return bytes.error();
  if (!*bytes) return derive_seeds(kms);
  auto seeds = unwrap_seeds(kms, **bytes);
  if (seeds || seeds.error().code() == Errc::unavailable) return seeds;
  return Error{Errc::configuration_invalid, file.string() + ": this keeper of keys did not wrap it (" + seeds.error().text() +
                                                "): restore the one of this `kms`, or finish the move: --move-keys-from"};
}

}  // namespace

Result<ServerKeys> load_keys(const kms::Kms& kms, const std::filesystem::path& data) {
  CLOISTER_TRY(seeds, load_seeds(kms, data / kIdentityFile));
  CLOISTER_TRY(audit, kms.public_key(audit::kSigningKey));
  CLOISTER_TRY(guest_sessions, derive(kms, kGuestSessions));
  auto token = crypto::Ed25519Key::from_seed(std::move(seeds.token));
  auto id = id_of(token.public_key());
  return ServerKeys{std::move(id), crypto::X25519Key::from_private(std::move(seeds.current)),
                    crypto::X25519Key::from_private(std::move(seeds.next)), std::move(token), audit,
                    std::move(guest_sessions)};
}

Result<Bytes> wrap_keys(const kms::Kms& kms, const ServerKeys& keys) {
  CLOISTER_TRY(current, kms.wrap(keys.channel_current.private_key(), bound_to(kCurrent)));
  CLOISTER_TRY(next, kms.wrap(keys.channel_next.private_key(), bound_to(kNext)));
  CLOISTER_TRY(token, kms.wrap(keys.token.seed(), bound_to(kToken)));
  return codec::cbor::Writer{}.array(4).text(kIdentityDomain).bytes(current).bytes(next).bytes(token).take();
}

}  // namespace cloister::server
