// What an HSM adds: keys that stay inside, and everything that can become of it while we use it.
#include "cloister/kms/pkcs11.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include "cloister/codec/cbor.hpp"
#include "support/softhsm.hpp"

namespace cloister::kms {
namespace {

using test::Administrator;

Bytes bytes(std::string_view text) { return to_bytes(text); }

constexpr Pkcs11Kms::Options kFirst{.make_keys = true, .sessions = 4, .wait = std::chrono::seconds{5}, .pause = {}};
constexpr Pkcs11Kms::Options kLater{.make_keys = false, .sessions = 4, .wait = std::chrono::seconds{5}, .pause = {}};

Errc code_of(const auto& result) { return result ? Errc::internal : result.error().code(); }

class Pkcs11Test : public ::testing::Test {
 protected:
  void SetUp() override {
    CLOISTER_SOFTHSM_OR_SKIP(module);
    start(module);
  }
  void start(const std::filesystem::path& module) { hsm_ = std::make_unique<test::SoftHsm>(module); }
  [[nodiscard]] Result<std::unique_ptr<Pkcs11Kms>> open(const Pkcs11Kms::Options& options = kFirst) {
    return Pkcs11Kms::open(hsm_->uri(), options, random_);
  }
  [[nodiscard]] std::unique_ptr<Pkcs11Kms> opened(const Pkcs11Kms::Options& options = kFirst) {
    auto kms = open(options);
    EXPECT_TRUE(kms) << kms.error().text();
    return kms ? *std::move(kms) : nullptr;
  }
  SystemRandom random_;
  std::unique_ptr<test::SoftHsm> hsm_;
};

TEST_F(Pkcs11Test, KeysNeitherShowTheirBytesNorLeaveWrapped) {
  const auto kms = opened();
  ASSERT_TRUE(kms->public_key("audit"));
  const Administrator admin{hsm_->uri()};
  for (const auto* label : {"cloister/root", "cloister/wrap", "cloister/sign/audit"}) {
    EXPECT_NE(admin.read_value(label), CKR_OK) << label;
    EXPECT_NE(admin.wrap_out(label), CKR_OK) << label;
  }
}

/// RFC 5869 by hand, with the HMAC that the token computes for anybody who is logged in.
TEST_F(Pkcs11Test, DerivesByHkdfExpandUnderTheRoot) {
  const auto kms = opened();
  const Administrator admin{hsm_->uri()};
  auto input = codec::cbor::Writer{}.array(3).text("cloister/kms/hsm/1").text("derive").bytes(bytes("info")).take();
  input.push_back(1);
  EXPECT_TRUE(same_bytes(kms->derive(bytes("info"))->reveal(), admin.hmac("cloister/root", input)));
}

TEST_F(Pkcs11Test, MakesKeysOnlyWhereItMay) {
  EXPECT_EQ(code_of(open(kLater)), Errc::hsm_key_missing);
  const auto kms = opened();
  const Administrator admin{hsm_->uri()};
  EXPECT_EQ(admin.objects("cloister/root").size(), 1U);
  EXPECT_TRUE(open(kLater));
  admin.destroy("cloister/wrap");
  EXPECT_EQ(code_of(open(kLater)), Errc::hsm_key_missing);
  EXPECT_EQ(Administrator{hsm_->uri()}.objects("cloister/wrap").size(), 0U);
}

TEST_F(Pkcs11Test, RefusesKeysThatAreOrWereReadable) {
  const auto kms = opened();  // also keeps the module initialised
  const Administrator admin{hsm_->uri()};
  struct Case {
    bool sensitive;
    bool extractable;
    const char* why;
  };
  for (const auto& one : {Case{false, false, "CKA_SENSITIVE"}, Case{true, true, "CKA_EXTRACTABLE"}, Case{true, false, "CKA_LOCAL"}}) {
    admin.destroy("cloister/root");
    admin.import("cloister/root", one.sensitive, one.extractable);
    const auto refused = open(kLater);
    ASSERT_EQ(code_of(refused), Errc::hsm_key_unfit) << one.why;
    EXPECT_NE(refused.error().detail().find(one.why), std::string::npos) << refused.error().detail();
  }
  admin.destroy("cloister/root");
  admin.generate("cloister/root", CKM_GENERIC_SECRET_KEY_GEN, 32, true);
  EXPECT_EQ(code_of(open(kLater)), Errc::hsm_key_unfit);
}

TEST_F(Pkcs11Test, RefusesKeysThatNeedNoPinOrCanBeDerivedFrom) {
  const auto kms = opened();
  const Administrator admin{hsm_->uri()};
  for (const bool needs_pin : {false, true}) {
    admin.destroy("cloister/root");
    admin.generate("cloister/root", CKM_GENERIC_SECRET_KEY_GEN, 32, false, needs_pin, needs_pin);
    const auto refused = open(kLater);
    ASSERT_EQ(code_of(refused), Errc::hsm_key_unfit);
    EXPECT_NE(refused.error().detail().find(needs_pin ? "CKA_DERIVE" : "CKA_PRIVATE"), std::string::npos) << refused.error().detail();
  }
}

TEST_F(Pkcs11Test, RefusesKeysOfAnotherShapeAndTwoOfOneLabel) {
  const auto kms = opened();
  const Administrator admin{hsm_->uri()};
  const auto refuse = [&](CK_MECHANISM_TYPE mechanism, CK_ULONG size, std::string_view why) {
    admin.destroy("cloister/root");
    admin.generate("cloister/root", mechanism, size, false);
    const auto refused = open(kLater);
    ASSERT_EQ(code_of(refused), Errc::hsm_key_unfit) << why;
    EXPECT_NE(refused.error().detail().find(why), std::string::npos) << refused.error().detail();
  };
  refuse(CKM_AES_KEY_GEN, 32, "another type");
  refuse(CKM_GENERIC_SECRET_KEY_GEN, 16, "32 bytes");
  admin.destroy("cloister/root");
  admin.generate("cloister/root", CKM_GENERIC_SECRET_KEY_GEN, 32, false);
  EXPECT_TRUE(open(kLater));
  admin.generate("cloister/root", CKM_GENERIC_SECRET_KEY_GEN, 32, false);
  EXPECT_EQ(code_of(open(kFirst)), Errc::hsm_key_unfit);
  EXPECT_EQ(admin.objects("cloister/root").size(), 2U) << "it removes nothing that it did not make";
}

TEST_F(Pkcs11Test, RefusesAWrongPinAndTakesTheRightOne) {
  EXPECT_TRUE(open());
  hsm_->write_pin("4321-wrong");
  EXPECT_EQ(code_of(open()), Errc::hsm_pin_refused);
  hsm_->write_pin("1234-correct");
  EXPECT_TRUE(open());
}

TEST_F(Pkcs11Test, RefusesPinFilesThatOthersMayReadOrThatHoldNone) {
  const auto file = hsm_->folder() / "pin";
  ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
  EXPECT_EQ(code_of(open()), Errc::configuration_invalid);
  for (const auto& content : {std::string{}, std::string{"\n"}, std::string(257, '1')}) {
    std::ofstream{file, std::ios::trunc} << content;
    ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
    EXPECT_EQ(code_of(open()), Errc::configuration_invalid) << content.size();
  }
  std::filesystem::remove(file);
  EXPECT_EQ(code_of(open()), Errc::configuration_invalid);
}

TEST_F(Pkcs11Test, RefusesModulesThatAreNone) {
  auto uri = hsm_->uri();
  uri.module = hsm_->folder() / "none.so";
  EXPECT_EQ(code_of(Pkcs11Kms::open(uri, kFirst, random_)), Errc::configuration_invalid);
  std::ofstream{uri.module} << "not a library";
  EXPECT_EQ(code_of(Pkcs11Kms::open(uri, kFirst, random_)), Errc::configuration_invalid);
  uri.module = "libm.so.6";
  EXPECT_EQ(code_of(Pkcs11Kms::open(uri, kFirst, random_)), Errc::configuration_invalid);
}

TEST_F(Pkcs11Test, FindsTheOneTokenOfItsUri) {
  hsm_->add_token("other");
  auto uri = hsm_->uri();
  uri.token = "absent";
  EXPECT_EQ(code_of(Pkcs11Kms::open(uri, kFirst, random_)), Errc::unavailable);
  uri = hsm_->uri();
  uri.serial = "0000000000000000";
  EXPECT_EQ(code_of(Pkcs11Kms::open(uri, kFirst, random_)), Errc::unavailable);
  uri = hsm_->uri();
  uri.token.reset();
  uri.manufacturer = "SoftHSM project";
  EXPECT_EQ(code_of(Pkcs11Kms::open(uri, kFirst, random_)), Errc::configuration_invalid) << "two tokens";
  EXPECT_TRUE(open());
}

TEST_F(Pkcs11Test, GoesOnAfterItsSessionsWereClosed) {
  const auto kms = opened();
  const auto sealed = *kms->seal(bytes("ad"), bytes("value"));
  const auto signer = *kms->public_key("audit");
  Administrator{hsm_->uri()}.close_all_sessions();
  const auto again = kms->open(bytes("ad"), sealed);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(as_text(again->reveal()), "value");
  Administrator{hsm_->uri()}.close_all_sessions();
  EXPECT_TRUE(crypto::ed25519_verify(signer, bytes("m"), *kms->sign("audit", bytes("m"))));
}

TEST_F(Pkcs11Test, TakesALogoutForNoMissingKey) {
  const auto kms = opened();
  const auto before = Digest32{to_array<32>(kms->derive(bytes("a"))->reveal())};
  Administrator{hsm_->uri()}.log_everybody_out();
  const auto again = kms->derive(bytes("a"));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_TRUE(crypto::equal(again->reveal(), before));
  Administrator{hsm_->uri()}.log_everybody_out();
  EXPECT_TRUE(kms->public_key("audit"));
}

TEST_F(Pkcs11Test, SaysThatAKeyWasRemovedAndMakesNoOther) {
  const auto kms = opened();
  const auto signer = *kms->public_key("audit");
  // Another one each time: who misses a key restarts the module, and with it the sessions of this process.
  Administrator{hsm_->uri()}.destroy("cloister/root");
  EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::hsm_key_missing);
  const auto sealed = *kms->seal({}, bytes("v"));
  Administrator{hsm_->uri()}.destroy("cloister/wrap");
  EXPECT_EQ(code_of(kms->open({}, sealed)), Errc::hsm_key_missing);
  EXPECT_EQ(code_of(kms->wrap(crypto::Secret<32>::random(random_), {})), Errc::hsm_key_missing);
  Administrator{hsm_->uri()}.destroy("cloister/sign/audit");
  EXPECT_EQ(code_of(kms->sign("audit", bytes("m"))), Errc::hsm_key_missing);
  EXPECT_EQ(*kms->public_key("audit"), signer);
  for (const auto* label : {"cloister/root", "cloister/wrap", "cloister/sign/audit"}) {
    EXPECT_TRUE(Administrator{hsm_->uri()}.objects(label).empty()) << label;
  }
}

/// SoftHSM says then that there are no keys, and goes on saying so.
TEST_F(Pkcs11Test, AnHsmThatIsPulledOutIsNoEmptyOneAndIsFoundAgain) {
  const auto kms = opened();
  const auto before = Digest32{to_array<32>(kms->derive(bytes("a"))->reveal())};
  const auto signer = *kms->public_key("audit");
  hsm_->unplug();
  EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::unavailable);
  EXPECT_EQ(code_of(kms->sign("audit", bytes("m"))), Errc::unavailable);
  EXPECT_EQ(code_of(kms->wrap(crypto::Secret<32>::random(random_), {})), Errc::unavailable);
  EXPECT_EQ(code_of(kms->public_key("new")), Errc::unavailable);
  EXPECT_EQ(code_of(kms->probe()), Errc::unavailable);
  hsm_->plug_in();
  const auto again = kms->derive(bytes("a"));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_TRUE(crypto::equal(again->reveal(), before));
  EXPECT_TRUE(crypto::ed25519_verify(signer, bytes("m"), *kms->sign("audit", bytes("m"))));
}

TEST_F(Pkcs11Test, ASigningKeyThatWasReplacedSignsNothing) {
  const auto kms = opened();
  ASSERT_TRUE(kms->sign("audit", bytes("m")));
  const Administrator admin{hsm_->uri()};
  admin.destroy("cloister/sign/audit");
  admin.generate_pair("cloister/sign/audit");
  EXPECT_EQ(code_of(kms->sign("audit", bytes("m"))), Errc::hsm_key_unfit);
}

TEST_F(Pkcs11Test, TwoInstancesShareOneTokenAndEndOnTheirOwn) {
  auto first = opened();
  const auto second = opened();
  EXPECT_TRUE(crypto::equal(first->derive(bytes("a"))->reveal(), second->derive(bytes("a"))->reveal()));
  EXPECT_EQ(*first->public_key("audit"), *second->public_key("audit"));
  first.reset();
  EXPECT_TRUE(second->derive(bytes("a")));
  EXPECT_TRUE(second->sign("audit", bytes("m")));
}

/// Several that start at once on an empty token: none goes on with a key that another one takes away.
TEST_F(Pkcs11Test, ThoseWhoStartAtOnceShareOneRootOrGiveUp) {
  ASSERT_EQ(code_of(open(kLater)), Errc::hsm_key_missing);  // the token itself works
  std::vector<std::future<Result<std::unique_ptr<Pkcs11Kms>>>> starts;
  for (int i = 0; i < 6; ++i) starts.push_back(std::async(std::launch::async, [this] { return open(); }));
  std::vector<std::unique_ptr<Pkcs11Kms>> opened_ones;
  for (auto& start : starts) {
    auto kms = start.get();
    if (kms) {
      opened_ones.push_back(*std::move(kms));
    } else {
      const auto code = kms.error().code();  // `unavailable`: SoftHSM itself refuses some of several that make keys at once
      EXPECT_TRUE(code == Errc::conflict || code == Errc::hsm_key_unfit || code == Errc::unavailable) << kms.error().text();
    }
  }
  const auto later = opened();
  ASSERT_TRUE(later);
  const auto key = later->derive(bytes("a"));
  ASSERT_TRUE(key) << key.error().text();
  for (const auto& one : opened_ones) EXPECT_TRUE(crypto::equal(one->derive(bytes("a"))->reveal(), key->reveal()));
  const Administrator admin{hsm_->uri()};
  EXPECT_EQ(admin.objects("cloister/root").size(), 1U);
  EXPECT_EQ(admin.objects("cloister/wrap").size(), 1U);
}

/// With a module between us and SoftHSM that fails where it is told to.
class Pkcs11Faults : public Pkcs11Test {
 protected:
  void SetUp() override {
    CLOISTER_SOFTHSM_OR_SKIP(module);
    ::setenv("CLOISTER_FAULTY_PKCS11", module.c_str(), 1);
    void* const library = ::dlopen(CLOISTER_FAULTY_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    ASSERT_NE(library, nullptr) << ::dlerror();
    fault_ = reinterpret_cast<int (*)(const char*, CK_RV, int)>(::dlsym(library, "cloister_fault"));
    ASSERT_NE(fault_, nullptr);
    start(CLOISTER_FAULTY_MODULE);
  }
  int fail(const char* function, CK_RV code, int times) const { return fault_(function, code, times); }
  [[nodiscard]] int calls(const char* function) const { return fault_(function, CKR_OK, 0); }

 private:
  int (*fault_)(const char*, CK_RV, int) = nullptr;
};

TEST_F(Pkcs11Faults, OneLossIsNotSeenOutside) {
  const auto kms = opened();
  const auto sealed = *kms->seal(bytes("ad"), bytes("value"));
  for (const auto* function : {"C_DecryptInit", "C_Decrypt"}) {
    for (const auto code : {CKR_DEVICE_REMOVED, CKR_DEVICE_ERROR, CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,
                            CKR_USER_NOT_LOGGED_IN, CKR_TOKEN_NOT_PRESENT, CKR_CRYPTOKI_NOT_INITIALIZED,
                            CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID, CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR}) {
      fail(function, code, 1);
      const auto again = kms->open(bytes("ad"), sealed);
      ASSERT_TRUE(again) << function << " " << std::hex << code << " " << again.error().text();
    }
  }
  fail("C_Decrypt", CKR_FUNCTION_FAILED, 1000);
  EXPECT_EQ(code_of(kms->open(bytes("ad"), sealed)), Errc::unavailable) << "nothing opens: not the value's fault";
  fail("C_Decrypt", CKR_OK, 0);
  fail("C_OpenSession", CKR_DEVICE_REMOVED, 1);
  fail("C_Sign", CKR_DEVICE_REMOVED, 1);
  EXPECT_TRUE(kms->derive(bytes("a")));
}

TEST_F(Pkcs11Faults, AnHsmThatIsGoneIsUnavailableUntilItIsBack) {
  const auto kms = opened();
  const auto before = Digest32{to_array<32>(kms->derive(bytes("a"))->reveal())};
  const auto sealed = *kms->seal(bytes("ad"), bytes("value"));
  const auto key = crypto::Secret<32>::random(random_);
  ASSERT_TRUE(kms->public_key("audit"));
  hsm_->unplug();
  for (const auto* function : {"C_SignInit", "C_DecryptInit", "C_EncryptInit"}) fail(function, CKR_DEVICE_REMOVED, 1000);
  EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::unavailable);
  EXPECT_EQ(code_of(kms->open(bytes("ad"), sealed)), Errc::unavailable);
  EXPECT_EQ(code_of(kms->seal(bytes("ad"), bytes("value"))), Errc::unavailable);
  EXPECT_EQ(code_of(kms->wrap(key, {})), Errc::unavailable);
  EXPECT_EQ(code_of(kms->sign("audit", bytes("m"))), Errc::unavailable);
  EXPECT_EQ(code_of(kms->public_key("new")), Errc::unavailable);
  EXPECT_EQ(code_of(kms->probe()), Errc::unavailable);
  EXPECT_EQ(code_of(open()), Errc::unavailable) << "nor does another start";
  for (const auto* function : {"C_SignInit", "C_DecryptInit", "C_EncryptInit"}) fail(function, CKR_OK, 0);
  hsm_->plug_in();
  EXPECT_TRUE(kms->probe());
  EXPECT_TRUE(crypto::equal(kms->derive(bytes("a"))->reveal(), before));
  EXPECT_EQ(as_text(kms->open(bytes("ad"), sealed)->reveal()), "value");
  EXPECT_TRUE(kms->sign("audit", bytes("m")));
  const Administrator admin{hsm_->uri()};
  EXPECT_TRUE(admin.objects("cloister/sign/new").empty()) << "nothing half done";
}

TEST_F(Pkcs11Faults, ALockedTokenAndARefusedPinHaveTheirOwnCodes) {
  fail("C_Login", CKR_PIN_LOCKED, 1);
  EXPECT_EQ(code_of(open()), Errc::hsm_pin_locked);
  for (const auto code : {CKR_PIN_INCORRECT, CKR_PIN_EXPIRED, CKR_USER_PIN_NOT_INITIALIZED, CKR_PIN_LEN_RANGE}) {
    fail("C_Login", code, 1);
    EXPECT_EQ(code_of(open()), Errc::hsm_pin_refused);
  }
  EXPECT_TRUE(open());
}

TEST_F(Pkcs11Faults, APinThatIsRefusedLaterIsNotTriedAgain) {
  const auto kms = opened();
  fail("C_Login", CKR_PIN_INCORRECT, 1);
  fail("C_SignInit", CKR_DEVICE_REMOVED, 1);
  EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::hsm_pin_refused);
  const auto logins = calls("C_Login");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::hsm_pin_refused);
  EXPECT_EQ(calls("C_Login"), logins);
}

TEST_F(Pkcs11Faults, AnHsmThatIsGoneIsNotAskedAllTheTime) {
  auto options = kFirst;
  options.pause = std::chrono::hours{1};
  const auto kms = opened(options);
  fail("C_GetSlotList", CKR_DEVICE_REMOVED, 1000);
  fail("C_SignInit", CKR_DEVICE_REMOVED, 1);
  EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::unavailable);
  const auto asked = calls("C_GetSlotList");  // which also works again from here on
  for (int i = 0; i < 5; ++i) EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::unavailable);
  EXPECT_EQ(calls("C_GetSlotList"), asked);
}

TEST_F(Pkcs11Faults, AKeyThatIsGoneRestartsTheModuleSeldom) {
  auto options = kFirst;
  options.pause = std::chrono::hours{1};
  const auto kms = opened(options);
  Administrator{hsm_->uri()}.destroy("cloister/root");
  EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::hsm_key_missing);
  const auto logins = calls("C_Login");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(code_of(kms->derive(bytes("a"))), Errc::hsm_key_missing);
  EXPECT_EQ(calls("C_Login"), logins);
}

TEST_F(Pkcs11Faults, WhoFindsEverySessionInUseWaitsForSoLong) {
  auto options = kFirst;
  options.sessions = 1;
  options.wait = std::chrono::milliseconds{20};
  const auto kms = opened(options);
  const auto before = calls("C_Sign");
  fail("C_Sign", CKR_OK, -1);
  auto slow = std::async(std::launch::async, [&] { return kms->derive(bytes("a")).ok(); });
  while (fail("C_Sign", CKR_OK, -1) == before) std::this_thread::yield();
  const auto refused = kms->derive(bytes("b"));
  EXPECT_EQ(code_of(refused), Errc::unavailable);
  EXPECT_NE(refused.error().detail().find("in use"), std::string::npos) << refused.error().detail();
  fail("C_Sign", CKR_OK, 0);
  EXPECT_TRUE(slow.get());
  EXPECT_TRUE(kms->derive(bytes("b")));
}

TEST_F(Pkcs11Faults, ATokenWithFewerSessionsIsServedByThose) {
  const auto kms = opened();
  std::vector<std::future<bool>> all;
  fail("C_OpenSession", CKR_SESSION_COUNT, 1000);
  for (int i = 0; i < 6; ++i) all.push_back(std::async(std::launch::async, [&] { return kms->derive(bytes("a")).ok(); }));
  for (auto& one : all) EXPECT_TRUE(one.get());
  fail("C_OpenSession", CKR_OK, 0);
}

TEST_F(Pkcs11Faults, ATokenThatLacksAMechanismIsUnsupported) {
  fail("C_GetMechanismInfo", CKR_MECHANISM_INVALID, 1);
  EXPECT_EQ(code_of(open()), Errc::unsupported);
}

TEST_F(Pkcs11Faults, AFailedStartLeavesNoHalfKeys) {
  fail("C_GenerateKey", CKR_DEVICE_MEMORY, 3);
  EXPECT_EQ(code_of(open()), Errc::unavailable);
  {
    const auto kms = opened();
    fail("C_GenerateKeyPair", CKR_DEVICE_MEMORY, 3);
    EXPECT_EQ(code_of(kms->public_key("audit")), Errc::unavailable);
    const Administrator admin{hsm_->uri()};
    EXPECT_TRUE(admin.objects("cloister/sign/audit").empty());
    EXPECT_EQ(admin.objects("cloister/root").size(), 1U);
    EXPECT_EQ(admin.objects("cloister/wrap").size(), 1U);
    EXPECT_TRUE(kms->public_key("audit"));
  }
  EXPECT_TRUE(open(kLater));
}

}  // namespace
}  // namespace cloister::kms
