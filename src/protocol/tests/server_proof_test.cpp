#include "cloister/protocol/server_proof.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/protocol/report_data.hpp"
#include "support/support.hpp"

namespace cloister::protocol {
namespace {

namespace json = codec::json;

ServerPreimage sample() {
  ServerPreimage out;
  out.nonce = Bytes(32, 0x11);
  out.identity.server_id = "srv-example";
  out.identity.channel_keys = {ByteArray<32>{2}, ByteArray<32>{1}};
  out.identity.audit_key = ByteArray<32>{3};
  out.identity.tls_key = Digest32{4};
  out.identity.configuration_digest = Digest32{5};
  return out;
}

template <class Change>
Errc refusal(Change change) {
  auto preimage = sample();
  change(preimage);
  const auto decoded = decode_server_preimage(encode(preimage));
  EXPECT_FALSE(decoded.ok());
  return decoded ? Errc::internal : decoded.error().code();
}

TEST(ServerPreimage, IsReadBackAsItWasWritten) {
  auto preimage = sample();
  EXPECT_EQ(*decode_server_preimage(encode(preimage)), preimage);
  preimage.handshake_hash = Digest32{6};
  preimage.identity.tls_key.reset();
  preimage.nonce = Bytes(kMaxServerNonce, 1);
  EXPECT_EQ(*decode_server_preimage(encode(preimage)), preimage);
  preimage.nonce = Bytes(kMinServerNonce, 1);
  EXPECT_EQ(*decode_server_preimage(encode(preimage)), preimage);
}

TEST(ServerPreimage, RefusesWhatIsOutOfBounds) {
  EXPECT_EQ(refusal([](ServerPreimage& p) { p.nonce.resize(kMinServerNonce - 1); }), Errc::malformed);
  EXPECT_EQ(refusal([](ServerPreimage& p) { p.nonce.resize(kMaxServerNonce + 1); }), Errc::malformed);
  EXPECT_EQ(refusal([](ServerPreimage& p) { p.identity.server_id = "No Id"; }), Errc::malformed);
  EXPECT_EQ(refusal([](ServerPreimage& p) { p.identity.channel_keys.clear(); }), Errc::malformed);
  EXPECT_EQ(refusal([](ServerPreimage& p) { p.identity.channel_keys.push_back(p.identity.channel_keys[0]); }), Errc::malformed);
  EXPECT_EQ(refusal([](ServerPreimage& p) { p.identity.channel_keys.resize(5); }), Errc::limit_exceeded);
}

TEST(ServerPreimage, IsOfNoOtherDomain) {
  Preimage td;
  td.role = Role::validator;
  td.hotkey = ByteArray<32>{1};
  EXPECT_FALSE(decode_server_preimage(encode(td)).ok());
  EXPECT_FALSE(decode_preimage(encode(sample())).ok());
  auto bytes = encode(sample());
  bytes.push_back(0);
  EXPECT_EQ(decode_server_preimage(bytes).error().code(), Errc::trailing_bytes);
}

TEST(ServerConfiguration, DoesNotDependOnTheOrderOfItsParts) {
  const ServerConfiguration parts{{"trust", Bytes(32, 1)}, {"config", Bytes(32, 2)}};
  const ServerConfiguration other{{"config", Bytes(32, 2)}, {"trust", Bytes(32, 1)}};
  EXPECT_EQ(encode_server_configuration(parts), encode_server_configuration(other));
  EXPECT_NE(encode_server_configuration(parts), encode_server_configuration({{"config", Bytes(32, 2)}}));
}

TEST(ServerProof, IsReadBackAsItWasWritten) {
  ServerProof proof{Bytes{1, 2}, Bytes{3}, encode(sample()), R"({"version":3})"};
  EXPECT_EQ(*parse_server_proof(json::write(to_json(proof))), proof);
  proof.collateral.clear();
  EXPECT_EQ(*parse_server_proof(json::write(to_json(proof))), proof);
}

TEST(ServerProof, CollateralThatIsNoJsonIsNotShown) {
  const ServerProof proof{{}, {}, {}, "no JSON"};
  EXPECT_TRUE(to_json(proof).find("collateral")->is_null());
}

TEST(ServerProof, RefusesWhatItDoesNotKnow) {
  const auto code = [](std::string_view text) { return parse_server_proof(text).error().code(); };
  EXPECT_EQ(code("{}"), Errc::missing_member);
  EXPECT_EQ(code(R"({"evidence":"","event_log":"","preimage":"","collateral":null,"x":1})"), Errc::unknown_member);
  EXPECT_EQ(code(R"({"evidence":"*","event_log":"","preimage":"","collateral":null})"), Errc::malformed);
  EXPECT_EQ(code(R"({"evidence":"","event_log":"","preimage":"","collateral":"x"})"), Errc::malformed);
  EXPECT_EQ(code(std::string(kMaxServerProof + 1, ' ')), Errc::limit_exceeded);
}

/// Checks docs/protocol/vectors/server.json; writes it anew where CLOISTER_WRITE_VECTORS is set.
TEST(ServerVectors, AreThoseInTheDocumentation) {
  const auto configuration = encode_server_configuration(
      {{"config", to_bytes(ByteView{crypto::sha256(to_bytes("data = \"server\"\n"))})}, {"guest-mrtd", Bytes(48, 0x22)}});
  auto http = sample();
  http.identity.configuration_digest = crypto::sha256(configuration);
  auto channel = http;
  channel.handshake_hash = crypto::sha256(to_bytes("handshake"));
  const auto hex = [](ByteView bytes) { return codec::to_hex(bytes); };
  const json::Value vectors =
      json::Object{{"configuration", hex(configuration)},
                   {"configuration_digest", hex(http.identity.configuration_digest)},
                   {"preimage", hex(encode(http))},
                   {"report_data", hex(report_data(encode(http)))},
                   {"channel_preimage", hex(encode(channel))},
                   {"channel_report_data", hex(report_data(encode(channel)))}};
  const auto path = test::source_dir() / "docs/protocol/vectors/server.json";
  const auto fresh = json::write_pretty(vectors) + "\n";
  if (std::getenv("CLOISTER_WRITE_VECTORS") != nullptr) std::ofstream{path} << fresh;
  EXPECT_EQ(test::read_text(path), fresh);
}

}  // namespace
}  // namespace cloister::protocol
