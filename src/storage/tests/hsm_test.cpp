// Sealing at rest with its master key in an HSM.
#include "cloister/kms/pkcs11.hpp"
#include "cloister/storage/data_keys.hpp"
#include "cloister/storage/resources.hpp"
#include "fixture.hpp"
#include "support/softhsm.hpp"

namespace cloister::storage {
namespace {

using testing::id;

class HsmSealerTest : public testing::DatabaseTest {
 protected:
  void SetUp() override {
    CLOISTER_SOFTHSM_OR_SKIP(module);
    hsm_ = std::make_unique<test::SoftHsm>(module);
    testing::DatabaseTest::SetUp();
    kms_of_hsm_ = connect(true);
  }
  [[nodiscard]] std::unique_ptr<kms::Pkcs11Kms> connect(bool make_keys) {
    kms::Pkcs11Kms::Options options;
    options.make_keys = make_keys;
    options.pause = std::chrono::milliseconds{0};
    auto made = kms::Pkcs11Kms::open(hsm_->uri(), options, random_);
    EXPECT_TRUE(made) << made.error().text();
    return made ? *std::move(made) : nullptr;
  }
  [[nodiscard]] Result<Bytes> seal(Sealer& sealer, std::string_view text) {
    return commit([&](Transaction& t) { return sealer.seal(t, tenant_, cell_, as_bytes(text)); });
  }
  TenantId tenant_ = id<TenantId>("acme");
  Cell cell_{"secret", "a/b", "value", 3};
  std::unique_ptr<test::SoftHsm> hsm_;
  std::unique_ptr<kms::Pkcs11Kms> kms_of_hsm_;
};

TEST_F(HsmSealerTest, ValuesOutliveARestartAndAreTiedToTheirCell) {
  Sealer sealer{*kms_of_hsm_, random_};
  const auto sealed = seal(sealer, "hunter2");
  ASSERT_TRUE(sealed) << sealed.error().text();
  EXPECT_EQ(as_text(sealer.open(read(), tenant_, cell_, *sealed)->reveal()), "hunter2");
  kms_of_hsm_.reset();
  kms_of_hsm_ = connect(false);
  open();
  Sealer again{*kms_of_hsm_, random_};
  const auto opened = again.open(read(), tenant_, cell_, *sealed);
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_EQ(as_text(opened->reveal()), "hunter2");
  EXPECT_EQ(again.open(read(), tenant_, {"secret", "a/c", "value", 3}, *sealed).error().code(), Errc::decryption_failed);
  EXPECT_EQ(again.open(read(), id<TenantId>("other"), cell_, *sealed).error().code(), Errc::decryption_failed);
}

TEST_F(HsmSealerTest, RotationMakesANewDataKeyUnderTheSameHsm) {
  Sealer sealer{*kms_of_hsm_, random_};
  const auto before = *seal(sealer, "old");
  ASSERT_TRUE(commit([&](Transaction& t) { return sealer.rotate(t, tenant_); }));
  const auto after = *seal(sealer, "new");
  EXPECT_NE(decode_sealed_value(before)->key_id, decode_sealed_value(after)->key_id);
  Sealer again{*kms_of_hsm_, random_};
  EXPECT_EQ(as_text(again.open(read(), tenant_, cell_, before)->reveal()), "old");
  EXPECT_EQ(as_text(again.open(read(), tenant_, cell_, after)->reveal()), "new");
}

TEST_F(HsmSealerTest, ADatabaseOfAnotherHsmOrOfAFileDoesNotOpen) {
  Sealer of_file{kms_, random_};
  const auto sealed = *seal(of_file, "hunter2");
  Sealer of_hsm{*kms_of_hsm_, random_};
  EXPECT_EQ(of_hsm.open(read(), tenant_, cell_, sealed).error().code(), Errc::decryption_failed);
}

/// From a file to an HSM and back: values stay as they are sealed.
TEST_F(HsmSealerTest, DataKeysAreRewrapped) {
  Sealer of_file{kms_, random_};
  const auto before = *seal(of_file, "old");
  ASSERT_TRUE(commit([&](Transaction& t) { return of_file.rotate(t, tenant_); }));
  const auto after = *seal(of_file, "new");
  const auto rewrap = [&](const kms::Kms& from, const kms::Kms& to) {
    return commit([&](Transaction& t) { return rewrap_data_keys(t, from, to); });
  };
  const auto opens = [&](const kms::Kms& kms) {
    Sealer sealer{kms, random_};
    const auto first = sealer.open(read(), tenant_, cell_, before);
    const auto second = sealer.open(read(), tenant_, cell_, after);
    return first && second && as_text(first->reveal()) == "old" && as_text(second->reveal()) == "new";
  };
  EXPECT_EQ(rewrap(kms_, *kms_of_hsm_).value(), 2U);
  EXPECT_TRUE(opens(*kms_of_hsm_));
  EXPECT_FALSE(opens(kms_));
  EXPECT_EQ(rewrap(kms_, *kms_of_hsm_).error().code(), Errc::decryption_failed);  // they are not the file's any more
  EXPECT_TRUE(opens(*kms_of_hsm_));
  hsm_->unplug();
  EXPECT_EQ(rewrap(*kms_of_hsm_, kms_).error().code(), Errc::unavailable);
  hsm_->plug_in();
  EXPECT_TRUE(opens(*kms_of_hsm_));
  EXPECT_EQ(rewrap(*kms_of_hsm_, kms_).value(), 2U);
  EXPECT_TRUE(opens(kms_));
}

TEST_F(HsmSealerTest, ARemovedKeyLeavesNothingHalfWritten) {
  Sealer sealer{*kms_of_hsm_, random_};
  const auto sealed = *seal(sealer, "kept");
  const test::Administrator admin{hsm_->uri()};
  admin.destroy("cloister/wrap");
  Sealer cold{*kms_of_hsm_, random_};
  EXPECT_EQ(cold.open(read(), tenant_, cell_, sealed).error().code(), Errc::hsm_key_missing);
  EXPECT_EQ(commit([&](Transaction& t) { return cold.rotate(t, tenant_); }).error().code(), Errc::hsm_key_missing);
  EXPECT_EQ(as_text(sealer.open(read(), tenant_, cell_, sealed)->reveal()), "kept") << "with the data key it has";
}

TEST_F(HsmSealerTest, ResourcesOpenWithTheHsmAndWithNothingElse) {
  {
    Sealer sealer{*kms_of_hsm_, random_};
    Resources resources{sealer};
    ASSERT_TRUE(commit([&](Transaction& t) { return resources.put(t, tenant_, "a/b/c", as_bytes("hunter2"), testing::at(1)); }));
  }
  kms_of_hsm_.reset();
  kms_of_hsm_ = connect(false);
  open();
  Sealer again{*kms_of_hsm_, random_};
  EXPECT_EQ(as_text(Resources{again}.get(read(), tenant_, "a/b/c")->value.reveal()), "hunter2");
  Sealer of_file{kms_, random_};
  EXPECT_EQ(Resources{of_file}.get(read(), tenant_, "a/b/c").error().code(), Errc::decryption_failed);
  const test::Administrator admin{hsm_->uri()};
  admin.destroy("cloister/wrap");
  Sealer cold{*kms_of_hsm_, random_};
  EXPECT_EQ(Resources{cold}.get(read(), tenant_, "a/b/c").error().code(), Errc::hsm_key_missing);
}

TEST_F(HsmSealerTest, ValuesAreSealedAgainUnderANewDataKeyOfTheHsm) {
  Sealer sealer{*kms_of_hsm_, random_};
  Resources resources{sealer};
  ASSERT_TRUE(commit([&](Transaction& t) { return resources.put(t, tenant_, "a/b/c", as_bytes("hunter2"), testing::at(1)); }));
  ASSERT_TRUE(commit([&](Transaction& t) { return sealer.rotate(t, tenant_); }));
  EXPECT_EQ(*commit([&](Transaction& t) { return data_keys::reseal_some(t, sealer, tenant_); }), 1U);
  EXPECT_EQ(*commit([&](Transaction& t) { return data_keys::retire(t, sealer, tenant_); }), 1U);
  EXPECT_EQ(as_text(resources.get(read(), tenant_, "a/b/c")->value.reveal()), "hunter2");
}

}  // namespace
}  // namespace cloister::storage
