#include "cloister/policy/trust_file.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::policy {
namespace {

using attestation::AnchorKind;
using test::SyntheticPlatform;

crypto::x509::CertificatePtr lab_root() {
  SyntheticPlatform platform;
  platform.make_lab();
  return platform.build().root;
}

TrustFile sample() {
  TrustFile trust;
  trust.lab_roots = {lab_root()};
  trust.roots = {SyntheticPlatform{}.build().root};
  trust.audit_keys = {ByteArray<32>{1}, ByteArray<32>{2}};
  trust.server_keys = {ByteArray<32>{3}};
  trust.reference_values = {{"keyword-search", "ver-a", Digest48{4}, Digest32{5}, Digest32{6}},
                            {"keyword-search", "ver-b", Digest48{7}, Digest32{8}, Digest32{9}}};
  trust.server_reference_values = {{Digest48{10}, {Digest48{11}, Digest48{12}, Digest48{13}}, Digest32{14}}};
  return trust;
}

/// The file with one member replaced.
std::string with(std::string_view name, codec::json::Value value) {
  auto file = *codec::json::parse(write_trust_file(sample()));
  file.set(name, std::move(value));
  return codec::json::write(file);
}

void expect_refused(const std::string& text) {
  const auto trust = parse_trust_file(text);
  ASSERT_FALSE(trust.ok()) << text;
  EXPECT_EQ(trust.error().code(), Errc::trust_file_invalid);
}

TEST(TrustFile, IsReadBackAsItWasWritten) {
  const auto text = write_trust_file(sample());
  const auto read = parse_trust_file(text);
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(write_trust_file(*read), text);
  EXPECT_EQ(read->audit_keys, sample().audit_keys);
  EXPECT_EQ(read->server_keys, sample().server_keys);
  EXPECT_EQ(read->reference_values, sample().reference_values);
  EXPECT_EQ(read->server_reference_values, sample().server_reference_values);
  EXPECT_EQ(read->lab_roots.at(0)->der.empty(), false);
}

TEST(TrustFile, MayHaveItsVersionAlone) {
  const auto trust = parse_trust_file(R"({"version":1})");
  ASSERT_TRUE(trust.ok());
  EXPECT_EQ(trust->anchors()->all().size(), attestation::TrustAnchors::vendors().all().size());
}

TEST(TrustFile, AddsItsRootsByTheirKind) {
  const auto anchors = sample().anchors();
  ASSERT_TRUE(anchors.ok());
  const auto vendors = attestation::TrustAnchors::vendors().all().size();
  ASSERT_EQ(anchors->all().size(), vendors + 2);
  EXPECT_EQ(anchors->all()[0].kind(), AnchorKind::intel);
  EXPECT_EQ(anchors->all()[vendors].kind(), AnchorKind::given);
  EXPECT_EQ(anchors->all()[vendors + 1].kind(), AnchorKind::lab);
  EXPECT_EQ(sample().anchors(attestation::TrustAnchors{})->all().size(), 2U);
}

TEST(TrustFile, FindsTheReferenceValuesOfAVersion) {
  const auto values = sample().values_of("keyword-search", "ver-b");
  ASSERT_EQ(values.size(), 1U);
  EXPECT_EQ(values[0].mrtd, Digest48{7});
  EXPECT_TRUE(sample().values_of("keyword-search", "ver-c").empty());
  EXPECT_TRUE(sample().values_of("other", "ver-a").empty());
}

TEST(TrustFile, RefusesRootsThatDoNotSuitTheirList) {
  const auto pem = [](const crypto::x509::CertificatePtr& root) { return codec::to_pem("CERTIFICATE", root->der); };
  const auto vendor_like = pem(SyntheticPlatform{}.build().root);
  const auto lab = pem(lab_root());
  expect_refused(with("lab_roots", codec::json::Array{vendor_like}));
  expect_refused(with("roots", codec::json::Array{lab}));
  expect_refused(with("roots", codec::json::Array{lab + lab}));
  expect_refused(with("roots", codec::json::Array{"no PEM"}));
  expect_refused(with("roots", codec::json::Array{7}));
}

TEST(TrustFile, DemandsEveryRegisterOfAServersReferenceValue) {
  const auto file = *codec::json::parse(write_trust_file(sample()));
  const auto whole = *file.find("server_reference_values")->as_array()->front().as_object();
  for (const auto& [name, value] : whole) {
    codec::json::Object partial;
    for (const auto& member : whole) {
      if (member.first != name) partial.push_back(member);
    }
    expect_refused(with("server_reference_values", codec::json::Array{partial}));
  }
  auto more = whole;
  more.emplace_back("rtmr3", std::string(96, '0'));
  expect_refused(with("server_reference_values", codec::json::Array{more}));
  EXPECT_TRUE(parse_trust_file(with("server_reference_values", codec::json::Array{whole})).ok());
}

TEST(TrustFile, WithoutReferenceValuesOfAServerHasNoSuchMember) {
  auto trust = sample();
  trust.server_reference_values.clear();
  EXPECT_EQ(write_trust_file(trust).find("server_reference_values"), std::string::npos);
}

TEST(TrustFile, RefusesWhatItDoesNotKnow) {
  expect_refused("");
  expect_refused("[]");
  expect_refused("{}");
  expect_refused(R"({"version":2})");
  expect_refused(R"({"version":1,"version":1})");
  expect_refused(with("surprise", true));
  expect_refused(with("audit_keys", codec::json::Array{"00"}));
  expect_refused(with("audit_keys", codec::json::Array{1}));
  expect_refused(with("server_keys", "00"));
  expect_refused(with("reference_values", codec::json::Array{codec::json::Object{}}));
  expect_refused(with("reference_values", codec::json::Array{1}));
  expect_refused(with("server_reference_values", codec::json::Array{codec::json::Object{}}));
  expect_refused(with("server_reference_values", codec::json::Array(1025, 1)));
  expect_refused(with("audit_keys", codec::json::Array(1025, std::string(64, '0'))));
}

}  // namespace
}  // namespace cloister::policy
