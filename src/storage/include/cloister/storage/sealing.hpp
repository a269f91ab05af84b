#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/kms/kms.hpp"
#include "cloister/storage/database.hpp"

/// Encryption at rest: a key per tenant, wrapped by the Kms; a key per value, derived from it.
namespace cloister::storage {

/// Where a value stands. A value opens there and nowhere else.
struct Cell {
  std::string_view table;
  std::string_view key;  // of the row
  std::string_view column;
  std::uint64_t row_version = 1;
};

/// A sealed value: ["cloister/sealed/1", key_id, salt, ciphertext] in deterministic CBOR.
struct SealedValue {
  std::string key_id;
  ByteArray<32> salt{};
  Bytes ciphertext;  // with tag
};
[[nodiscard]] Bytes encode(const SealedValue& value);
[[nodiscard]] Result<SealedValue> decode_sealed_value(ByteView bytes);

/// ChaCha20-Poly1305 under HKDF-Expand(data_key, ["cloister/rest/1", salt]), nonce zero (each key encrypts one value),
/// associated data ["cloister/cell/1", tenant, table, key, column, row_version, key_id]. `salt` is random.
[[nodiscard]] SealedValue seal_value(const crypto::Secret<32>& data_key, std::string_view key_id,
                                     const ByteArray<32>& salt, const TenantId& tenant, const Cell& cell,
                                     ByteView plaintext);
/// `decryption_failed` when anything is different from `seal_value`.
[[nodiscard]] Result<crypto::SecretBytes> open_value(const crypto::Secret<32>& data_key, const TenantId& tenant,
                                                     const Cell& cell, const SealedValue& value);

/// Seals with a tenant's newest data key, which it makes at the first use, and opens with whichever key a value names.
/// Unwrapped keys stay in memory. Thread-safe; `kms` and `random` outlive it.
class Sealer {
 public:
  Sealer(const kms::Kms& kms, Random& random) : kms_{kms}, random_{random} {}

  [[nodiscard]] Result<Bytes> seal(Transaction& transaction, const TenantId& tenant, const Cell& cell,
                                   ByteView plaintext);
  /// `decryption_failed` for a value that was changed, stood elsewhere, or names no data key of the tenant.
  [[nodiscard]] Result<crypto::SecretBytes> open(const Reading& reading, const TenantId& tenant, const Cell& cell,
                                                 ByteView sealed);
  /// A new data key for the tenant: what is sealed from now on is under it; older values still open (`data_keys` seals
  /// them again). Returns its id.
  [[nodiscard]] Result<std::string> rotate(Transaction& transaction, const TenantId& tenant);
  /// Drops the tenant's keys from memory; those that are stored are unwrapped again when they are needed.
  void forget(const TenantId& tenant);

 private:
  using Key = std::shared_ptr<const crypto::Secret<32>>;  // shared: a reader may still use what the map drops
  [[nodiscard]] Result<std::string> active_key(Transaction& transaction, const TenantId& tenant);
  [[nodiscard]] Result<std::string> add_key(Transaction& transaction, const TenantId& tenant);
  [[nodiscard]] Result<Key> load(const Reading& reading, const TenantId& tenant, const std::string& key_id);
  const kms::Kms& kms_;
  Random& random_;
  std::mutex mutex_;
  std::map<std::pair<TenantId, std::string>, Key> keys_;
};

}  // namespace cloister::storage
