#include "cloister/protocol/launch.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cbor.hpp"
#include "cloister/protocol/report_data.hpp"

namespace cloister::protocol {
namespace {

Configuration instance_configuration() {
  Configuration c;
  c.role = Role::instance;
  c.version = *VersionId::parse("ver-a");
  c.image_digest = Digest32{1};
  c.server_keys = {ByteArray<32>{2}, ByteArray<32>{3}};
  return c;
}

TEST(Configuration, RoundTripsForBothRoles) {
  const auto instance = instance_configuration();
  EXPECT_EQ(*decode_configuration(encode(instance)), instance);
  Configuration validator;
  validator.role = Role::validator;
  validator.server_keys = {ByteArray<32>{2}};
  EXPECT_EQ(*decode_configuration(encode(validator)), validator);
}

Configuration demanding_configuration() {
  auto c = instance_configuration();
  auto& demand = c.demand.emplace();
  demand.references = {{Digest48{4}, {Digest48{5}, Digest48{6}, Digest48{7}}, Digest32{8}}};
  demand.roots = {Bytes{9}};
  demand.not_before = from_micros(10);
  return c;
}

TEST(Configuration, WithoutADemandIsWhatItAlwaysWas) {
  codec::cbor::Writer out;
  out.array(5).text("cloister/configuration/1").text("instance").text("ver-a").bytes(Digest32{1});
  out.array(2).bytes(ByteArray<32>{2}).bytes(ByteArray<32>{3});
  EXPECT_EQ(encode(instance_configuration()), std::move(out).take());
}

TEST(Configuration, WithADemandIsOfVersionTwo) {
  const auto configuration = demanding_configuration();
  codec::cbor::Writer out;
  out.array(6).text("cloister/configuration/2").text("instance").text("ver-a").bytes(Digest32{1});
  out.array(2).bytes(ByteArray<32>{2}).bytes(ByteArray<32>{3});
  out.array(3).array(1).array(5).bytes(Digest48{4}).bytes(Digest48{5}).bytes(Digest48{6}).bytes(Digest48{7}).bytes(Digest32{8});
  out.array(1).bytes(Bytes{9}).integer(10);
  const auto encoded = encode(configuration);
  EXPECT_EQ(encoded, std::move(out).take());
  const auto decoded = decode_configuration(encoded);
  ASSERT_TRUE(decoded) << decoded.error().text();
  EXPECT_EQ(*decoded, configuration);
  for (std::size_t n = 0; n < encoded.size(); ++n) EXPECT_FALSE(decode_configuration(ByteView{encoded}.first(n))) << n;
}

/// The head of an instance's configuration, up to the demand.
codec::cbor::Writer configuration_of(std::size_t members, std::string_view domain) {
  codec::cbor::Writer out;
  out.array(members).text(domain).text("instance").text("ver-a").bytes(Digest32{1}).array(1).bytes(ByteArray<32>{2});
  return out;
}

TEST(Configuration, OfVersionTwoWithoutADemandIsRefused) {
  EXPECT_FALSE(decode_configuration(configuration_of(5, "cloister/configuration/2").take()));
  EXPECT_FALSE(decode_configuration(configuration_of(6, "cloister/configuration/2").null().take()));
  EXPECT_FALSE(decode_configuration(configuration_of(6, "cloister/configuration/2").array(0).take()));
  EXPECT_FALSE(decode_configuration(configuration_of(6, "cloister/configuration/2").array(3).array(0).array(0).integer(0).take()))
      << "one that any server meets, or none";
}

TEST(Configuration, OfAnotherVersionOrNumberOfMembersIsRefused) {
  const auto with_demand = [](std::size_t members, std::string_view domain) {
    auto out = configuration_of(members, domain);
    model::write(out, *demanding_configuration().demand);
    return out;
  };
  EXPECT_TRUE(decode_configuration(with_demand(6, "cloister/configuration/2").take()));
  EXPECT_FALSE(decode_configuration(with_demand(6, "cloister/configuration/1").take()));
  EXPECT_FALSE(decode_configuration(with_demand(6, "cloister/configuration/3").take()));
  EXPECT_FALSE(decode_configuration(with_demand(7, "cloister/configuration/2").null().take()));
  EXPECT_FALSE(decode_configuration(with_demand(5, "cloister/configuration/1").take()));
}

TEST(Configuration, RefusesWhatDoesNotFitItsRole) {
  const auto refused = [](auto change) {
    auto c = instance_configuration();
    change(c);
    return !decode_configuration(encode(c));
  };
  EXPECT_TRUE(refused([](Configuration& c) { c.version.reset(); }));
  EXPECT_TRUE(refused([](Configuration& c) { c.image_digest.reset(); }));
  EXPECT_TRUE(refused([](Configuration& c) { c.role = Role::validator; }));
  EXPECT_TRUE(refused([](Configuration& c) {
    c = {Role::validator, {}, {}, c.server_keys, demanding_configuration().demand};
  })) << "a validator's TD demands nothing";
  EXPECT_TRUE(refused([](Configuration& c) { c.server_keys.clear(); }));
  EXPECT_TRUE(refused([](Configuration& c) { c.server_keys.resize(5); }));
  EXPECT_FALSE(decode_configuration({}));
}

TEST(VersionId, FollowsFromTheSpecificationAlone) {
  model::ChallengeSpec spec;
  spec.challenge = *ChallengeId::parse("keyword-search");
  const auto id = version_id_of(spec);
  EXPECT_EQ(id, version_id_of(spec));
  spec.image_digest[31] ^= 1;
  EXPECT_NE(id, version_id_of(spec));
  spec.image_digest[31] ^= 1;
  spec.secrets.push_back({"a", "b"});
  EXPECT_NE(id, version_id_of(spec));
}

Preimage instance_preimage() {
  Preimage p;
  p.role = Role::instance;
  p.nonce = ByteArray<32>{1};
  p.instance = *InstanceId::parse("inst-a");
  p.keys = {{"payload", "x25519", Bytes(32, 1)}, {"result", "ed25519", Bytes(32, 2)}};
  return p;
}

TEST(Preimage, RoundTripsForBothRoles) {
  const auto instance = instance_preimage();
  EXPECT_EQ(*decode_preimage(encode(instance)), instance);
  EXPECT_EQ(instance.key("payload", "x25519"), (to_array<32>(Bytes(32, 1))));
  EXPECT_EQ(instance.key("payload", "ed25519"), std::nullopt);
  Preimage validator;
  validator.role = Role::validator;
  validator.hotkey = ByteArray<32>{9};
  EXPECT_EQ(*decode_preimage(encode(validator)), validator);
}

TEST(Preimage, RefusesWhatDoesNotFitItsRole) {
  const auto refused = [](auto change) {
    auto p = instance_preimage();
    change(p);
    return !decode_preimage(encode(p));
  };
  EXPECT_TRUE(refused([](Preimage& p) { p.instance.reset(); }));
  EXPECT_TRUE(refused([](Preimage& p) { p.hotkey = ByteArray<32>{}; }));
  EXPECT_TRUE(refused([](Preimage& p) { p.keys.pop_back(); }));
  EXPECT_TRUE(refused([](Preimage& p) { p.keys[0].algorithm = "rsa"; }));
  EXPECT_TRUE(refused([](Preimage& p) { p.keys[0].public_key.pop_back(); }));
  EXPECT_TRUE(refused([](Preimage& p) { p.keys.push_back({"third", "x25519", Bytes(32, 3)}); }));
  EXPECT_TRUE(refused([](Preimage& p) { p.role = Role::validator; }));
}

TEST(Preimage, ReportDataCoversEveryMember) {
  const auto base = report_data(encode(instance_preimage()));
  const auto differs = [&](auto change) {
    auto p = instance_preimage();
    change(p);
    return report_data(encode(p)) != base;
  };
  EXPECT_TRUE(differs([](Preimage& p) { p.server_key_id[0] ^= 1; }));
  EXPECT_TRUE(differs([](Preimage& p) { p.nonce[0] ^= 1; }));
  EXPECT_TRUE(differs([](Preimage& p) { p.handshake_hash[0] ^= 1; }));
  EXPECT_TRUE(differs([](Preimage& p) { p.instance = *InstanceId::parse("inst-b"); }));
  EXPECT_TRUE(differs([](Preimage& p) { p.init_data_digest = Digest32{}; }));
  EXPECT_TRUE(differs([](Preimage& p) { p.keys[1].public_key[0] ^= 1; }));
}

}  // namespace
}  // namespace cloister::protocol
