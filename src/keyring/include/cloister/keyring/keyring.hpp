#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/jwk.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/sealing.hpp"

namespace cloister::keyring {

/// How many previous keys may still be published: a further rotation has to wait (`rate_limited`).
inline constexpr std::size_t kMaxPrevious = 8;

/// A key that signs; shared, so that a rotation takes it from nobody who is signing.
struct SigningKey {
  std::string key_id;  // its thumbprint (RFC 7638)
  crypto::EcPrivateKey key;  // P-256
};

/// The keys of one server. Thread-safe; what it is opened with outlives it.
class Keyring {
 public:
  struct Services {
    storage::Database& database;
    storage::Sealer& sealer;
    audit::Log& log;
    Random& random;
  };
  /// `lifetime`: the longest that a token lives. The first opening makes two keys ("token_key.made" in the audit log, at
  /// `now`); later ones find them, whatever happened to the process. `storage_corrupt` or `decryption_failed` when what
  /// is stored is not what was.
  [[nodiscard]] static Result<std::unique_ptr<Keyring>> open(const Services& services, std::chrono::seconds lifetime,
                                                              UnixTime now);

  [[nodiscard]] std::chrono::seconds lifetime() const noexcept { return lifetime_; }
  /// The key that signs now.
  [[nodiscard]] std::shared_ptr<const SigningKey> current() const;
  /// Whatever a verifier may meet: the key that signs, the next one, and the previous ones of which a token may be valid
  /// at `now`.
  [[nodiscard]] std::vector<crypto::jose::Jwk> published(UnixTime now) const;
  /// The next key signs from now on, a new one is next. Stored and in the audit log ("token_key.rotated", of `by`) when
  /// this returns; returns the id of the key that signs. `rate_limited` beyond `kMaxPrevious`.
  [[nodiscard]] Result<std::string> rotate(UnixTime now, std::string_view by);

 private:
  friend class DataKeys;
  /// Seals the private keys again, under the newest data key, with what `more` does in one transaction.
  [[nodiscard]] Result<void> reseal(const std::function<Result<void>(storage::Transaction&)>& more);
  struct Previous {
    crypto::jose::Jwk key;
    UnixTime until;
  };
  using Key = std::shared_ptr<const SigningKey>;
  struct State {
    std::uint64_t generation = 1;  // of the key that signs; the next has the number after it
    Bytes current_sealed;
    Bytes next_sealed;
    Key current;
    Key next;
    std::vector<Previous> previous;  // oldest first
  };
  Keyring(const Services& services, std::chrono::seconds lifetime) : services_{services}, lifetime_{lifetime} {}
  [[nodiscard]] Result<void> begin(UnixTime now);
  [[nodiscard]] Result<Bytes> make_key(storage::Transaction& transaction, std::uint64_t generation);
  [[nodiscard]] Result<Key> open_key(const storage::Reading& reading, std::uint64_t generation, ByteView sealed);
  [[nodiscard]] Result<State> read(const storage::Reading& reading, std::string_view text);

  Services services_;
  std::chrono::seconds lifetime_;
  mutable std::mutex mutex_;
  State state_;  // under the mutex
};

}  // namespace cloister::keyring
