// What a derived key follows from: known answers, computed elsewhere from docs/derived-keys.md.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "cloister/codec/text.hpp"
#include "cloister/keybroker/derived_keys.hpp"
#include "cloister/kms/software.hpp"
#include "support/support.hpp"

namespace cloister::keybroker {
namespace {

struct Case {
  const char* tenant;
  const char* challenge;
  const char* purpose;
  std::uint64_t version;
  const char* info;
  const char* key;
};

// Under the master key 00 01 02 … 1f.
constexpr Case kCases[] = {
    {"default", "example", "disk", 1,
     "8576636c6f69737465722f646572697665642d6b65792f316764656661756c74676578616d706c65646469736b01",
     "5ea4b63bf8751e98f67526e06c9bb16b51b0d41e5bb87af14d83eaf6587cadb3"},
    {"default", "example", "disk", 2,
     "8576636c6f69737465722f646572697665642d6b65792f316764656661756c74676578616d706c65646469736b02",
     "43b16dcef2ce2ec4177704ed32dbaa6993285bceffb2bee1a13849520009e190"},
    {"default", "example", "backup", 1,
     "8576636c6f69737465722f646572697665642d6b65792f316764656661756c74676578616d706c65666261636b757001",
     "f7debb0955de23d606beb4ae54b5852388b83cab758bcbc095743e2a79450685"},
    {"default", "other", "disk", 1,
     "8576636c6f69737465722f646572697665642d6b65792f316764656661756c74656f74686572646469736b01",
     "2159db20224415c4f4150ac1bb79dd47d14bf5cbc737db330e5c290dfddfa353"},
    {"acme", "example", "disk", 1,
     "8576636c6f69737465722f646572697665642d6b65792f316461636d65676578616d706c65646469736b01",
     "c175aac3bcff2b77bb644f9123a54794c1711e5dcbc65b52f621e10ce628717a"},
    {"acme", "example", "disk", 300,
     "8576636c6f69737465722f646572697665642d6b65792f316461636d65676578616d706c65646469736b19012c",
     "6acdc8c23af5e15d8fa76f940b299f1cf50e7af0afe04fbcde475c16abcccf4a"}};

TEST(Derivation, GivesTheDocumentedInfoAndKeyUnderAFile) {
  test::SeededRandom random{1};
  ByteArray<32> master{};
  for (std::size_t i = 0; i < master.size(); ++i) master[i] = static_cast<std::uint8_t>(i);
  const kms::SoftwareKms kms{crypto::Secret<32>{master}, random};
  std::set<std::string> keys;
  for (const auto& one : kCases) {
    const auto info =
        derivation_info(*TenantId::parse(one.tenant), *ChallengeId::parse(one.challenge), one.purpose, one.version);
    EXPECT_EQ(codec::to_hex(info), one.info);
    EXPECT_EQ(codec::to_hex(kms.derive(info)->reveal()), one.key);
    keys.insert(one.key);
  }
  EXPECT_EQ(keys.size(), std::size(kCases)) << "another tenant, challenge, purpose or version, another key";
}

TEST(Derivation, DigestsOfConditionsDifferInEveryMember) {
  const auto digest_of = [](std::string_view text) {
    return digest(*model::parse_release_conditions(*codec::json::parse(text)));
  };
  const char* all[] = {
      R"({"any_version":true})",
      R"({"versions":["ver-a"]})",
      R"({"versions":["ver-b"]})",
      R"({"any_version":true,"tcb":{"pce_svn":1}})",
      R"({"any_version":true,"tcb":{"pce_svn":2}})",
      R"({"any_version":true,"tcb":{"tdx_components":"01000000000000000000000000000000"}})",
      R"({"any_version":true,"tcb":{"sgx_components":"01000000000000000000000000000000"}})",
      R"({"any_version":true,"tcb":{"tcb_date":"2024-03-13T00:00:00Z"}})",
      R"({"measurements":[{"image_digest":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}]})",
      R"({"measurements":[{"configuration_digest":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}]})"};
  std::set<Digest32> digests;
  for (const auto* text : all) digests.insert(digest_of(text));
  EXPECT_EQ(digests.size(), std::size(all));
  EXPECT_EQ(digest_of(R"({"tcb":{"pce_svn":1},"any_version":true})"), digest_of(all[3]));
}

}  // namespace
}  // namespace cloister::keybroker
