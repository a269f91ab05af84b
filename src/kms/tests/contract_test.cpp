// What every kind of Kms keeps, over each of them.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "cloister/kms/pkcs11.hpp"
#include "cloister/kms/software.hpp"
#include "support/softhsm.hpp"

namespace cloister::kms {
namespace {

Bytes bytes(std::string_view text) { return to_bytes(text); }

/// Where Kms of one kind come from: the same name has the same master key, also when it is opened again.
class Source {
 public:
  virtual ~Source() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<Kms>> open(const std::string& name) = 0;
};

class SoftwareSource final : public Source {
 public:
  Result<std::unique_ptr<Kms>> open(const std::string& name) override {
    CLOISTER_TRY(kms, SoftwareKms::open(dir_.path() / name, random_));
    return std::unique_ptr<Kms>{std::move(kms)};
  }

 private:
  test::TempDir dir_;
  SystemRandom random_;
};

class HsmSource final : public Source {
 public:
  explicit HsmSource(const std::filesystem::path& module) : hsm_{module} {}
  Result<std::unique_ptr<Kms>> open(const std::string& name) override {
    auto uri = hsm_.uri();
    uri.object = name;
    Pkcs11Kms::Options options;
    options.make_keys = true;
    options.sessions = 3;
    CLOISTER_TRY(kms, Pkcs11Kms::open(uri, options, random_));
    return std::unique_ptr<Kms>{std::move(kms)};
  }

 private:
  test::SoftHsm hsm_;
  SystemRandom random_;
};

class KmsContract : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string_view{GetParam()} == "Software") {
      source_ = std::make_unique<SoftwareSource>();
    } else {
      CLOISTER_SOFTHSM_OR_SKIP(module);
      source_ = std::make_unique<HsmSource>(module);
    }
    kms_ = source_->open("one").value();
    other_ = source_->open("two").value();
  }
  [[nodiscard]] Kms& kms() const { return *kms_; }
  [[nodiscard]] Kms& other() const { return *other_; }
  void reopen() {
    kms_.reset();
    kms_ = source_->open("one").value();
  }
  SystemRandom random_;

 private:
  std::unique_ptr<Source> source_;
  std::unique_ptr<Kms> kms_;
  std::unique_ptr<Kms> other_;
};

TEST_P(KmsContract, DerivesByInfoAndMaster) {
  const auto key = kms().derive(bytes("a"));
  ASSERT_TRUE(key) << key.error().text();
  EXPECT_TRUE(crypto::equal(key->reveal(), kms().derive(bytes("a"))->reveal()));
  EXPECT_FALSE(crypto::equal(key->reveal(), kms().derive(bytes("b"))->reveal()));
  EXPECT_FALSE(crypto::equal(key->reveal(), other().derive(bytes("a"))->reveal()));
}

TEST_P(KmsContract, EverythingOutlivesTheKms) {
  const auto derived = Digest32{to_array<32>(kms().derive(bytes("a"))->reveal())};
  const auto key = crypto::Secret<32>::random(random_);
  const auto wrapped = *kms().wrap(key, bytes("tenant a"));
  const auto sealed = *kms().seal(bytes("ad"), bytes("value"));
  const auto signer = *kms().public_key("audit");
  reopen();
  EXPECT_TRUE(crypto::equal(derived, kms().derive(bytes("a"))->reveal()));
  EXPECT_TRUE(crypto::equal(key.reveal(), kms().unwrap(wrapped, bytes("tenant a"))->reveal()));
  EXPECT_EQ(as_text(kms().open(bytes("ad"), sealed)->reveal()), "value");
  EXPECT_EQ(*kms().public_key("audit"), signer);
}

TEST_P(KmsContract, UnwrapsWhatItWrappedForTheSameOwnerOnly) {
  const auto key = crypto::Secret<32>::random(random_);
  const auto wrapped = *kms().wrap(key, bytes("tenant a"));
  auto opened = kms().unwrap(wrapped, bytes("tenant a"));
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_TRUE(crypto::equal(opened->reveal(), key.reveal()));
  EXPECT_EQ(kms().unwrap(wrapped, bytes("tenant b")).error().code(), Errc::decryption_failed);
  EXPECT_EQ(other().unwrap(wrapped, bytes("tenant a")).error().code(), Errc::decryption_failed);
  EXPECT_TRUE(kms().unwrap(wrapped, bytes("tenant a"))) << "a refusal leaves nothing behind";
}

TEST_P(KmsContract, RefusesEveryFlippedBitOfASealedValue) {
  const auto sealed = *kms().seal(bytes("ad"), bytes("value"));
  for (std::size_t i = 0; i < sealed.size() * 8; ++i) {
    auto changed = sealed;
    changed[i / 8] = static_cast<std::uint8_t>(changed[i / 8] ^ (1U << (i % 8)));
    const auto opened = kms().open(bytes("ad"), changed);
    ASSERT_FALSE(opened) << i;
    ASSERT_EQ(opened.error().code(), Errc::decryption_failed) << i << ": " << opened.error().text();
  }
  EXPECT_EQ(as_text(kms().open(bytes("ad"), sealed)->reveal()), "value");
  EXPECT_EQ(kms().open(bytes("da"), sealed).error().code(), Errc::decryption_failed);
}

TEST_P(KmsContract, RefusesEveryFlippedBitAndLengthOfAWrappedKey) {
  const auto wrapped = *kms().wrap(crypto::Secret<32>::random(random_), bytes("ad"));
  for (std::size_t i = 0; i < wrapped.size() * 8; ++i) {
    auto changed = wrapped;
    changed[i / 8] = static_cast<std::uint8_t>(changed[i / 8] ^ (1U << (i % 8)));
    ASSERT_EQ(kms().unwrap(changed, bytes("ad")).error().code(), Errc::decryption_failed) << i;
  }
  for (std::size_t size = 0; size < wrapped.size(); ++size) {
    ASSERT_EQ(kms().unwrap(ByteView{wrapped}.first(size), bytes("ad")).error().code(), Errc::decryption_failed) << size;
  }
  auto longer = wrapped;
  longer.push_back(0);
  EXPECT_EQ(kms().unwrap(longer, bytes("ad")).error().code(), Errc::decryption_failed);
}

TEST_P(KmsContract, KeepsWrappedKeysAndSealedValuesApart) {
  const auto key = crypto::Secret<32>::random(random_);
  EXPECT_EQ(kms().open(bytes("ad"), *kms().wrap(key, bytes("ad"))).error().code(), Errc::decryption_failed);
  EXPECT_EQ(kms().unwrap(*kms().seal(bytes("ad"), key.reveal()), bytes("ad")).error().code(), Errc::decryption_failed);
}

TEST_P(KmsContract, NeverSealsOrWrapsTheSameWayTwice) {
  EXPECT_NE(*kms().seal(bytes("ad"), bytes("value")), *kms().seal(bytes("ad"), bytes("value")));
  const auto key = crypto::Secret<32>::random(random_);
  EXPECT_NE(*kms().wrap(key, bytes("ad")), *kms().wrap(key, bytes("ad")));
}

TEST_P(KmsContract, SealsFromNothingToTheLimit) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4097}, kMaxSealed}) {
    const auto sealed = kms().seal({}, Bytes(size, 7));
    ASSERT_TRUE(sealed) << size << ": " << sealed.error().text();
    EXPECT_TRUE(same_bytes(kms().open({}, *sealed)->reveal(), Bytes(size, 7))) << size;
  }
  EXPECT_EQ(kms().seal({}, Bytes(kMaxSealed + 1)).error().code(), Errc::limit_exceeded);
}

TEST_P(KmsContract, SignsByName) {
  const auto message = bytes("message");
  const auto audit = *kms().public_key("audit");
  EXPECT_TRUE(crypto::ed25519_verify(audit, message, *kms().sign("audit", message)));
  EXPECT_TRUE(crypto::ed25519_verify(audit, {}, *kms().sign("audit", {})));
  EXPECT_FALSE(crypto::ed25519_verify(audit, message, *kms().sign("token", message)));
  EXPECT_FALSE(crypto::ed25519_verify(audit, message, *other().sign("audit", message)));
  EXPECT_EQ(kms().sign("No Name", message).error().code(), Errc::invalid_argument);
  EXPECT_EQ(kms().public_key("").error().code(), Errc::invalid_argument);
}

TEST_P(KmsContract, SaysThatItServes) {
  const auto served = kms().probe();
  EXPECT_TRUE(served) << served.error().text();
}

TEST_P(KmsContract, ServesManyThreadsAtOnce) {
  const auto derived = Digest32{to_array<32>(kms().derive(bytes("shared"))->reveal())};
  std::atomic<int> failures = 0;
  const auto work = [&](int index) {
    const auto name = "key-" + std::to_string(index % 2);  // each is first mentioned by several threads at once
    for (int round = 0; round < 10; ++round) {
      const auto message = bytes(std::to_string(index) + "/" + std::to_string(round));
      const auto signature = kms().sign(name, message);
      const auto key = kms().public_key(name);
      if (!signature || !key || !crypto::ed25519_verify(*key, message, *signature)) ++failures;
      const auto sealed = kms().seal(message, message);
      const auto opened = sealed ? kms().open(message, *sealed) : Result<crypto::SecretBytes>{sealed.error()};
      if (!opened || !same_bytes(opened->reveal(), message)) ++failures;
      const auto again = kms().derive(bytes("shared"));
      if (!again || !crypto::equal(again->reveal(), derived)) ++failures;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) threads.emplace_back(work, i);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, KmsContract, ::testing::Values("Software", "Pkcs11"),
                         [](const auto& kind) { return std::string{kind.param}; });

}  // namespace
}  // namespace cloister::kms
