#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/secret.hpp"

/// The Noise Protocol Framework, revision 34, for Noise_NK_25519_ChaChaPoly_SHA256 alone.
namespace cloister::channel::noise {

using crypto::Secret;
using crypto::SecretBytes;
using crypto::X25519Key;
using crypto::X25519Public;

/// A key and the number of its next message (section 5.1).
class CipherState {
 public:
  explicit CipherState(Secret<32> key) : key_{std::move(key)} {}

  /// Asserted to be called less than 2^64 - 1 times.
  [[nodiscard]] Bytes encrypt(ByteView associated, ByteView plaintext);
  /// Counts on success alone.
  [[nodiscard]] Result<SecretBytes> decrypt(ByteView associated, ByteView ciphertext);
  /// True when `ciphertext` is message number `number` under this key; counts nothing.
  [[nodiscard]] bool opens(std::uint64_t number, ByteView ciphertext) const;
  /// Replaces the key by a one-way function of it (section 4.2); numbers go on.
  void rekey();
  [[nodiscard]] std::uint64_t next_number() const noexcept { return number_; }

 private:
  Secret<32> key_;
  std::uint64_t number_ = 0;
};

/// Chaining key, transcript hash and the handshake's present key (section 5.2).
class SymmetricState {
 public:
  SymmetricState();
  void mix_hash(ByteView data);
  void mix_key(const Secret<32>& agreed);
  [[nodiscard]] Bytes encrypt_and_hash(ByteView plaintext);
  [[nodiscard]] Result<Bytes> decrypt_and_hash(ByteView ciphertext);
  [[nodiscard]] const Digest32& hash() const noexcept { return hash_; }
  /// The initiator's sending key and the responder's.
  [[nodiscard]] std::pair<CipherState, CipherState> split() const;

 private:
  Secret<32> chaining_key_;
  Digest32 hash_;
  std::optional<CipherState> cipher_;
};

/// What a finished handshake leaves.
struct Session {
  CipherState send;
  CipherState receive;
  Digest32 handshake_hash;
};

struct Opened {
  Bytes payload;
  Session session;
};

/// <- s; ...; -> e, es; <- e, ee. Each call once, in order.
class NkInitiator {
 public:
  NkInitiator(ByteView prologue, const X25519Public& server, X25519Key ephemeral);
  [[nodiscard]] Result<Bytes> write(ByteView payload);
  [[nodiscard]] Result<Opened> read(ByteView message);

 private:
  SymmetricState state_;
  X25519Public server_;
  X25519Key ephemeral_;
};

class NkResponder {
 public:
  /// `server` must outlive this.
  NkResponder(ByteView prologue, const X25519Key& server);
  /// The payload.
  [[nodiscard]] Result<Bytes> read(ByteView message);
  /// The message and the session.
  [[nodiscard]] Result<std::pair<Bytes, Session>> write(ByteView payload, const X25519Key& ephemeral);

 private:
  SymmetricState state_;
  const X25519Key* server_;
  X25519Public peer_{};
};

}  // namespace cloister::channel::noise
