#include "cloister/prover/prover.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "cloister/evidence/event_log.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/policy/server.hpp"
#include "cloister/protocol/launch.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::prover {
namespace {

const UnixTime kNow = *from_civil(2026, 6, 1, 12, 0, 0);

/// The lab's TD as the server inside it sees it. What a test breaks is a member.
struct Td {
  lab::Platform platform = lab::Platform::create(crypto::Secret<32>{ByteArray<32>{7}}, kNow - std::chrono::hours{24});
  Bytes program = Bytes(5000, 0x11);
  std::optional<lab::tdx::Td> machine;
  int opened = 0;
  int extended = 0;
  std::atomic<int> inside = 0;   // calls of the device right now
  std::atomic<int> most = 0;     // the most that there were
  std::optional<Errc> no_device;  // opening fails
  std::optional<Errc> broken;     // the next quote fails
  bool without_registers = false;
  bool over_other_bytes = false;
  std::optional<Bytes> instead;   // of the quote

  Td() { relaunch(); }
  void relaunch() {
    const measure::TdFile file{"cloisterd", 0755, program};
    machine.emplace(*platform.launch({}, {&file, 1}));
  }
  void extend(const Digest48& digest) {
    ASSERT_TRUE(machine->tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, protocol::kLaunchRtmr, digest).ok());
  }
};

class Device final : public device::TeeDevice {
 public:
  explicit Device(Td& td) : td_{td} { ++td_.opened; }
  Result<Bytes> report(const Digest64& report_data) override {
    if (td_.without_registers) return Error{Errc::unsupported, "no registers"};
    return to_bytes(*td_.machine->tdg_mr_report(report_data));
  }
  Result<void> extend_rtmr(unsigned index, const Digest48& digest) override {
    ++td_.extended;
    const auto status = td_.machine->tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, index, digest);
    return status.ok() ? Result<void>{} : Error{Errc::permission_denied, "extend"};
  }
  Result<device::Quote> quote(const Digest64& report_data) override {
    td_.most = std::max(td_.most.load(), ++td_.inside);
    const auto done = [this](Result<device::Quote> result) {
      --td_.inside;
      return result;
    };
    if (const auto code = std::exchange(td_.broken, {})) return done(Error{*code, "broken"});
    if (td_.instead) return done(device::Quote{.evidence = *td_.instead, .collateral = {}});
    auto data = report_data;
    if (td_.over_other_bytes) data[0] ^= 1;
    auto made = report(data);
    if (!made) return done(made.error());
    auto evidence = td_.platform.quote(*made);
    if (!evidence) return done(evidence.error());
    return done(device::Quote{.evidence = *std::move(evidence), .collateral = {}});
  }

 private:
  Td& td_;
};

Machine machine_of(Td& td) {
  return {[&td]() -> Result<std::unique_ptr<device::TeeDevice>> {
            if (td.no_device) return Error{*td.no_device, "no device"};
            return std::unique_ptr<device::TeeDevice>{new Device{td}};
          },
          [&td](const evidence::Quote&) -> Result<std::string> {
            return evidence::write_quote_collateral(td.platform.collateral(kNow - std::chrono::hours{1}));
          }};
}

protocol::ServerIdentity identity() {
  protocol::ServerIdentity out;
  out.server_id = "srv-example";
  out.channel_keys = {ByteArray<32>{1}};
  out.configuration_digest = Digest32{5};
  return out;
}

std::unique_ptr<Prover> must_open(Td& td) {
  auto prover = Prover::open(machine_of(td), identity());
  EXPECT_TRUE(prover.ok()) << prover.error().text();
  return *std::move(prover);
}

const Bytes kNonce(32, 9);

TEST(Prover, ShowsEvidenceThatVerifies) {
  Td td;
  const auto prover = must_open(td);
  for (const auto& hash : {std::optional<Digest32>{}, std::optional{Digest32{8}}}) {
    const auto proof = prover->prove(kNonce, hash, Digest32{4});
    ASSERT_TRUE(proof.ok()) << proof.error().text();
    policy::TrustFile trust;
    trust.lab_roots = {*crypto::x509::parse_certificate(td.platform.root())};
    trust.server_reference_values = {{td.machine->mrtd(), {}, Digest32{5}}};
    const auto server = policy::appraise_server(*proof, {kNonce, hash}, trust, kNow);
    ASSERT_TRUE(server.ok()) << server.error().text();
    auto expected = identity();
    expected.tls_key = Digest32{4};
    EXPECT_EQ(server->identity(), expected);
  }
  EXPECT_EQ(td.opened, 1);
  EXPECT_EQ(td.extended, 1);
}

TEST(Prover, MeasuresOnceInTheLifeOfATd) {
  Td td;
  must_open(td);
  const auto again = must_open(td);
  EXPECT_EQ(td.extended, 1);
  EXPECT_TRUE(again->prove(kNonce, {}, {}).ok());
}

TEST(Prover, DoesNotStartInATdThatMeasuredSomethingElse) {
  Td td;
  must_open(td);
  auto other = identity();
  other.configuration_digest = Digest32{6};
  const auto refused = Prover::open(machine_of(td), other);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::conflict);
  EXPECT_EQ(td.extended, 1);
  td.relaunch();
  EXPECT_TRUE(Prover::open(machine_of(td), other).ok());
}

TEST(Prover, ShowsNothingOnceAnotherProgramHasExtendedItsRegister) {
  Td td;
  const auto prover = must_open(td);
  td.extend(Digest48{1});
  EXPECT_EQ(prover->prove(kNonce, {}, {}).error().code(), Errc::conflict);
}

TEST(Prover, DoesNotStartWithoutADeviceOrARegister) {
  Td td;
  td.no_device = Errc::unavailable;
  EXPECT_EQ(Prover::open(machine_of(td), identity()).error().code(), Errc::unavailable);
  td.no_device.reset();
  td.without_registers = true;
  EXPECT_EQ(Prover::open(machine_of(td), identity()).error().code(), Errc::unsupported);
}

TEST(Prover, OpensTheDeviceAnewAfterItFailed) {
  Td td;
  const auto prover = must_open(td);
  td.broken = Errc::peer_closed;
  EXPECT_EQ(prover->prove(kNonce, {}, {}).error().code(), Errc::peer_closed);
  EXPECT_TRUE(prover->prove(kNonce, {}, {}).ok());
  EXPECT_EQ(td.opened, 2);
  // A TD that was launched anew meanwhile measures the configuration, too.
  td.broken = Errc::peer_closed;
  EXPECT_FALSE(prover->prove(kNonce, {}, {}).ok());
  td.relaunch();
  EXPECT_TRUE(prover->prove(kNonce, {}, {}).ok());
  EXPECT_EQ(td.extended, 2);
}

TEST(Prover, RefusesAQuoteOverOtherBytes) {
  Td td;
  const auto prover = must_open(td);
  td.over_other_bytes = true;
  EXPECT_EQ(prover->prove(kNonce, {}, {}).error().code(), Errc::tee_failure);
}

TEST(Prover, RefusesEvidenceThatIsNoTdsQuote) {
  Td td;
  const auto prover = must_open(td);
  td.instead = test::SyntheticPlatform{evidence::TeeType::sgx, 3}.build().quote;
  EXPECT_EQ(prover->prove(kNonce, {}, {}).error().code(), Errc::evidence_unsupported);
  td.instead = Bytes(100, 1);
  EXPECT_FALSE(prover->prove(kNonce, {}, {}).ok());
}

TEST(Prover, BoundsTheNonce) {
  Td td;
  const auto prover = must_open(td);
  for (const std::size_t size : {0U, 15U, 65U}) {
    EXPECT_EQ(prover->prove(Bytes(size, 1), {}, {}).error().code(), Errc::invalid_argument) << size;
  }
  EXPECT_TRUE(prover->prove(Bytes(16, 1), {}, {}).ok());
  EXPECT_TRUE(prover->prove(Bytes(64, 1), {}, {}).ok());
}

TEST(Prover, ShowsEvidenceWithoutCollateralWhereThereIsNone) {
  Td td;
  auto machine = machine_of(td);
  machine.collateral = [](const evidence::Quote&) -> Result<std::string> { return Error{Errc::collateral_missing, ""}; };
  const auto prover = *Prover::open(std::move(machine), identity());
  EXPECT_EQ(prover->prove(kNonce, {}, {})->collateral, "");
}

TEST(Prover, MakesOneQuoteAtATime) {
  Td td;
  const auto prover = must_open(td);
  std::atomic<int> made = 0;
  std::vector<std::thread> askers;
  for (int i = 0; i < 4; ++i) {
    askers.emplace_back([&] {
      for (int n = 0; n < 3; ++n) made += int{prover->prove(kNonce, {}, {}).ok()};
    });
  }
  for (auto& asker : askers) asker.join();
  EXPECT_EQ(made, 12);
  EXPECT_EQ(td.most, 1);
}

}  // namespace
}  // namespace cloister::prover
