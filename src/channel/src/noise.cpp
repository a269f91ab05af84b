#include "noise.hpp"

#include <limits>
#include <string_view>

#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::channel::noise {
namespace {

constexpr std::string_view kProtocolName = "Noise_NK_25519_ChaChaPoly_SHA256";
static_assert(kProtocolName.size() == sizeof(Digest32), "a name as long as the hash is the first hash itself");

/// Reserved for rekeying (section 5.1).
constexpr std::uint64_t kMaxNumber = std::numeric_limits<std::uint64_t>::max();

/// 32 zero bits, then the number, little-endian (section 12.3).
crypto::Nonce nonce_of(std::uint64_t number) {
  crypto::Nonce out{};
  for (std::size_t i = 0; i < 8; ++i) out[4 + i] = static_cast<std::uint8_t>(number >> 8 * i);
  return out;
}

/// HKDF with two outputs (section 4.3), which is RFC 5869 without info.
std::pair<Secret<32>, Secret<32>> derive_two(const Secret<32>& chaining_key, ByteView input) {
  const auto both = crypto::hkdf(chaining_key.reveal(), input, {}, 64);
  return {Secret<32>::copy_of(both.reveal().first(32)), Secret<32>::copy_of(both.reveal().last(32))};
}

Error too_short(std::size_t size) {
  return Error{Errc::handshake_failed, "an ephemeral key of 32 bytes expected, got " + std::to_string(size) + " bytes"};
}

}  // namespace

Bytes CipherState::encrypt(ByteView associated, ByteView plaintext) {
  CLOISTER_ASSERT(number_ < kMaxNumber);
  return crypto::chacha20poly1305_seal(key_.reveal(), nonce_of(number_++), associated, plaintext);
}

Result<SecretBytes> CipherState::decrypt(ByteView associated, ByteView ciphertext) {
  CLOISTER_ASSERT(number_ < kMaxNumber);
  CLOISTER_TRY(plaintext, crypto::chacha20poly1305_open(key_.reveal(), nonce_of(number_), associated, ciphertext));
  ++number_;
  return plaintext;
}

bool CipherState::opens(std::uint64_t number, ByteView ciphertext) const {
  return crypto::chacha20poly1305_open(key_.reveal(), nonce_of(number), {}, ciphertext).ok();
}

void CipherState::rekey() {
  const ByteArray<32> zeros{};
  auto next = crypto::chacha20poly1305_seal(key_.reveal(), nonce_of(kMaxNumber), {}, zeros);
  key_ = Secret<32>::copy_of(ByteView{next}.first(32));
  crypto::cleanse(next);
}

SymmetricState::SymmetricState()
    : chaining_key_{Secret<32>::copy_of(as_bytes(kProtocolName))},
      hash_{to_array<sizeof(Digest32)>(as_bytes(kProtocolName))} {}

void SymmetricState::mix_hash(ByteView data) { hash_ = crypto::sha256({hash_, data}); }

void SymmetricState::mix_key(const Secret<32>& agreed) {
  auto [chaining_key, key] = derive_two(chaining_key_, agreed.reveal());
  chaining_key_ = std::move(chaining_key);
  cipher_.emplace(std::move(key));
}

Bytes SymmetricState::encrypt_and_hash(ByteView plaintext) {
  CLOISTER_ASSERT(cipher_.has_value());
  auto ciphertext = cipher_->encrypt(hash_, plaintext);
  mix_hash(ciphertext);
  return ciphertext;
}

Result<Bytes> SymmetricState::decrypt_and_hash(ByteView ciphertext) {
  CLOISTER_ASSERT(cipher_.has_value());
  const auto plaintext = cipher_->decrypt(hash_, ciphertext);
  if (!plaintext) return Error{Errc::handshake_failed, "the message is not one for this key and prologue"};
  mix_hash(ciphertext);
  return to_bytes(plaintext->reveal());
}

std::pair<CipherState, CipherState> SymmetricState::split() const {
  auto [first, second] = derive_two(chaining_key_, {});
  return {CipherState{std::move(first)}, CipherState{std::move(second)}};
}

NkInitiator::NkInitiator(ByteView prologue, const X25519Public& server, X25519Key ephemeral)
    : server_{server}, ephemeral_{std::move(ephemeral)} {
  state_.mix_hash(prologue);
  state_.mix_hash(server_);
}

Result<Bytes> NkInitiator::write(ByteView payload) {
  CLOISTER_TRY(agreed, ephemeral_.agree(server_));
  state_.mix_hash(ephemeral_.public_key());
  state_.mix_key(agreed);
  auto out = to_bytes(ephemeral_.public_key());
  append(out, state_.encrypt_and_hash(payload));
  return out;
}

Result<Opened> NkInitiator::read(ByteView message) {
  if (message.size() < sizeof(X25519Public)) return too_short(message.size());
  const auto peer = to_array<sizeof(X25519Public)>(message.first(sizeof(X25519Public)));
  const auto agreed = ephemeral_.agree(peer);
  if (!agreed) return Error{Errc::handshake_failed, agreed.error().detail()};
  state_.mix_hash(peer);
  state_.mix_key(*agreed);
  CLOISTER_TRY(payload, state_.decrypt_and_hash(message.subspan(sizeof(X25519Public))));
  auto [send, receive] = state_.split();
  return Opened{std::move(payload), Session{std::move(send), std::move(receive), state_.hash()}};
}

NkResponder::NkResponder(ByteView prologue, const X25519Key& server) : server_{&server} {
  state_.mix_hash(prologue);
  state_.mix_hash(server_->public_key());
}

Result<Bytes> NkResponder::read(ByteView message) {
  if (message.size() < sizeof(X25519Public)) return too_short(message.size());
  peer_ = to_array<sizeof(X25519Public)>(message.first(sizeof(X25519Public)));
  const auto agreed = server_->agree(peer_);
  if (!agreed) return Error{Errc::handshake_failed, agreed.error().detail()};
  state_.mix_hash(peer_);
  state_.mix_key(*agreed);
  return state_.decrypt_and_hash(message.subspan(sizeof(X25519Public)));
}

Result<std::pair<Bytes, Session>> NkResponder::write(ByteView payload, const X25519Key& ephemeral) {
  const auto agreed = ephemeral.agree(peer_);
  if (!agreed) return Error{Errc::handshake_failed, agreed.error().detail()};
  state_.mix_hash(ephemeral.public_key());
  state_.mix_key(*agreed);
  auto out = to_bytes(ephemeral.public_key());
  append(out, state_.encrypt_and_hash(payload));
  auto [receive, send] = state_.split();
  return std::pair{std::move(out), Session{std::move(send), std::move(receive), state_.hash()}};
}

}  // namespace cloister::channel::noise
