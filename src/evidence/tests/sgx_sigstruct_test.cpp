#include "cloister/evidence/sgx_sigstruct.hpp"

#include <gtest/gtest.h>

#include "support/support.hpp"

namespace cloister::evidence {
namespace {

Sigstruct sample() {
  Sigstruct out;
  out.vendor = 0x8086;
  out.date = 0x20260301;
  out.sw_defined = 5;
  out.modulus.fill(1);
  out.signature.fill(2);
  out.misc_select = 6;
  out.misc_mask = 7;
  out.cet_attributes = 8;
  out.cet_attributes_mask = 9;
  out.isv_family_id.fill(10);
  out.attributes.fill(11);
  out.attributes_mask.fill(12);
  out.enclave_hash.fill(13);
  out.isv_ext_prod_id.fill(14);
  out.isv_prod_id = 15;
  out.isv_svn = 16;
  out.q1.fill(17);
  out.q2.fill(18);
  return out;
}

TEST(Sigstruct, FieldsStandWhereTheManualPutsThem) {
  const auto bytes = encode_sigstruct(sample());
  const std::pair<std::size_t, std::uint8_t> places[] = {
      {0, 6},    {16, 0x86}, {20, 0x01}, {23, 0x20}, {24, 1},    {40, 5},    {128, 1},  {512, 3},  {516, 2},    {900, 6},
      {904, 7},  {908, 8},   {909, 9},   {912, 10},  {928, 11},  {944, 12},  {960, 13}, {992, 0},  {1008, 14}, {1024, 15},
      {1026, 16}, {1028, 0}, {1040, 17}, {1424, 18}, {1807, 18}};
  for (const auto& [offset, value] : places) EXPECT_EQ(bytes[offset], value) << offset;
  EXPECT_EQ(parse_sigstruct(bytes).value(), sample());
}

TEST(Sigstruct, SignedPartIsTwoRanges) {
  const auto bytes = encode_sigstruct(sample());
  const auto covered = signed_part(sample());
  EXPECT_TRUE(same_bytes(ByteView{covered}.first(128), ByteView{bytes}.first(128)));
  EXPECT_TRUE(same_bytes(ByteView{covered}.last(128), ByteView{bytes}.subspan(900, 128)));
}

TEST(Sigstruct, WhatIsFixedIsChecked) {
  const auto good = to_bytes(encode_sigstruct(sample()));
  EXPECT_TRUE(parse_sigstruct(good).ok());
  for (const std::size_t offset : {0U, 15U, 18U, 24U, 39U, 44U, 127U, 512U, 515U, 910U, 911U, 992U, 1007U, 1028U, 1039U}) {
    auto changed = good;
    changed[offset] ^= 1;
    EXPECT_EQ(parse_sigstruct(changed).error().code(), Errc::evidence_malformed) << offset;
  }
  auto longer = good;
  longer.push_back(0);
  EXPECT_EQ(parse_sigstruct(longer).error().code(), Errc::evidence_malformed);
  longer.resize(good.size() - 1);
  EXPECT_EQ(parse_sigstruct(longer).error().code(), Errc::evidence_malformed);
}

TEST(Sigstruct, PublicFilesEncodeBack) {
  CLOISTER_VECTORS_OR_SKIP(root);
  for (const auto* file : {"fortanix_test_enclave.sigstruct.bin", "sig1.sigstruct.bin"}) {
    const auto bytes = test::read_file(root / "lab/sgx" / file);
    EXPECT_EQ(to_bytes(encode_sigstruct(parse_sigstruct(bytes).value())), bytes) << file;
  }
}

}  // namespace
}  // namespace cloister::evidence
