#include <gtest/gtest.h>

#include "cloister/attestation/verify.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab/tcb_story.hpp"

/// What the lab makes, seen by the verifier that everybody else uses. Only this test links it.
namespace cloister::lab {
namespace {

using attestation::AnchorKind;
using attestation::CheckId;
using attestation::CheckResult;
using attestation::TcbStatus;
using attestation::TrustAnchor;
using attestation::TrustAnchors;

const UnixTime kCreated = from_civil(2026, 3, 1, 12, 0, 0).value();
const UnixTime kNow = kCreated + std::chrono::days{10};

crypto::Secret<32> seed(std::uint8_t first = 1) { return crypto::Secret<32>{ByteArray<32>{first}}; }

TrustAnchors lab_anchors(const Platform& platform) {
  TrustAnchors anchors;
  anchors.add(TrustAnchor::make(crypto::x509::parse_certificate(platform.root()).value(), AnchorKind::lab).value());
  return anchors;
}

class LabEvidence : public ::testing::Test {
 protected:
  Bytes program_ = Bytes(5000, 0x33);
  Digest64 report_data_{};

  LabEvidence() { report_data_.fill(0x64); }

  [[nodiscard]] evidence::Quote quote(const Platform& platform, QuoteFormat format = QuoteFormat::v4,
                                      const tdx::TdParams& params = {}) const {
    const std::vector<measure::TdFile> files{{"cloister-guest", 0755, program_}};
    const auto td = platform.launch(params, files).value();
    return evidence::parse_quote(platform.quote(*td.tdg_mr_report(report_data_), format).value()).value();
  }
  [[nodiscard]] attestation::Outcome verify(const Platform& platform, const TrustAnchors& anchors, UnixTime at = kNow,
                                            QuoteFormat format = QuoteFormat::v4) const {
    const auto collateral = evidence::parse_documents(platform.collateral(kNow)).value();
    return attestation::verify(quote(platform, format), collateral, anchors, at);
  }
  static std::string problem(const attestation::Outcome& outcome) {
    return outcome.report.error() ? outcome.report.error()->text() : "none";
  }
};

TEST_F(LabEvidence, VerifiesUnderItsRootAsUpToDate) {
  const auto platform = Platform::create(seed(), kCreated);
  for (const auto format : {QuoteFormat::v4, QuoteFormat::v5, QuoteFormat::v5_td10, QuoteFormat::v5_td15_ex}) {
    auto outcome = verify(platform, lab_anchors(platform), kNow, format);
    ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
    EXPECT_TRUE(outcome.evidence->lab());
    EXPECT_EQ(outcome.evidence->tcb().status, TcbStatus::up_to_date);
    EXPECT_EQ(outcome.evidence->tcb().module, TcbStatus::up_to_date);
    EXPECT_EQ(outcome.evidence->tcb().qe, TcbStatus::up_to_date);
    EXPECT_TRUE(outcome.evidence->tcb().distance.empty());
    EXPECT_EQ(outcome.report.trailing_bytes, 0U);
    EXPECT_TRUE(attestation::bind(std::move(*outcome.evidence), report_data_).ok());
  }
}

TEST_F(LabEvidence, IsRefusedWithoutItsRoot) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto other = Platform::create(seed(2), kCreated);
  for (const auto& anchors : {TrustAnchors{}, TrustAnchors::vendors(), lab_anchors(other)}) {
    const auto outcome = verify(platform, anchors);
    EXPECT_FALSE(outcome.evidence.has_value());
    EXPECT_EQ(outcome.report.check(CheckId::pck_chain).result, CheckResult::fail);
  }
}

TEST_F(LabEvidence, ImitatingTheVendorsNamesDoesNotHelp) {
  const auto platform = Platform::create(seed(), kCreated, {.names = Names::vendor});
  const auto outcome = verify(platform, TrustAnchors::vendors());
  EXPECT_FALSE(outcome.evidence.has_value());
  EXPECT_EQ(outcome.report.check(CheckId::pck_chain).code, Errc::lab_root_not_trusted);
  const auto root = crypto::x509::parse_certificate(platform.root()).value();
  for (const auto kind : {AnchorKind::intel, AnchorKind::given, AnchorKind::lab}) {
    EXPECT_FALSE(TrustAnchor::make(root, kind).ok());
  }
}

TEST_F(LabEvidence, HoldsAfterThePlatformIsOpenedAgain) {
  const auto first = Platform::create(seed(), kCreated);
  const auto again = Platform::open(seed(), first.root()).value();
  const auto outcome = verify(again, lab_anchors(first));
  EXPECT_TRUE(outcome.evidence.has_value()) << problem(outcome);
}

TEST_F(LabEvidence, IsBoundedByTheDatesOfItsCollateral) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto anchors = lab_anchors(platform);
  EXPECT_TRUE(verify(platform, anchors, kNow + std::chrono::days{29}).evidence.has_value());
  EXPECT_FALSE(verify(platform, anchors, kNow + std::chrono::days{31}).evidence.has_value());
  EXPECT_FALSE(verify(platform, anchors, kNow - std::chrono::days{1}).evidence.has_value());
  EXPECT_FALSE(verify(platform, anchors, kCreated - std::chrono::days{1}).evidence.has_value());
}

TEST_F(LabEvidence, RevokedPlatformIsRefused) {
  const auto serial = Platform::create(seed(), kCreated).pck_certificate()->serial;
  const auto platform = Platform::create(seed(), kCreated, {.revoked_pcks = {{serial, kCreated}}});
  const auto outcome = verify(platform, lab_anchors(platform));
  EXPECT_FALSE(outcome.evidence.has_value());
  EXPECT_EQ(outcome.report.check(CheckId::pck_revocation).result, CheckResult::fail);
}

TEST_F(LabEvidence, TcbRecoveryMakesAMachineOutOfDate) {
  auto state = TcbState::current(kCreated);
  state.machine.sgx_components[0] -= 1;  // the microcode of before
  const auto behind = Platform::create(seed(), kCreated, {.tcb = state});
  const auto outcome = verify(behind, lab_anchors(behind));
  ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
  EXPECT_EQ(outcome.evidence->tcb().status, TcbStatus::out_of_date);
  ASSERT_EQ(outcome.evidence->tcb().advisory_ids.size(), 1U);

  state = TcbState::current(kCreated);
  state.machine.tee_tcb_svn[0] -= 1;  // the TDX module of before
  const auto module = Platform::create(seed(), kCreated, {.tcb = state});
  EXPECT_EQ(verify(module, lab_anchors(module)).evidence.value().tcb().module, TcbStatus::out_of_date);

  state = TcbState::current(kCreated);
  state.machine.qe_isvsvn -= 1;
  const auto qe = Platform::create(seed(), kCreated, {.tcb = state});
  EXPECT_EQ(verify(qe, lab_anchors(qe)).evidence.value().tcb().qe, TcbStatus::out_of_date);
}

/// The collateral that a service of this story has at a time.
evidence::QuoteCollateral offered(const Platform& platform, const TcbStory& story, UnixTime at) {
  Platform::Options options{.tcb = TcbState{story.machine(), story.offered().published}};
  options.revoked_pcks = story.offered().revoked_pcks;
  return platform.with(std::move(options)).collateral(story.withheld_since().value_or(at));
}

TEST_F(LabEvidence, TellsAWholeTcbStory) {
  const auto day = [](int days) { return kCreated + std::chrono::days{days}; };
  TcbStory story{kCreated};
  const auto first = Platform::create(seed(), kCreated);
  const auto anchors = lab_anchors(first);
  const auto old_quote = quote(first);
  const auto look = [&](const evidence::Quote& shown, UnixTime at) {
    const auto documents = evidence::parse_documents(offered(first, story, at)).value();
    return attestation::verify(shown, documents, anchors, at);
  };
  EXPECT_EQ(look(old_quote, day(1)).evidence.value().tcb().status, TcbStatus::up_to_date);

  // A flaw is found and repaired; the service keeps the news back, then tells.
  ASSERT_TRUE(story.add({day(2), Withhold{}}).ok());
  ASSERT_TRUE(story.add({day(3), Advise{TcbPart::platform, "LAB-SA-00002"}}).ok());
  auto held = look(old_quote, day(4));
  EXPECT_EQ(held.evidence.value().tcb().status, TcbStatus::up_to_date);
  EXPECT_EQ(held.evidence->tcb().tcb_info_number, 17U);
  EXPECT_FALSE(look(old_quote, day(33)).evidence.has_value());  // what is kept back grows old
  ASSERT_TRUE(story.add({day(5), Release{}}).ok());
  const auto told = look(old_quote, day(5));
  EXPECT_EQ(told.evidence.value().tcb().status, TcbStatus::out_of_date);
  EXPECT_EQ(told.evidence->tcb().advisory_ids, std::vector<std::string>{"LAB-SA-00002"});
  EXPECT_EQ(told.evidence->tcb().tcb_info_number, 18U);

  // The machine is updated: its quotes are up to date, the old one stays what it is.
  ASSERT_TRUE(story.add({day(6), Update{}}).ok());
  const auto updated = first.with({.tcb = TcbState{story.machine(), story.newest().published}});
  const auto new_quote = quote(updated);
  EXPECT_EQ(look(new_quote, day(6)).evidence.value().tcb().status, TcbStatus::up_to_date);
  EXPECT_EQ(look(old_quote, day(6)).evidence.value().tcb().status, TcbStatus::out_of_date);

  // The same for the module and the quoting enclave.
  ASSERT_TRUE(story.add({day(7), Advise{TcbPart::module, "LAB-SA-00003"}}).ok());
  EXPECT_EQ(look(new_quote, day(7)).evidence.value().tcb().module, TcbStatus::out_of_date);
  ASSERT_TRUE(story.add({day(8), Advise{TcbPart::qe, "LAB-SA-00004"}}).ok());
  EXPECT_EQ(look(new_quote, day(8)).evidence.value().tcb().qe, TcbStatus::out_of_date);
  ASSERT_TRUE(story.add({day(9), Update{}}).ok());
  const auto third = first.with({.tcb = TcbState{story.machine(), story.newest().published}});
  const auto third_quote = quote(third);
  EXPECT_EQ(look(third_quote, day(9)).evidence.value().tcb().status, TcbStatus::up_to_date);

  // Its certificate is revoked: nothing under it counts.
  ASSERT_TRUE(story.add({day(10), RevokePck{third.pck_certificate()->serial}}).ok());
  const auto refused = look(third_quote, day(10));
  EXPECT_FALSE(refused.evidence.has_value());
  EXPECT_EQ(refused.report.check(CheckId::pck_revocation).code, Errc::pck_certificate_revoked);
}

TEST_F(LabEvidence, TdThatOutlivesItsModuleIsAdvisedToRelaunch) {
  const auto day = [](int days) { return kCreated + std::chrono::days{days}; };
  TcbStory story{kCreated};
  const auto platform = Platform::create(seed(), kCreated);
  const auto machine = platform.start();
  const std::vector<measure::TdFile> files{{"cloister-guest", 0755, program_}};
  const auto td = tdx::launch(machine, {}, files).value();
  const auto look = [&](const tdx::Td& shown, QuoteFormat format) {
    const auto bytes = platform.quote(*shown.tdg_mr_report(report_data_), format).value();
    const auto documents = evidence::parse_documents(offered(platform, story, day(5))).value();
    return attestation::verify(evidence::parse_quote(bytes).value(), documents, lab_anchors(platform), day(5))
        .evidence.value().tcb().status;
  };
  ASSERT_TRUE(story.add({day(2), Advise{TcbPart::module, "LAB-SA-00002"}}).ok());
  EXPECT_EQ(look(td, QuoteFormat::v5), TcbStatus::out_of_date);
  ASSERT_TRUE(story.add({day(3), UpdateModule{}}).ok());
  const auto updated = platform.with({.tcb = TcbState{story.machine(), story.newest().published}});
  ASSERT_TRUE(machine->update_module(updated.module()).ok());
  EXPECT_EQ(look(td, QuoteFormat::v5), TcbStatus::td_relaunch_advised);
  EXPECT_EQ(look(td, QuoteFormat::v4), TcbStatus::out_of_date);  // its body cannot say what runs now
  EXPECT_EQ(look(tdx::launch(machine, {}, files).value(), QuoteFormat::v5), TcbStatus::up_to_date);
}

TEST_F(LabEvidence, EveryChangedByteOfAQuoteIsRefused) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto anchors = lab_anchors(platform);
  const auto collateral = evidence::parse_documents(platform.collateral(kNow)).value();
  const auto good = to_bytes(quote(platform).bytes());
  for (std::size_t i = 0; i < 1400; i += 7) {  // header to authentication data
    auto changed = good;
    changed[i] ^= 0x10;
    const auto parsed = evidence::parse_quote(changed);
    if (!parsed) continue;
    EXPECT_FALSE(attestation::verify(*parsed, collateral, anchors, kNow).evidence.has_value()) << "byte " << i;
  }
}

TEST_F(LabEvidence, DebugTdsSaySo) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto collateral = evidence::parse_documents(platform.collateral(kNow)).value();
  tdx::TdParams params;
  params.attributes |= tdx::TdParams::kDebug;
  const auto outcome = attestation::verify(quote(platform, QuoteFormat::v4, params), collateral, lab_anchors(platform), kNow);
  ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
  EXPECT_TRUE(attestation::attribute_findings(outcome.evidence->claims()).debug);
}

}  // namespace
}  // namespace cloister::lab
