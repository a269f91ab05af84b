#include "cloister/storage/sealing.hpp"

#include <vector>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::storage {
namespace {

using codec::cbor::Reader;
using codec::cbor::Writer;

constexpr std::string_view kSealedDomain = "cloister/sealed/1";
constexpr std::string_view kKeyDomain = "cloister/rest/1";
constexpr std::string_view kCellDomain = "cloister/cell/1";
constexpr std::string_view kDataKeyDomain = "cloister/data-key/1";
constexpr std::size_t kMaxKeyId = 64;

constexpr Sql kActiveKey{"SELECT id FROM data_key WHERE tenant = ?1 AND active = 1"};
constexpr Sql kWrappedKey{"SELECT wrapped FROM data_key WHERE tenant = ?1 AND id = ?2"};
constexpr Sql kRetireKeys{"UPDATE data_key SET active = 0 WHERE tenant = ?1 AND active = 1"};
constexpr Sql kHasDerivedKeys{"SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'derived_key'"};
constexpr Sql kCountDerivedKeys{"SELECT COUNT(*) FROM derived_key"};
constexpr Sql kAllKeys{"SELECT id, tenant, wrapped FROM data_key ORDER BY id"};
constexpr Sql kRewrapKey{"UPDATE data_key SET wrapped = ?1 WHERE id = ?2"};
constexpr Sql kAddKey{"INSERT INTO data_key (id, tenant, wrapped, active) VALUES (?1, ?2, ?3, 1)"};

crypto::SecretBytes value_key(const crypto::Secret<32>& data_key, const ByteArray<32>& salt) {
  return crypto::hkdf_expand(data_key.reveal(), Writer{}.array(2).text(kKeyDomain).bytes(salt).take(), 32);
}

Bytes associated_data(const TenantId& tenant, const Cell& cell, std::string_view key_id) {
  return Writer{}
      .array(7)
      .text(kCellDomain)
      .text(tenant.str())
      .text(cell.table)
      .text(cell.key)
      .text(cell.column)
      .uint(cell.row_version)
      .text(key_id)
      .take();
}

/// What binds a wrapped data key to its tenant and name.
Bytes data_key_owner(const TenantId& tenant, std::string_view key_id) {
  return Writer{}.array(3).text(kDataKeyDomain).text(tenant.str()).text(key_id).take();
}

}  // namespace

Bytes encode(const SealedValue& value) {
  return Writer{}.array(4).text(kSealedDomain).text(value.key_id).bytes(value.salt).bytes(value.ciphertext).take();
}

Result<SealedValue> decode_sealed_value(ByteView bytes) {
  SealedValue value;
  Reader in{bytes};
  in.array(4);
  in.domain(kSealedDomain);
  value.key_id = in.text();
  value.salt = in.bytes<32>();
  value.ciphertext = to_bytes(in.bytes());
  CLOISTER_CHECK(in.finish());
  if (value.key_id.size() > kMaxKeyId)
    return Error{Errc::malformed, "sealed value: key id of at most 64 bytes expected"};
  return value;
}

SealedValue seal_value(const crypto::Secret<32>& data_key, std::string_view key_id, const ByteArray<32>& salt,
                       const TenantId& tenant, const Cell& cell, ByteView plaintext) {
  const auto key = value_key(data_key, salt);
  return {
      std::string{key_id}, salt,
      crypto::chacha20poly1305_seal(key.reveal(), crypto::Nonce{}, associated_data(tenant, cell, key_id), plaintext)};
}

Result<crypto::SecretBytes> open_value(const crypto::Secret<32>& data_key, const TenantId& tenant, const Cell& cell,
                                       const SealedValue& value) {
  const auto key = value_key(data_key, value.salt);
  return crypto::chacha20poly1305_open(key.reveal(), crypto::Nonce{}, associated_data(tenant, cell, value.key_id),
                                       value.ciphertext);
}

Sealer::Key Sealer::find(const TenantId& tenant, const std::string& key_id) const {
  const std::lock_guard held{mutex_};
  const auto known = keys_.find({tenant, key_id});
  return known == keys_.end() ? nullptr : known->second;
}

Result<Sealer::Key> Sealer::load(const Reading& reading, const TenantId& tenant, const std::string& key_id) {
  if (auto known = find(tenant, key_id)) return known;
  CLOISTER_TRY(rows, reading.query(kWrappedKey, {tenant, key_id}));
  CLOISTER_TRY(found, rows.next());
  if (!found) return Error{Errc::decryption_failed, "a sealed value names no data key of its tenant"};
  const auto wrapped = rows.bytes();
  CLOISTER_CHECK(rows.end_row());
  CLOISTER_TRY(opened, kms_.unwrap(wrapped, data_key_owner(tenant, key_id)));
  auto key = std::make_shared<const crypto::Secret<32>>(std::move(opened));
  const std::lock_guard held{mutex_};
  return keys_.try_emplace({tenant, key_id}, std::move(key)).first->second;
}

Result<std::string> Sealer::active_key(Transaction& transaction, const TenantId& tenant) {
  CLOISTER_TRY(rows, transaction.query(kActiveKey, {tenant}));
  CLOISTER_TRY(found, rows.next());
  if (!found) return add_key(transaction, tenant);
  auto key_id = rows.text();
  CLOISTER_CHECK(rows.end_row());
  return key_id;
}

Result<std::string> Sealer::add_key(Transaction& transaction, const TenantId& tenant) {
  auto key_id = "dk-" + codec::to_hex(random_.array<16>());
  const auto key = crypto::Secret<32>::random(random_);
  CLOISTER_TRY(wrapped, kms_.wrap(key, data_key_owner(tenant, key_id)));
  CLOISTER_CHECK(transaction.run(kAddKey, {key_id, tenant, wrapped}));
  if (on_key_) CLOISTER_CHECK(on_key_(transaction, tenant, key_id));
  return key_id;
}

Result<Bytes> Sealer::seal(Transaction& transaction, const TenantId& tenant, const Cell& cell, ByteView plaintext) {
  CLOISTER_TRY(key_id, active_key(transaction, tenant));
  CLOISTER_TRY(key, load(transaction, tenant, key_id));
  return encode(seal_value(*key, key_id, random_.array<32>(), tenant, cell, plaintext));
}

Result<crypto::SecretBytes> Sealer::open(const Reading& reading, const TenantId& tenant, const Cell& cell,
                                         ByteView sealed) {
  auto value = decode_sealed_value(sealed);
  if (!value) return Error{Errc::decryption_failed, value.error().text()};
  CLOISTER_TRY(key, load(reading, tenant, value->key_id));
  return open_value(*key, tenant, cell, *value);
}

Result<crypto::SecretBytes> Sealer::open_again(const TenantId& tenant, const Cell& cell, ByteView sealed) const {
  auto value = decode_sealed_value(sealed);
  if (!value) return Error{Errc::decryption_failed, value.error().text()};
  const auto key = find(tenant, value->key_id);
  if (key == nullptr) return Error{Errc::unavailable, "the data key of a sealed value is not in memory"};
  return open_value(*key, tenant, cell, *value);
}

Result<std::string> Sealer::rotate(Transaction& transaction, const TenantId& tenant) {
  CLOISTER_CHECK(transaction.run(kRetireKeys, {tenant}));
  return add_key(transaction, tenant);
}

void Sealer::forget(const TenantId& tenant) {
  const std::lock_guard held{mutex_};
  std::erase_if(keys_, [&](const auto& entry) { return entry.first.first == tenant; });
}

Result<std::uint64_t> rewrap_data_keys(Transaction& transaction, const kms::Kms& from, const kms::Kms& to) {
  struct Wrapped {
    std::string id;
    TenantId tenant;
    Bytes bytes;
  };
  std::vector<Wrapped> all;
  {
    CLOISTER_TRY(rows, transaction.query(kAllKeys));
    for (;;) {
      CLOISTER_TRY(found, rows.next());
      if (!found) break;
      auto id = rows.text();
      auto tenant = rows.id<TenantId>();
      all.push_back({std::move(id), std::move(tenant), rows.bytes()});
      CLOISTER_CHECK(rows.end_row());
    }
  }
  for (const auto& one : all) {
    const auto owner = data_key_owner(one.tenant, one.id);
    auto key = from.unwrap(one.bytes, owner);
    if (!key) return key.error().in("data key " + one.id);
    CLOISTER_TRY(wrapped, to.wrap(*key, owner));
    CLOISTER_CHECK(transaction.run(kRewrapKey, {wrapped, one.id}));
  }
  return all.size();
}

Result<std::uint64_t> count_derived_keys(const Reading& reading) {
  const auto count = [&reading](Sql sql) -> Result<std::uint64_t> {
    CLOISTER_TRY(rows, reading.query(sql));
    CLOISTER_TRY(found, rows.next());
    CLOISTER_ASSERT(found);  // COUNT has a row
    const auto number = rows.uint();
    CLOISTER_CHECK(rows.end_row());
    return number;
  };
  CLOISTER_TRY(tables, count(kHasDerivedKeys));
  return tables == 0 ? Result<std::uint64_t>{0} : count(kCountDerivedKeys);
}

}  // namespace cloister::storage
