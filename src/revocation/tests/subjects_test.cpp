#include "cloister/revocation/subjects.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::revocation {
namespace {

using testing::ElementsAre;

TEST(Subjects, KindsHaveTheirNames) {
  for (const auto kind : kKinds) EXPECT_EQ(kind_from_string(to_string(kind)), kind);
  EXPECT_EQ(kind_from_string("Chip"), std::nullopt);
  EXPECT_EQ(kind_from_string(""), std::nullopt);
}

TEST(Subjects, OfATdAreWhatItMeasuredAndItsPlatform) {
  evidence::TdBody td;
  td.mr_td.fill(0xA1);
  td.rtmr[1].fill(0xB2);  // the others are zeros: nothing was measured
  evidence::PckExtension pck;
  pck.ppid.fill(0xC3);
  pck.fmspc.fill(0xD4);
  attestation::DcapClaims claims;
  claims.body = td;
  claims.platform = pck;
  const auto found = subjects_of({claims});
  EXPECT_THAT(found.measurements, ElementsAre(codec::to_hex(td.mr_td), codec::to_hex(td.rtmr[1])));
  EXPECT_THAT(found.chips, ElementsAre(codec::to_hex(pck.ppid), codec::to_hex(pck.fmspc)));
  pck.platform_instance_id = ByteArray<16>{1};
  claims.platform = pck;
  EXPECT_EQ(subjects_of({claims}).chips.back(), "01" + std::string(30, '0'));
}

TEST(Subjects, OfAnEnclaveAreItselfItsSignerAndItsPlatform) {
  evidence::SgxReport enclave;
  enclave.mr_enclave.fill(0xA1);
  enclave.mr_signer.fill(0xB2);
  attestation::DcapClaims claims;
  claims.body = enclave;
  const auto found = subjects_of({claims});
  EXPECT_THAT(found.measurements, ElementsAre(codec::to_hex(enclave.mr_enclave), codec::to_hex(enclave.mr_signer)));
  EXPECT_TRUE(found.chips.empty());
}

TEST(Subjects, OfAnSnpGuestAreItsMeasurementAndItsChip) {
  attestation::SnpClaims claims;
  claims.report.measurement.fill(0xA1);
  claims.report.chip_id.fill(0xB2);
  const auto found = subjects_of({claims});
  EXPECT_THAT(found.measurements, ElementsAre(codec::to_hex(claims.report.measurement)));
  EXPECT_THAT(found.chips, ElementsAre(codec::to_hex(claims.report.chip_id)));
  claims.report.chip_id.fill(0);  // the host masks it
  EXPECT_TRUE(subjects_of({claims}).chips.empty());
}

TEST(Subjects, EveryOneOfThemCanBeRevoked) {
  attestation::SnpClaims claims;
  claims.report.measurement.fill(0xA1);
  claims.report.chip_id.fill(0xB2);
  const auto found = subjects_of({claims});
  EXPECT_EQ(canonical(Kind::measurement, found.measurements[0]).value(), found.measurements[0]);
  EXPECT_EQ(canonical(Kind::chip, found.chips[0]).value(), found.chips[0]);
}

}  // namespace
}  // namespace cloister::revocation
