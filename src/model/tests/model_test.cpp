#include <gtest/gtest.h>

#include "cloister/codec/cbor.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/model/job.hpp"

namespace cloister::model {
namespace {

namespace json = codec::json;

json::Value spec_json() {
  auto value = json::parse(R"({"challenge":"keyword-search",
    "image_digest":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "instances":2,"secrets":[{"name":"salt","path":"keyword/salt"}]})");
  return *std::move(value);
}

json::Value with(json::Value value, std::string_view name, json::Value member) {
  value.set(name, std::move(member));
  return value;
}

TEST(ChallengeSpec, RoundTripsWithDefaults) {
  auto spec = parse_challenge_spec(spec_json());
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(spec->instances, 2U);
  EXPECT_EQ(spec->memory_mib, 256U);
  auto again = parse_challenge_spec(to_json(*spec));
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, *spec);
}

TEST(ChallengeSpec, RefusesWhatIsOutOfRange) {
  struct Case {
    const char* name;
    json::Value value;
    Errc code;
  };
  const Case cases[] = {
      {"challenge", "No Id", Errc::invalid_argument},
      {"image_digest", "sha512:00", Errc::malformed},
      {"image_digest", "sha256:0001", Errc::malformed},
      {"image_digest", "sha256:000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", Errc::malformed},
      {"memory_mib", 15, Errc::malformed},
      {"instances", 65, Errc::malformed},
      {"instances", -1, Errc::malformed},
      {"job_timeout_s", 0, Errc::malformed},
      {"max_payload_bytes", std::int64_t{64 << 20} + 1, Errc::malformed},
      {"surprise", 1, Errc::unknown_member},
      {"secrets", json::Array{json::Object{{"name", "a"}, {"path", "x/../y"}}}, Errc::invalid_argument},
      {"secrets", json::Array{json::Object{{"name", "a"}, {"path", "x"}}, json::Object{{"name", "a"}, {"path", "y"}}},
       Errc::invalid_argument},
  };
  for (const auto& c : cases) {
    auto spec = parse_challenge_spec(with(spec_json(), c.name, c.value));
    ASSERT_FALSE(spec) << c.name;
    EXPECT_EQ(spec.error().code(), c.code) << c.name << ": " << spec.error().text();
  }
}

ChallengeSpec bare_spec() {
  ChallengeSpec out;
  out.challenge = *ChallengeId::parse("keyword-search");
  out.image_digest = Digest32{9};
  return out;
}

EvidenceDemand demand_of_one() {
  EvidenceDemand out;
  out.references = {{Digest48{1}, {}, Digest32{5}}};
  out.not_before = *from_civil(2026, 6, 1, 0, 0, 0);
  return out;
}

TEST(ChallengeSpec, IsWhatItAlwaysWasWithoutADemand) {
  codec::cbor::Writer bare;
  bare.array(9).text("cloister/version/1").text("keyword-search").bytes(Digest32{9}).uint(256).uint(1).uint(60);
  bare.uint(4U << 20).uint(4U << 20).array(0);
  EXPECT_EQ(encode(bare_spec()), std::move(bare).take());
  auto with_keys = bare_spec();
  with_keys.derived_keys = {"disk"};
  codec::cbor::Writer keys;
  keys.array(10).text("cloister/version/1").text("keyword-search").bytes(Digest32{9}).uint(256).uint(1).uint(60);
  keys.uint(4U << 20).uint(4U << 20).array(0).array(1).text("disk");
  EXPECT_EQ(encode(with_keys), std::move(keys).take());
  EXPECT_EQ(to_json(bare_spec()).find("server_evidence"), nullptr);
}

TEST(ChallengeSpec, WithADemandRoundTripsAndIsAnother) {
  auto demanding = bare_spec();
  demanding.server_evidence = demand_of_one();
  const auto again = parse_challenge_spec(to_json(demanding));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(*again, demanding);
  EXPECT_NE(encode(demanding), encode(bare_spec()));
  auto with_keys = demanding;
  with_keys.derived_keys = {"disk"};
  EXPECT_NE(encode(with_keys), encode(demanding));
  EXPECT_EQ(*parse_challenge_spec(to_json(with_keys)), with_keys);
  auto value = to_json(demanding);
  value.set("server_evidence", json::Object{});
  EXPECT_EQ(parse_challenge_spec(value).error().code(), Errc::missing_member);
  value.set("server_evidence", 1);
  EXPECT_FALSE(parse_challenge_spec(value).ok());
}

TEST(SecretPath, IsOneToFourIds) {
  for (const auto* path : {"a", "a/b", "a/b/c/d"}) EXPECT_TRUE(valid_secret_path(path)) << path;
  for (const auto* path : {"", "/", "a/", "/a", "a//b", "a/b/c/d/e", "a/..", "A"}) {
    EXPECT_FALSE(valid_secret_path(path)) << path;
  }
}

TEST(JobStates, HaveNamesBothWays) {
  for (const auto state : {JobState::queued, JobState::awaiting_rewrap, JobState::leased, JobState::succeeded,
                           JobState::failed, JobState::cancelled, JobState::expired}) {
    EXPECT_EQ(job_state_from(to_string(state)), state);
  }
  EXPECT_EQ(job_state_from("done"), std::nullopt);
  EXPECT_FALSE(is_final(JobState::leased));
  EXPECT_TRUE(is_final(JobState::expired));
}

TEST(JobRequest, RefusesBadKeysAndRecipients) {
  auto value = json::parse(R"({"job":"job-a","version":"ver-a","idempotency_key":"k",
    "salt":"0000000000000000000000000000000000000000000000000000000000000000",
    "input_commitment":"0000000000000000000000000000000000000000000000000000000000000000",
    "commitment_key_digest":"0000000000000000000000000000000000000000000000000000000000000000",
    "ciphertext":"AAAA","recipients":[]})");
  ASSERT_TRUE(value);
  auto request = parse_job_request(*value);
  ASSERT_TRUE(request) << request.error().text();
  EXPECT_EQ(to_json(*request), to_json(*parse_job_request(to_json(*request))));
  EXPECT_FALSE(parse_job_request(with(*value, "idempotency_key", "")));
  EXPECT_FALSE(parse_job_request(with(*value, "idempotency_key", "a\nb")));
  EXPECT_FALSE(parse_job_request(with(*value, "deadline_s", 0)));
  EXPECT_FALSE(parse_job_request(with(*value, "salt", "00")));
  const json::Value short_key = json::Object{{"instance", "inst-a"}, {"enc", std::string(64, '0')}, {"sealed_key", "AAAA"}};
  EXPECT_FALSE(parse_job_request(with(*value, "recipients", json::Array{short_key})));
  EXPECT_FALSE(parse_job_request(with(*value, "recipients", json::Array(65, short_key))));
}

TEST(Instance, RoundTripsWithAndWithoutEvidence) {
  Instance instance;
  instance.id = *InstanceId::parse("inst-a");
  instance.version = *VersionId::parse("ver-a");
  instance.validator = *ValidatorId::parse("val-a");
  instance.state = InstanceState::ready;
  InstanceEvidence evidence;
  evidence.evidence = to_bytes("quote");
  evidence.session = *SessionId::parse("ses-a");
  instance.evidence = evidence;
  auto whole = parse_instance(to_json(instance, true));
  ASSERT_TRUE(whole) << whole.error().text();
  EXPECT_EQ(as_text(whole->evidence->evidence), "quote");
  EXPECT_FALSE(parse_instance(to_json(instance, false))->evidence);
  EXPECT_FALSE(parse_instance(with(to_json(instance, false), "state", "asleep")));
}

TEST(Validator, RoundTrips) {
  Validator validator;
  validator.id = *ValidatorId::parse("val-a");
  validator.capacity = 3;
  auto again = parse_validator(to_json(validator));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->capacity, 3U);
  EXPECT_FALSE(again->verified);
}

}  // namespace
}  // namespace cloister::model
