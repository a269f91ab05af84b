#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cloister/crypto/secret.hpp"
#include "cloister/kms/pkcs11_uri.hpp"
#include "pkcs11_module.hpp"

namespace cloister::kms {

/// What a key is, besides its label; a key of another shape is refused when it is found.
enum class KeyKind { root, wrapping, signing_private, signing_public };

/// A session in one call's hands. Its methods are those of PKCS#11 that a Kms needs, with the result code of the last
/// that failed; handles are those of this session's connection.
class Session {
 public:
  using Handles = std::map<std::string, CK_OBJECT_HANDLE>;
  /// `known`: what earlier sessions of the connection found; the references outlive this.
  Session(const CK_FUNCTION_LIST& calls, CK_SESSION_HANDLE handle, Handles& known)
      : calls_{calls}, handle_{handle}, known_{known} {}

  /// The key of that label, its attributes checked: `hsm_key_missing`, or `hsm_key_unfit` where two have the label or
  /// one is not what `kind` says.
  [[nodiscard]] Result<CK_OBJECT_HANDLE> key(KeyKind kind, const std::string& label);
  /// Makes a root or wrapping key inside the token. `conflict` when somebody else made one at the same time: then
  /// ours is gone again.
  [[nodiscard]] Result<void> make_key(KeyKind kind, const std::string& label);
  /// Makes an Ed25519 key pair inside the token; errors as `make_key`.
  [[nodiscard]] Result<void> make_signing_key(const std::string& label);

  [[nodiscard]] Result<crypto::Secret<32>> hmac(CK_OBJECT_HANDLE key, ByteView data);
  /// AES-256-GCM with a 16-byte tag at the end.
  [[nodiscard]] Result<Bytes> encrypt(CK_OBJECT_HANDLE key, const ByteArray<12>& iv, ByteView associated, ByteView plaintext);
  /// `decryption_failed` when anything was changed.
  [[nodiscard]] Result<crypto::SecretBytes> decrypt(CK_OBJECT_HANDLE key, const ByteArray<12>& iv, ByteView associated,
                                                    ByteView ciphertext, Random& random);
  [[nodiscard]] Result<ByteArray<64>> sign(CK_OBJECT_HANDLE key, ByteView message);
  [[nodiscard]] Result<ByteArray<32>> public_value(CK_OBJECT_HANDLE key);

  /// CKR_OK while nothing failed; afterwards the session is not used again.
  [[nodiscard]] CK_RV code() const noexcept { return code_; }

 private:
  [[nodiscard]] Error failed(std::string_view call, CK_RV code);
  [[nodiscard]] Result<std::vector<CK_OBJECT_HANDLE>> find(KeyKind kind, const std::string& label);
  [[nodiscard]] Result<void> check(KeyKind kind, const std::string& label, CK_OBJECT_HANDLE key);
  [[nodiscard]] Result<void> keep_if_alone(KeyKind kind, const std::string& label, std::vector<CK_OBJECT_HANDLE> made);
  /// `vague` tells of a failure that may be the ciphertext's or the HSM's.
  [[nodiscard]] Result<crypto::SecretBytes> try_decrypt(CK_OBJECT_HANDLE key, const ByteArray<12>& iv, ByteView associated,
                                                        ByteView ciphertext, bool& vague);

  const CK_FUNCTION_LIST& calls_;
  CK_SESSION_HANDLE handle_;
  Handles& known_;
  CK_RV code_ = CKR_OK;
};

/// A token that we are logged into, with a pool of sessions. It notices that sessions or the HSM are gone, and comes
/// back at the next call; a PIN that was refused is not tried again, since tokens lock themselves. Thread-safe.
class Token {
 public:
  struct Options {
    std::size_t sessions = 8;                       // at the same time; fewer where the token has fewer
    std::chrono::milliseconds wait{10'000};         // for a free session
    std::chrono::milliseconds pause{1'000};         // after a failed connection, before the next
  };

  /// Connects. Errors: as `run`, and `configuration_invalid` for a module that cannot be loaded.
  [[nodiscard]] static Result<std::unique_ptr<Token>> open(Pkcs11Uri uri, crypto::SecretBytes pin, Options options);
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  ~Token();

  using Call = std::function<Result<void>(Session&)>;
  /// Runs `call` with a session; up to twice more when session, HSM or handles were lost on the way, so what `call` does is
  /// to be harmless when repeated. Errors: the call's; `unavailable` while the HSM is gone or every session is in
  /// use, `hsm_pin_refused`, `hsm_pin_locked`, `unsupported` for a token that lacks what a Kms needs. What says `hsm_key_missing`
  /// is run once more after a restart of the module, once in 60 `pause`s.
  [[nodiscard]] Result<void> run(const Call& call);

 private:
  struct Connection;
  struct Lease;
  Token(Pkcs11Uri uri, crypto::SecretBytes pin, Options options, std::shared_ptr<Module> module);

  [[nodiscard]] Result<Lease> acquire();
  void give_back(Lease lease, bool healthy);
  void lost(std::shared_ptr<Connection> connection);
  [[nodiscard]] bool may_doubt();
  [[nodiscard]] Result<std::shared_ptr<Connection>> connect();
  [[nodiscard]] Result<std::shared_ptr<Connection>> try_connect();
  [[nodiscard]] Result<CK_SLOT_ID> find_slot(std::size_t& sessions);
  [[nodiscard]] Result<void> check_mechanisms(CK_SLOT_ID slot);
  void close(CK_SESSION_HANDLE session, std::uint64_t epoch);

  const Pkcs11Uri uri_;
  const crypto::SecretBytes pin_;
  const Options options_;
  const std::shared_ptr<Module> module_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Connection> connection_;  // guarded by mutex_, as are the rest
  bool connecting_ = false;
  std::optional<Error> pin_refused_;
  std::optional<Error> last_failure_;
  std::chrono::steady_clock::time_point failed_at_{};
  std::optional<std::chrono::steady_clock::time_point> doubted_at_;
};

}  // namespace cloister::kms
