#include "cloister/rcar/attestation.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr std::string_view kNonce = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
constexpr std::string_view kKey =
    R"({"kty":"EC","crv":"P-256","alg":"ECDH-ES+A256KW","x":"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ","y":"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"})";

crypto::jose::EncryptionKey key() { return crypto::jose::EncryptionKey::parse(json::parse(kKey).value()).value(); }

std::string message(std::string_view init_data = "null", std::string_view jwk = kKey, std::string_view additional = R"("")") {
  return R"({"init-data":)" + std::string{init_data} + R"(,"runtime-data":{"nonce":")" + std::string{kNonce} + R"(","tee-pubkey":)" +
         std::string{jwk} + R"(},"tee-evidence":{"primary_evidence":{"svn":"1","report_data":"AA=="},"additional_evidence":)" +
         std::string{additional} + "}}";
}

TEST(Attestation, IsWrittenAsThePublicClientWritesIt) {
  const auto read = parse_attestation(message()).value();
  EXPECT_FALSE(read.init_data);
  EXPECT_EQ(read.nonce, kNonce);
  EXPECT_EQ(read.primary_evidence, R"({"svn":"1","report_data":"AA=="})");
  EXPECT_EQ(read.additional_evidence, "");
  EXPECT_EQ(read.tee_key.to_json(), key().to_json());
  EXPECT_EQ(write(read), message());
}

TEST(Attestation, TakesWhatThePublicServerTakes) {
  const auto with_data = parse_attestation(message(R"({"format":"toml","body":"x = 1\n"})")).value();
  EXPECT_EQ(with_data.init_data, (InitData{"toml", "x = 1\n"}));
  EXPECT_EQ(parse_attestation(write(with_data)).value().init_data, with_data.init_data);
  auto value = json::parse(message()).value();
  json::Object without;
  for (const auto& member : *value.as_object()) {
    if (member.first != "init-data") without.push_back(member);
  }
  EXPECT_TRUE(parse_attestation(json::write(without)).ok());
  value.set("more", 1);
  auto runtime = *value.find("runtime-data");
  value.set("runtime-data", runtime.set("more", 1));
  EXPECT_TRUE(parse_attestation(json::write(value)).ok());
}

TEST(Attestation, RefusesWhatItIsNot) {
  const auto code = [](std::string_view text) { return parse_attestation(text).error().code(); };
  const auto less = [](std::string_view outer, std::string_view inner) {
    auto value = json::parse(message()).value();
    json::Object object;
    const auto& from = outer.empty() ? value : *value.find(outer);
    for (const auto& member : *from.as_object()) {
      if (member.first != inner) object.push_back(member);
    }
    return outer.empty() ? json::write(object) : json::write(value.set(outer, std::move(object)));
  };
  EXPECT_EQ(code(less("", "runtime-data")), Errc::missing_member);
  EXPECT_EQ(code(less("", "tee-evidence")), Errc::missing_member);
  EXPECT_EQ(code(less("runtime-data", "nonce")), Errc::missing_member);
  EXPECT_EQ(code(less("runtime-data", "tee-pubkey")), Errc::missing_member);
  EXPECT_EQ(code(less("tee-evidence", "primary_evidence")), Errc::missing_member);
  EXPECT_EQ(code(less("tee-evidence", "additional_evidence")), Errc::missing_member);
  EXPECT_EQ(code(message("1")), Errc::malformed);
  EXPECT_EQ(code(message(R"({"format":"toml"})")), Errc::missing_member);
  EXPECT_EQ(code(message("null", kKey, "{}")), Errc::malformed);
  EXPECT_EQ(code(message("null", "[]")), Errc::malformed);
  EXPECT_EQ(code(""), Errc::truncated);
  EXPECT_EQ(code(std::string(kMaxAttestationSize + 1, ' ')), Errc::limit_exceeded);
  EXPECT_EQ(code(R"({"runtime-data":{},"runtime-data":{}})"), Errc::duplicate_member);
}

TEST(Attestation, RefusesKeysThatNobodyCouldSealTo) {
  const auto code = [](std::string_view name, json::Value member) {
    return parse_attestation(message("null", json::write(json::parse(kKey).value().set(name, std::move(member))))).error().code();
  };
  EXPECT_EQ(code("kid", "x"), Errc::unknown_member);
  EXPECT_EQ(code("alg", "ECDH-ES"), Errc::unsupported);
  EXPECT_EQ(code("crv", "secp256k1"), Errc::unsupported);
  EXPECT_EQ(code("crv", "P-521"), Errc::key_invalid);
  EXPECT_EQ(code("y", "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ"), Errc::key_invalid);
  EXPECT_EQ(code("kty", "AKP"), Errc::unsupported);
}

// Expected: hashlib.sha384 of json.dumps(…, sort_keys=True, separators=(",", ":"), ensure_ascii=False) in Python.
TEST(ReportData, IsTheDigestOfTheCanonicalForm) {
  EXPECT_EQ(codec::to_hex(primary_report_data(kNonce, key(), "").value()), "d59c5ca13c55df86b2fc4ce983ae8f26d00a1082f3acf26d7b077c4a7a264e44b4b1f8cce97801cfba202e3197d053ef");
  EXPECT_EQ(codec::to_hex(primary_report_data(kNonce, key(), R"({"sampledevice":{"svn":"2","report_data":"q\u00e9"}})").value()),
            "3164ecf885ef4c536a7dbad29192c4b1adcea196865443ebc77b5af5e87874f415754f266edc2095d1f9e520bc56b251");
  EXPECT_EQ(codec::to_hex(device_report_data(kNonce, key()).value()), "aa29da4707a36a4cdb112f5ba622c8d08443b311fd3985eb197711c8fa3db695fbc4c0d05ec867f41e656490aee5120d");
}

TEST(ReportData, CoversNonceKeyAndDevices) {
  const auto before = primary_report_data(kNonce, key(), "").value();
  const crypto::jose::EncryptionKey other{crypto::DhPrivateKey::generate(crypto::DhCurve::p256).public_key()};
  EXPECT_NE(primary_report_data("x", key(), "").value(), before);
  EXPECT_NE(primary_report_data(kNonce, other, "").value(), before);
  EXPECT_NE(primary_report_data(kNonce, key(), "{}").value(), before);
  EXPECT_NE(device_report_data(kNonce, key()).value(), before);
  const auto whole = padded(before);
  EXPECT_TRUE(same_bytes(ByteView{whole}.first(48), before));
  EXPECT_TRUE(all_zero(ByteView{whole}.last(16)));
}

TEST(AdditionalEvidence, IsAnObjectOfDevices) {
  EXPECT_TRUE(parse_additional_evidence("").value().empty());
  EXPECT_TRUE(parse_additional_evidence("{}").value().empty());
  const auto devices = parse_additional_evidence(R"({"sampledevice":{"svn":"2"},"nvidia":{}})").value();
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].device, Tee::sampledevice);
  EXPECT_EQ(*devices[0].evidence.find("svn")->as_string(), "2");
  EXPECT_EQ(devices[1].device, Tee::nvidia);

  const auto code = [](std::string_view text) { return parse_additional_evidence(text).error().code(); };
  EXPECT_EQ(code("[]"), Errc::malformed);
  EXPECT_EQ(code("x"), Errc::malformed);
  EXPECT_EQ(code(R"({"toaster":{}})"), Errc::unsupported);
  EXPECT_EQ(code(R"({"nvidia-dpu":{},"nvidiadpu":{}})"), Errc::duplicate_member);
  std::string many = "{";
  for (int i = 0; i < 17; ++i) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(code(many + "}"), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::rcar
