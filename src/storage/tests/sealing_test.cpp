#include "cloister/storage/sealing.hpp"

#include "cloister/codec/text.hpp"
#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::bytes32;
using testing::id;

class SealerTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Bytes seal(const Cell& cell, std::string_view text) {
    return *commit([&](Transaction& t) { return sealer_.seal(t, tenant_, cell, as_bytes(text)); });
  }
  [[nodiscard]] Errc refusal(const TenantId& tenant, const Cell& cell, ByteView sealed) {
    const auto opened = sealer_.open(read(), tenant, cell, sealed);
    EXPECT_FALSE(opened);
    return opened ? Errc::internal : opened.error().code();
  }
  TenantId tenant_ = id<TenantId>("acme");
  Sealer sealer_{kms_, random_};
  Cell cell_{"secret", "a/b", "value", 3};
};

TEST_F(SealerTest, OpensWhatItSealed) {
  const auto sealed = seal(cell_, "hunter2");
  EXPECT_EQ(as_text(sealer_.open(read(), tenant_, cell_, sealed)->reveal()), "hunter2");
  EXPECT_NE(seal(cell_, "hunter2"), sealed) << "a key of its own for each value";
  EXPECT_EQ(as_text(sealer_.open(read(), tenant_, cell_, seal(cell_, ""))->reveal()), "");
}

TEST_F(SealerTest, ValueThatWasMovedDoesNotOpen) {
  const auto sealed = seal(cell_, "hunter2");
  EXPECT_EQ(refusal(tenant_, {"session", "a/b", "value", 3}, sealed), Errc::decryption_failed);
  EXPECT_EQ(refusal(tenant_, {"secret", "a/c", "value", 3}, sealed), Errc::decryption_failed);
  EXPECT_EQ(refusal(tenant_, {"secret", "a/b", "other", 3}, sealed), Errc::decryption_failed);
  EXPECT_EQ(refusal(tenant_, {"secret", "a/b", "value", 2}, sealed), Errc::decryption_failed);
  EXPECT_EQ(refusal(tenant_, {"secreta", "/b", "value", 3}, sealed), Errc::decryption_failed);
  EXPECT_EQ(refusal(id<TenantId>("other"), cell_, sealed), Errc::decryption_failed);
}

TEST_F(SealerTest, RefusesEveryFlippedBit) {
  const auto sealed = seal(cell_, "x");
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    auto changed = sealed;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
    ASSERT_EQ(refusal(tenant_, cell_, changed), Errc::decryption_failed) << bit;
  }
}

TEST_F(SealerTest, KeysOutliveARestartAndNeedTheMasterKey) {
  const auto sealed = seal(cell_, "hunter2");
  open();
  Sealer again{kms_, random_};
  EXPECT_EQ(as_text(again.open(read(), tenant_, cell_, sealed)->reveal()), "hunter2");
  const kms::SoftwareKms other_kms{crypto::Secret<32>{bytes32(2)}, random_};
  Sealer foreign{other_kms, random_};
  EXPECT_EQ(foreign.open(read(), tenant_, cell_, sealed).error().code(), Errc::decryption_failed);
}

TEST_F(SealerTest, OpensAgainWithoutTheDatabaseWhatHasItsKeyInMemory) {
  const auto sealed = seal(cell_, "hunter2");
  EXPECT_EQ(as_text(sealer_.open_again(tenant_, cell_, sealed)->reveal()), "hunter2");
  EXPECT_EQ(sealer_.open_again(tenant_, {"secret", "a/c", "value", 3}, sealed).error().code(), Errc::decryption_failed);
  EXPECT_EQ(sealer_.open_again(tenant_, cell_, as_bytes("hunter2")).error().code(), Errc::decryption_failed);
  EXPECT_EQ(sealer_.open_again(id<TenantId>("other"), cell_, sealed).error().code(), Errc::unavailable);
  Sealer again{kms_, random_};
  EXPECT_EQ(again.open_again(tenant_, cell_, sealed).error().code(), Errc::unavailable);
  EXPECT_TRUE(again.open(read(), tenant_, cell_, sealed).ok());
  EXPECT_TRUE(again.open_again(tenant_, cell_, sealed).ok());
  again.forget(tenant_);
  EXPECT_EQ(again.open_again(tenant_, cell_, sealed).error().code(), Errc::unavailable);
}

TEST_F(SealerTest, RotationSealsUnderANewKeyAndStillOpensOldValues) {
  const auto before = seal(cell_, "old");
  ASSERT_TRUE(commit([&](Transaction& t) { return sealer_.rotate(t, tenant_); }));
  const auto after = seal(cell_, "new");
  EXPECT_NE(decode_sealed_value(before)->key_id, decode_sealed_value(after)->key_id);
  EXPECT_EQ(decode_sealed_value(after)->key_id, decode_sealed_value(seal(cell_, "more"))->key_id);
  EXPECT_EQ(as_text(sealer_.open(read(), tenant_, cell_, before)->reveal()), "old");
  EXPECT_EQ(as_text(sealer_.open(read(), tenant_, cell_, after)->reveal()), "new");
}

TEST_F(SealerTest, WrappedKeyOfAnotherTenantDoesNotOpen) {
  const auto mine = seal(cell_, "mine");
  const auto theirs =
      commit([&](Transaction& t) { return sealer_.seal(t, id<TenantId>("other"), cell_, as_bytes("theirs")); });
  ASSERT_TRUE(theirs);
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run(
        "UPDATE data_key SET wrapped = (SELECT wrapped FROM data_key WHERE tenant = 'other') "
        "WHERE tenant = 'acme'");
  }));
  Sealer fresh{kms_, random_};
  EXPECT_EQ(fresh.open(read(), tenant_, cell_, mine).error().code(), Errc::decryption_failed);
  EXPECT_TRUE(fresh.open(read(), id<TenantId>("other"), cell_, *theirs));
}

TEST_F(SealerTest, DroppedTransactionLeavesNoKey) {
  {
    auto transaction = write();
    ASSERT_TRUE(sealer_.seal(transaction, tenant_, cell_, as_bytes("gone")));
  }
  const auto sealed = seal(cell_, "kept");
  Sealer fresh{kms_, random_};
  EXPECT_EQ(as_text(fresh.open(read(), tenant_, cell_, sealed)->reveal()), "kept");
}

TEST(SealedValueTest, HasTheDocumentedForm) {
  const auto data_key = crypto::Secret<32>{bytes32(5)};
  const auto value = seal_value(data_key, "dk-1", bytes32(6), id<TenantId>("acme"), {"t", "k", "c", 1}, as_bytes("v"));
  // Made with an independent implementation of RFC 5869, RFC 8439 and RFC 8949.
  EXPECT_EQ(codec::to_hex(value.ciphertext), "43c2e007c99cd23b33b978e5d68ab1b84e");
  const auto decoded = decode_sealed_value(encode(value));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(encode(*decoded), encode(value));
  EXPECT_TRUE(open_value(data_key, id<TenantId>("acme"), {"t", "k", "c", 1}, *decoded));
}

TEST(SealedValueTest, RefusesForeignBytes) {
  auto bytes = encode({"dk-1", bytes32(1), Bytes(16)});
  EXPECT_TRUE(decode_sealed_value(bytes));
  bytes.push_back(0);
  EXPECT_EQ(decode_sealed_value(bytes).error().code(), Errc::trailing_bytes);
  EXPECT_EQ(decode_sealed_value(encode({std::string(65, 'k'), bytes32(1), Bytes(16)})).error().code(), Errc::malformed);
  EXPECT_FALSE(decode_sealed_value({}));
}

}  // namespace
}  // namespace cloister::storage
