// SNP and SGX guests of the key broker over HTTP: from the request to the released resource, and each binding broken alone. The
// evidence is that of synthetic chips and platforms in the real formats; TDX is in kbs_test.cpp, by the lab.
#include "kbs_fixture.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::test {
namespace {

constexpr std::string_view kInitData = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\nwho = \"a guest\"\n";

json::Array list(ByteView digest) { return json::Array{codec::to_hex(digest)}; }
json::Array list(std::uint8_t svn) { return json::Array{std::int64_t{svn}}; }
json::Array numbers(ByteView bytes) {
  json::Array out;
  for (const auto byte : bytes) out.emplace_back(std::int64_t{byte});
  return out;
}

class ForeignEvidence : public KeyBrokerTest {
 protected:
  ForeignEvidence() { world.clock.set(SyntheticSnp::now()); }
  void SetUp() override {
    KeyBrokerTest::SetUp();
    ASSERT_EQ(SyntheticSnp::now(), SyntheticPlatform::now());
    auto measured = options();
    measured.reference_values = reference_values();
    configure(std::move(measured));
  }
  void trust(const crypto::x509::CertificatePtr& root) {
    world.anchors.add(attestation::TrustAnchor::make(root, attestation::AnchorKind::given).value());
  }
  [[nodiscard]] virtual json::Value reference_values() const = 0;
  [[nodiscard]] virtual client::GuestEvidence evidence() = 0;
  /// As evidence has it that is for a guest with these data.
  virtual void configure_guest(ByteView digest) = 0;

  /// What every kind has to do.
  void release_what_is_bound() {
    auto bound = guest(p256());
    const auto token = bound.attest(evidence());
    ASSERT_TRUE(token.ok()) << token.error().text();
    EXPECT_EQ(as_text(bound.resource(path("default/key/1")).value().reveal()), kSecret);
    EXPECT_EQ(get("default/key/1", as(*token)).status, 200);

    // Another's evidence: of another nonce, or another key.
    Digest48 seen{};
    auto stolen = evidence();
    const auto honest = stolen.primary;
    stolen.primary = [&](const Digest48& data) {
      seen = data;
      seen[0] ^= 1;
      return honest(seen);
    };
    const auto refused = guest(p256()).attest(stolen);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().text(), HasSubstr("report_data_mismatch"));
  }
  void release_to_what_was_measured() {
    auto with = options();
    with.reference_values = reference_values();
    with.resource_policy = kbs::ResourcePolicy::compile("init.rego", R"(package policy
allow if input.submods.cpu0["ear.veraison.annotated-evidence"].init_data_claims.who == "a guest")").value();
    configure(std::move(with));
    configure_guest(crypto::sha256(as_bytes(kInitData)));
    auto measured = evidence();
    measured.init_data = rcar::InitData{"toml", std::string{kInitData}};
    auto known = guest(p256());
    const auto token = known.attest(measured);
    ASSERT_TRUE(token.ok()) << token.error().text();
    EXPECT_TRUE(known.resource(path("default/key/1")).ok());
    measured.init_data->body += "# more\n";
    EXPECT_THAT(guest(p256()).attest(measured).error().text(), HasSubstr("binding_mismatch"));
    measured.init_data.reset();
    auto silent = guest(p256());
    ASSERT_TRUE(silent.attest(measured).ok());
    EXPECT_EQ(silent.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  }
  void release_nothing_to_the_unknown() {
    configure(options());
    auto unknown = guest(p256());
    ASSERT_TRUE(unknown.attest(evidence()).ok());
    EXPECT_THAT(unknown.resource(path("default/key/1")).error().text(), HasSubstr("PolicyDeny"));
  }
};

class SnpGuests : public ForeignEvidence {
 protected:
  SnpGuests() {
    chip.body.vmpl = 0;
    trust(chip.build().root);
  }
  [[nodiscard]] json::Value reference_values() const override {
    const auto tcb = evidence::snp_tcb(chip.body.reported_tcb, evidence::SnpProduct::milan);
    return json::Object{{"snp_launch_measurement", list(ByteView{chip.body.measurement})},
                        {"snp_bootloader", list(tcb.bootloader)},
                        {"snp_tee_svn", list(tcb.tee)},
                        {"snp_snp_svn", list(tcb.snp)},
                        {"snp_microcode", list(tcb.microcode)}};
  }
  [[nodiscard]] client::GuestEvidence evidence() override {
    client::GuestEvidence out;
    out.tee = rcar::Tee::snp;
    out.primary = [this](const Digest48& data) -> Result<std::string> {
      chip.body.report_data = rcar::padded(data);
      const auto built = chip.build();
      json::Array chain;
      for (const auto& one : built.endorsements.certificates) {
        chain.emplace_back(json::Object{{"cert_type", "VCEK"}, {"data", numbers(one->der)}});
      }
      return json::write(json::Object{{"attestation_report", numbers(built.report)}, {"cert_chain", std::move(chain)}});
    };
    return out;
  }
  void configure_guest(ByteView digest) override { chip.body.host_data = to_array<32>(digest); }
  SyntheticSnp chip;
};

TEST_F(SnpGuests, AreGivenWhatTheirEvidenceIsGoodFor) { release_what_is_bound(); }
TEST_F(SnpGuests, HaveTheirInitDataMeasured) { release_to_what_was_measured(); }
TEST_F(SnpGuests, OfUnknownMeasurementsAreGivenNothing) { release_nothing_to_the_unknown(); }
TEST_F(SnpGuests, OfAnotherVendorAreRefused) {
  chip.report_signed_by = "another";
  EXPECT_THAT(guest(p256()).attest(evidence()).error().text(), HasSubstr("signature_invalid"));
}
TEST_F(SnpGuests, AreNoneOfAnotherKind) {
  auto passed_off = evidence();
  passed_off.tee = rcar::Tee::tdx;
  EXPECT_FALSE(guest(p256()).attest(passed_off).ok());
}

class SgxGuests : public ForeignEvidence {
 protected:
  SgxGuests() {
    const auto built = platform.build();
    trust(built.root);
    world.collateral = built.collateral;
  }
  [[nodiscard]] json::Value reference_values() const override {
    return json::Object{{"mr_enclave", list(ByteView{enclave().mr_enclave})}};
  }
  [[nodiscard]] client::GuestEvidence evidence() override {
    client::GuestEvidence out;
    out.tee = rcar::Tee::sgx;
    out.primary = [this](const Digest48& data) -> Result<std::string> {
      platform.enclave().report_data = rcar::padded(data);
      return json::write(json::Object{{"quote", codec::to_base64(platform.build().quote)}});
    };
    return out;
  }
  void configure_guest(ByteView digest) override { platform.enclave().config_id = to_array<64>(rcar::fitted(digest, 64)); }
  [[nodiscard]] evidence::SgxReport enclave() const {
    auto copy = platform;
    return copy.enclave();
  }
  SyntheticPlatform platform{evidence::TeeType::sgx, 3};
};

TEST_F(SgxGuests, AreGivenWhatTheirEvidenceIsGoodFor) { release_what_is_bound(); }
TEST_F(SgxGuests, HaveTheirInitDataMeasured) { release_to_what_was_measured(); }
TEST_F(SgxGuests, OfUnknownMeasurementsAreGivenNothing) { release_nothing_to_the_unknown(); }
TEST_F(SgxGuests, WhoseQuoteIsSignedByAnotherKeyAreRefused) {
  platform.quote_signed_by = "another";
  EXPECT_THAT(guest(p256()).attest(evidence()).error().text(), HasSubstr("signature_invalid"));
}

}  // namespace
}  // namespace cloister::test
