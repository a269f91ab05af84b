#pragma once

#include <functional>
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
  /// Records, in the transaction that makes it, that a tenant has a new data key; its failure is that of the sealing.
  using OnKey = std::function<Result<void>(Transaction&, const TenantId&, std::string_view key_id)>;
  Sealer(const kms::Kms& kms, Random& random, OnKey on_key = {}) : kms_{kms}, random_{random}, on_key_{std::move(on_key)} {}

  [[nodiscard]] Result<Bytes> seal(Transaction& transaction, const TenantId& tenant, const Cell& cell,
                                   ByteView plaintext);
  /// `decryption_failed` for a value that was changed, stood elsewhere, or names no data key of the tenant.
  [[nodiscard]] Result<crypto::SecretBytes> open(const Reading& reading, const TenantId& tenant, const Cell& cell,
                                                 ByteView sealed);
  /// The same without the database: `unavailable` while its data key is not in memory.
  [[nodiscard]] Result<crypto::SecretBytes> open_again(const TenantId& tenant, const Cell& cell, ByteView sealed) const;
  /// A new data key for the tenant: what is sealed from now on is under it; older values still open (`data_keys` seals
  /// them again). Returns its id.
  [[nodiscard]] Result<std::string> rotate(Transaction& transaction, const TenantId& tenant);
  /// Drops the tenant's keys from memory; those that are stored are unwrapped again when they are needed.
  void forget(const TenantId& tenant);

 private:
  using Key = std::shared_ptr<const crypto::Secret<32>>;  // shared: a reader may still use what the map drops
  [[nodiscard]] Result<std::string> active_key(Transaction& transaction, const TenantId& tenant);
  [[nodiscard]] Result<std::string> add_key(Transaction& transaction, const TenantId& tenant);
  /// Null while it is not in memory.
  [[nodiscard]] Key find(const TenantId& tenant, const std::string& key_id) const;
  [[nodiscard]] Result<Key> load(const Reading& reading, const TenantId& tenant, const std::string& key_id);
  const kms::Kms& kms_;
  Random& random_;
  OnKey on_key_;
  mutable std::mutex mutex_;
  std::map<std::pair<TenantId, std::string>, Key> keys_;
};

/// Every data key, which `from` wrapped, wrapped by `to` from now on; what is sealed under data keys stays as it is. Returns how
/// many there are. `decryption_failed` for one that is not `from`'s: then the transaction must not be committed.
[[nodiscard]] Result<std::uint64_t> rewrap_data_keys(Transaction& transaction, const kms::Kms& from, const kms::Kms& to);
/// How many rows stand for keys that the Kms's root derives when they are asked for (table `derived_key`): under another Kms they
/// would be other keys.
[[nodiscard]] Result<std::uint64_t> count_derived_keys(const Reading& reading);

}  // namespace cloister::storage
