#include "cloister/verdict/event_log.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/verdict/verdict.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::verdict {
namespace {

namespace json = codec::json;
using attestation::CheckResult;
using evidence::EventLog;
using evidence::TeeType;
using test::SyntheticPlatform;

/// dstack's JSON of run-time events in RTMR3.
std::string dstack_log(const std::vector<std::pair<std::string, std::string>>& events) {
  json::Array out;
  for (const auto& [name, payload] : events) {
    out.emplace_back(json::Object{{"imr", 3},
                                  {"event_type", std::uint64_t{evidence::kEventDstackRuntime}},
                                  {"digest", ""},
                                  {"event", name},
                                  {"event_payload", codec::to_hex(as_bytes(payload))}});
  }
  return json::write(json::Value{std::move(out)});
}

EventLog parsed(const std::string& text) { return *evidence::parse_dstack_event_log(text); }

/// A TD that extended just this.
evidence::TdBody td_of(const EventLog& log) {
  evidence::TdBody td;
  td.rtmr = measure::replay(log);
  return td;
}

std::string text_of(const json::Value& claims, std::string_view group, std::string_view name) {
  const auto* members = claims.find(group);
  const auto* value = members == nullptr ? nullptr : members->find(name);
  return value == nullptr || value->as_string() == nullptr ? "" : *value->as_string();
}

// --- claims ---

TEST(EventLogClaims, OfDstackAreWhatIsExtendedBeforeTheApplicationRuns) {
  const auto log = parsed(dstack_log({{"system-preparing", ""},
                                      {"app-id", "\x01\x02"},
                                      {"compose-hash", "\x03"},
                                      {"key-provider", R"({"name":"kms","id":"1"})"},
                                      {"storage-fs", "zfs"},
                                      {"system-ready", ""},
                                      {"app-id", "another"},
                                      {"my:own", "\x04"}}));
  const auto claims = event_log_claims(log, td_of(log));
  ASSERT_TRUE(claims.ok()) << claims.error().text();
  EXPECT_EQ(text_of(*claims, "dstack", "app_id"), "0102");
  EXPECT_EQ(text_of(*claims, "dstack", "compose_hash"), "03");
  EXPECT_EQ(text_of(*claims, "dstack", "key_provider"), R"({"name":"kms","id":"1"})");
  EXPECT_EQ(text_of(*claims, "dstack", "storage_fs"), "zfs");
  EXPECT_EQ(claims->find("dstack")->as_object()->size(), 4U);
  const auto& runtime = *claims->find("runtime_events")->as_array();
  ASSERT_EQ(runtime.size(), 2U);
  EXPECT_EQ(*runtime[0].find("name")->as_string(), "app-id");
  EXPECT_EQ(*runtime[1].find("payload")->as_string(), "04");
  EXPECT_EQ(claims->find("events")->as_int(), 8);
}

TEST(EventLogClaims, OfDstackComeFromItsOwnRegisterOnly) {
  auto log = parsed(dstack_log({{"app-id", "\x01"}}));
  log[0].rtmr = 2;
  const auto claims = event_log_claims(log, td_of(log));
  ASSERT_TRUE(claims.ok());
  EXPECT_EQ(claims->find("dstack"), nullptr);
  EXPECT_EQ(claims->find("runtime_events")->as_array()->size(), 1U);
}

TEST(EventLogClaims, OfTextThatIsNotReadableAreHex) {
  const auto log = parsed(dstack_log({{"key-provider", "\xFF"}}));
  EXPECT_EQ(text_of(*event_log_claims(log, td_of(log)), "dstack", "key_provider"), "ff");
}

TEST(EventLogClaims, OfOurOwnGuestsAreTheirEvents) {
  const auto log = evidence::to_event_log({{3, "image-digest", Bytes{1, 2}}});
  const auto claims = event_log_claims(log, td_of(log));
  ASSERT_TRUE(claims.ok());
  EXPECT_EQ(*claims->find("runtime_events")->as_array()->front().find("name")->as_string(), "image-digest");
}

TEST(EventLogClaims, OfFirmwareAreNone) {
  EventLog log(2);
  log[0].rtmr = 0;
  log[0].name = "app-id";
  log[0].data = Bytes{1};
  const auto claims = event_log_claims(log, td_of(log));
  ASSERT_TRUE(claims.ok());
  EXPECT_EQ(claims->as_object()->size(), 1U);
}

void expect_ambiguous(const std::string& text) {
  const auto log = parsed(text);
  const auto claims = event_log_claims(log, td_of(log));
  ASSERT_FALSE(claims.ok());
  EXPECT_EQ(claims.error().code(), Errc::evidence_malformed);
}

TEST(EventLogClaims, RefuseANameTwice) { expect_ambiguous(dstack_log({{"app-id", "\x01"}, {"app-id", "\x02"}})); }

TEST(EventLogClaims, RefuseTwoNamesThatAreOneClaim) {
  expect_ambiguous(dstack_log({{"app-id", "\x01"}, {"app_id", "\x02"}}));
}

/// The digest is the same wherever the colon stands, so that whoever shows the log could move it.
TEST(EventLogClaims, RefuseAColonInAName) {
  const auto honest = parsed(dstack_log({{"app-id", "a:b"}}));
  const auto moved = parsed(dstack_log({{"app-id:a", "b"}}));
  ASSERT_EQ(measure::replay(honest), measure::replay(moved));
  EXPECT_TRUE(event_log_claims(honest, td_of(honest)).ok());
  expect_ambiguous(dstack_log({{"app-id:a", "b"}}));
}

TEST(EventLogClaims, RefuseEachRegisterThatDiffers) {
  const auto log = parsed(dstack_log({{"app-id", "\x01"}}));
  for (std::size_t i = 0; i < 4; ++i) {
    auto td = td_of(log);
    td.rtmr[i][47] ^= 1;
    const auto claims = event_log_claims(log, td);
    ASSERT_FALSE(claims.ok()) << i;
    EXPECT_EQ(claims.error().code(), Errc::event_log_mismatch);
    EXPECT_NE(claims.error().detail().find("RTMR" + std::to_string(i)), std::string::npos);
  }
}

TEST(EventLogClaims, RefuseALogWithoutItsLastEvent) {
  auto log = parsed(dstack_log({{"app-id", "\x01"}, {"system-ready", ""}}));
  const auto td = td_of(log);
  log.pop_back();
  EXPECT_EQ(event_log_claims(log, td).error().code(), Errc::event_log_mismatch);
}

// --- verdicts ---

struct Scene {
  explicit Scene(TeeType tee = TeeType::tdx) : platform{tee, tee == TeeType::tdx ? std::uint16_t{4} : std::uint16_t{3}} {
    if (tee == TeeType::tdx) platform.td().rtmr = measure::replay(parsed(log));
  }

  [[nodiscard]] Verdict judge(const std::string& evidence_log, std::optional<Bytes> given = std::nullopt) const {
    const auto built = platform.build();
    Terms terms{{}, SyntheticPlatform::now(), std::nullopt, {}, std::move(given)};
    terms.anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
    json::Object document{{"quote", codec::to_hex(built.quote)}};
    if (!evidence_log.empty()) document.emplace_back("event_log", evidence_log);
    const auto file = json::write(json::Value{std::move(document)});
    return *verdict::judge(as_bytes(file), "", terms,
                           {[&](const evidence::Quote&) { return shared(evidence::parse_documents(built.collateral)); }, {}});
  }

  std::string log = dstack_log({{"app-id", "\x01\x02"}, {"system-ready", ""}});
  std::string other = dstack_log({{"app-id", "\x01\x03"}, {"system-ready", ""}});
  SyntheticPlatform platform;
};

CheckResult event_log_result(const Verdict& verdict) {
  for (const auto& line : lines_of(verdict)) {
    if (line.id == "event_log") return line.result;
  }
  ADD_FAILURE() << "no check event_log";
  return CheckResult::fail;
}

TEST(JudgeEventLog, TakesTheOneBesideTheQuote) {
  const Scene s;
  const auto verdict = s.judge(s.log);
  EXPECT_TRUE(verdict.accepted());
  EXPECT_EQ(event_log_result(verdict), CheckResult::pass);
  const auto object = to_json(verdict);
  EXPECT_EQ(text_of(*object.find("claims")->find("event_log"), "dstack", "app_id"), "0102");
}

TEST(JudgeEventLog, RejectsAnothers) {
  const Scene s;
  const auto verdict = s.judge(s.other);
  EXPECT_TRUE(verdict.authentic());
  EXPECT_FALSE(verdict.accepted());
  EXPECT_EQ(verdict.error->code(), Errc::event_log_mismatch);
  EXPECT_EQ(event_log_result(verdict), CheckResult::fail);
  EXPECT_EQ(to_json(verdict).find("claims")->find("event_log"), nullptr);
}

TEST(JudgeEventLog, TakesTheGivenOneInPlaceOfIt) {
  const Scene s;
  EXPECT_TRUE(s.judge(s.other, to_bytes(s.log)).accepted());
  EXPECT_EQ(s.judge(s.log, to_bytes(s.other)).error->code(), Errc::event_log_mismatch);
  EXPECT_EQ(s.judge("", to_bytes("events")).error->code(), Errc::evidence_malformed);
}

TEST(JudgeEventLog, NeedsNone) {
  const Scene s;
  const auto verdict = s.judge("");
  EXPECT_TRUE(verdict.accepted());
  EXPECT_EQ(event_log_result(verdict), CheckResult::skipped);
}

TEST(JudgeEventLog, RefusesOneBesideAnEnclave) {
  const Scene s{TeeType::sgx};
  EXPECT_EQ(s.judge(s.log).error->code(), Errc::evidence_unsupported);
  EXPECT_TRUE(s.judge("").accepted());
}

TEST(JudgeEventLog, ReportsTheQuotesOwnErrorFirst) {
  Scene s;
  s.platform.quote_signed_by = "somebody";
  const auto verdict = s.judge(s.other);
  EXPECT_EQ(verdict.error->code(), Errc::quote_signature_invalid);
  EXPECT_EQ(event_log_result(verdict), CheckResult::fail);
}

// --- real ones ---

TEST(JudgeEventLog, OfRealDstackGuestsIsTheirs) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto dstack = folder / "attestation/tdx/dstack";
  for (const auto& [file, app] : {std::pair{"quote-report.json", "3763bc34552cf3a27ff71ad5f7a90471562a1a2d"},
                                  std::pair{"tdx-lite-getquote.json", "86b0e55f2fa8e4fb69d890f14f54d5612707646e"}}) {
    SCOPED_TRACE(file);
    const auto found = evidence::detect(test::read_file(dstack / file));
    ASSERT_TRUE(found.ok() && found->event_log.has_value());
    const auto quote = evidence::parse_quote(found->bytes);
    const auto claims = event_log_claims(*found->event_log, *quote->td());
    ASSERT_TRUE(claims.ok()) << claims.error().text();
    EXPECT_EQ(text_of(*claims, "dstack", "app_id"), app);
    EXPECT_EQ(text_of(*claims, "dstack", "compose_hash").substr(0, 40), app);
    EXPECT_EQ(text_of(*claims, "dstack", "instance_id").size(), 40U);
    EXPECT_EQ(text_of(*claims, "dstack", "key_provider").front(), '{');
  }
}

TEST(JudgeEventLog, OfARealFirmwareIsItsQuotes) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto quote = evidence::parse_quote(test::read_file(folder / "lab/tdx/cos113_tdx_quote_v4.dat"));
  ASSERT_TRUE(quote.ok());
  const auto log = evidence::parse_event_log(test::read_file(folder / "lab/tdx/cos113_ccel_data.dat"));
  ASSERT_TRUE(log.ok());
  EXPECT_TRUE(event_log_claims(*log, *quote->td()).ok());
  const auto other = evidence::parse_event_log(test::read_file(folder / "lab/tdx/dstack_ccel.bin"));
  EXPECT_EQ(event_log_claims(*other, *quote->td()).error().code(), Errc::event_log_mismatch);
}

}  // namespace
}  // namespace cloister::verdict
