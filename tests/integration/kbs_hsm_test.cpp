// Releases whose data key only an HSM can unwrap: SoftHSM, behind a module that fails where a test tells it to.
#include <dlfcn.h>

#include "cloister/kms/pkcs11.hpp"
#include "kbs_fixture.hpp"
#include "support/softhsm.hpp"

namespace cloister::test {
namespace {

class GuestsOfAnHsmTest : public KeyBrokerTest {
 protected:
  void SetUp() override {
    CLOISTER_SOFTHSM_OR_SKIP(module);
    ::setenv("CLOISTER_FAULTY_PKCS11", module.c_str(), 1);
    void* const library = ::dlopen(CLOISTER_FAULTY_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    ASSERT_NE(library, nullptr) << ::dlerror();
    fault_ = reinterpret_cast<int (*)(const char*, CK_RV, int)>(::dlsym(library, "cloister_fault"));
    ASSERT_NE(fault_, nullptr);
    hsm_ = std::make_unique<SoftHsm>(CLOISTER_FAULTY_MODULE);
    kms::Pkcs11Kms::Options options;
    options.make_keys = true;
    options.pause = std::chrono::milliseconds{0};
    auto opened = kms::Pkcs11Kms::open(hsm_->uri(), options, random);
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    kms_ = *std::move(opened);
    KeyBrokerTest::SetUp();
    acme_ = operator_token(session::kAdminRole, "acme");  // whose data key is the HSM's from the start
    restart();
    ASSERT_EQ(send_to(kTheirs, Method::post, "/resource/default/key/1", as(acme_), kSecret).status, 200);
  }
  /// As a new process: no data key is unwrapped.
  void restart() {
    services->guests = nullptr;
    brokers.reset();
    guests_sealer = std::make_unique<storage::Sealer>(*kms_, random);
    configure(options());
  }
  void unplug() {
    hsm_->unplug();
    for (const auto* function : kFunctions) fault_(function, CKR_DEVICE_REMOVED, 1000);
  }
  void plug_in() {
    for (const auto* function : kFunctions) fault_(function, CKR_OK, 0);
    hsm_->plug_in();
  }
  void TearDown() override {
    if (fault_ != nullptr) {
      for (const auto* function : kFunctions) fault_(function, CKR_OK, 0);
    }
    KeyBrokerTest::TearDown();
  }

  static constexpr const char* kTheirs = "/t/acme/kbs/v0";
  static constexpr const char* kFunctions[] = {"C_DecryptInit", "C_EncryptInit", "C_SignInit"};
  int (*fault_)(const char*, CK_RV, int) = nullptr;
  std::unique_ptr<SoftHsm> hsm_;
  std::unique_ptr<kms::Pkcs11Kms> kms_;
  std::string acme_;
};

TEST_F(GuestsOfAnHsmTest, NothingIsReleasedWhileTheHsmIsGone) {
  auto client = client::KeyBroker::connect(server->base_url() + "/t/acme", p256()).value();
  const auto token = client.attest(tdx()).value();
  const auto ask = [&] { return send_to(kTheirs, Method::get, "/resource/default/key/1", as(token)); };
  unplug();
  restart();
  const auto refused = ask();
  EXPECT_EQ(refused.status, 503) << refused.text;
  EXPECT_EQ(refused.headers.find("Retry-After"), "1");
  EXPECT_EQ(refused.kind(), "PluginInternalError");
  EXPECT_EQ(refused.detail(), "unavailable");  // and nothing of the HSM
  EXPECT_FALSE(leaf(kbs::kReleased, "default/key/1"));
  EXPECT_EQ(send_to(kTheirs, Method::post, "/resource/default/key/2", as(acme_), "x").status, 503);
  EXPECT_EQ(send_to(kTheirs, Method::get, "/resource", as(acme_)).text, R"(["default/key/1"])");
  plug_in();
  EXPECT_EQ(ask().status, 200);
  EXPECT_EQ(as_text(client.resource(path("default/key/1"))->reveal()), kSecret);
  EXPECT_TRUE(leaf(kbs::kReleased, "default/key/1"));
}

TEST_F(GuestsOfAnHsmTest, AKeyThatTheHsmHasLostReleasesNothing) {
  auto client = client::KeyBroker::connect(server->base_url() + "/t/acme", p256()).value();
  const auto token = client.attest(tdx()).value();
  const Administrator administrator{hsm_->uri()};
  administrator.destroy("cloister/wrap");
  restart();
  const auto refused = send_to(kTheirs, Method::get, "/resource/default/key/1", as(token));
  EXPECT_EQ(refused.status, 500) << refused.text;
  EXPECT_EQ(refused.detail(), "hsm_key_missing");
  EXPECT_FALSE(leaf(kbs::kReleased, "default/key/1"));
}

}  // namespace
}  // namespace cloister::test
