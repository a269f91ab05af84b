#include "cloister/evidence/event_log.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

namespace cbor = codec::cbor;
namespace json = codec::json;
using cloister::test::read_file;
using cloister::test::read_text;

constexpr std::uint16_t kSha256 = 0x0B;
constexpr std::uint16_t kSha384 = 0x0C;

/// A CCEL made by hand; the members are what tests change.
struct CcelWriter {
  std::vector<std::pair<std::uint16_t, std::uint16_t>> algorithms{{kSha256, 32}, {kSha384, 48}};
  std::string signature = std::string{"Spec ID Event03"} + '\0';
  std::uint32_t head_type = kEventNoAction;
  codec::Writer out;

  void head() {
    codec::Writer data;
    data.raw(as_bytes(signature));
    data.zeros(4);
    data.raw(Bytes{0, 2, 0, 2});
    data.u32le(static_cast<std::uint32_t>(algorithms.size()));
    for (const auto& [id, size] : algorithms) {
      data.u16le(id);
      data.u16le(size);
    }
    data.u8(0);
    out.u32le(1);
    out.u32le(head_type);
    out.zeros(20);
    out.u32le(static_cast<std::uint32_t>(data.size()));
    out.raw(data.bytes());
  }
  void event(std::uint32_t index, std::uint32_t type, const std::vector<std::pair<std::uint16_t, Bytes>>& digests,
             std::string_view data) {
    out.u32le(index);
    out.u32le(type);
    out.u32le(static_cast<std::uint32_t>(digests.size()));
    for (const auto& [id, digest] : digests) {
      out.u16le(id);
      out.raw(digest);
    }
    out.u32le(static_cast<std::uint32_t>(data.size()));
    out.raw(as_bytes(data));
  }
};

const Bytes kDigest(48, 0x5A);

CcelWriter sample_ccel() {
  CcelWriter writer;
  writer.head();
  writer.event(0, 1, {{kSha384, kDigest}}, "build");
  writer.event(1, 4, {{kSha256, Bytes(32, 1)}, {kSha384, kDigest}}, "");
  writer.event(4, 6, {{kSha384, kDigest}}, "runtime");
  return writer;
}

void expect_ccel_refused(ByteView bytes, std::string_view detail, Errc code = Errc::evidence_malformed) {
  const auto log = parse_ccel(bytes);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code(), code) << log.error().text();
  EXPECT_NE(log.error().detail().find(detail), std::string::npos) << log.error().text();
}

void expect_event_refused(std::uint32_t index, const std::vector<std::pair<std::uint16_t, Bytes>>& digests,
                          std::string_view detail) {
  auto writer = sample_ccel();
  writer.event(index, 6, digests, "x");
  expect_ccel_refused(writer.out.bytes(), detail);
}

TEST(Ccel, ReadsEventsAndTheirRegisters) {
  const auto log = parse_ccel(sample_ccel().out.bytes());
  ASSERT_TRUE(log) << log.error().text();
  ASSERT_EQ(log->size(), 3U);
  EXPECT_EQ((*log)[0].rtmr, std::nullopt);
  EXPECT_EQ((*log)[1].rtmr, 0);
  EXPECT_EQ((*log)[2].rtmr, 3);
  EXPECT_EQ(as_text((*log)[2].data), "runtime");
  EXPECT_EQ((*log)[1].digest, to_array<48>(kDigest));
  EXPECT_FALSE((*log)[0].extends());
  EXPECT_TRUE((*log)[1].extends());
}

TEST(Ccel, MarksEventsThatAreNotExtended) {
  auto writer = sample_ccel();
  writer.event(1, kEventNoAction, {{kSha384, Bytes(48)}}, "StartupLocality");
  EXPECT_FALSE(parse_ccel(writer.out.bytes())->back().extends());
}

TEST(Ccel, EndsAtPaddingOfOnesOrZeros) {
  for (const std::uint8_t pad : {std::uint8_t{0x00}, std::uint8_t{0xFF}}) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{4}, std::size_t{4096}}) {
      auto bytes = sample_ccel().out.bytes();
      bytes.insert(bytes.end(), size, pad);
      const auto log = parse_ccel(bytes);
      ASSERT_TRUE(log) << log.error().text();
      EXPECT_EQ(log->size(), 3U);
    }
  }
}

TEST(Ccel, ReplaysRealLogsToTheirRegisters) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto expected = *json::parse(read_text(vectors / "lab/tdx/expected.json"));
  const std::vector<std::tuple<const char*, const char*, std::size_t>> logs{
      {"cos113", "cos113_ccel_data.dat", 43}, {"dstack_ccel.bin", "dstack_ccel.bin", 18}};
  for (const auto& [name, file, events] : logs) {
    SCOPED_TRACE(name);
    const auto log = parse_ccel(read_file(vectors / "lab/tdx" / file));
    ASSERT_TRUE(log) << log.error().text();
    EXPECT_GE(log->size(), events - 1);  // their count has the head in it
    std::array<Digest48, 4> rtmr{};
    for (const auto& event : *log) {
      if (event.extends()) rtmr[*event.rtmr] = crypto::sha384({rtmr[*event.rtmr], event.digest});
    }
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(codec::to_hex(rtmr[i]), *expected.find(name)->find("rtmr" + std::to_string(i))->as_string());
    }
  }
}

TEST(Ccel, IsWrittenAsFirmwareWritesIt) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* file : {"lab/tdx/cos113_ccel_data.dat", "lab/tdx/dstack_ccel.bin"}) {
    const auto real = read_file(vectors / file);
    EXPECT_EQ(encode_ccel(parse_ccel(real).value(), real.size()).value(), real) << file;
  }
}

TEST(Ccel, WrittenLogReadsAsItWas) {
  const auto log = parse_ccel(sample_ccel().out.bytes()).value();
  const auto written = encode_ccel(log, 4096);
  ASSERT_TRUE(written) << written.error().text();
  EXPECT_EQ(written->size(), 4096U);
  EXPECT_EQ(parse_ccel(*written).value(), log);
  EXPECT_EQ(parse_ccel(encode_ccel({}, 65).value()).value(), EventLog{});
}

TEST(Ccel, IsNotWrittenIntoAnAreaThatIsTooSmall) {
  const auto log = parse_ccel(sample_ccel().out.bytes()).value();
  EXPECT_EQ(encode_ccel(log, 100).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(encode_ccel({}, 64).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(encode_ccel({}, kMaxEventLogSize + 1).error().code(), Errc::limit_exceeded);
}

TEST(CcelTable, OfARealMachineIsRead) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* file : {"lab/tdx/cos113_ccel_table.dat", "attestation/tdx/go-tdx-guest/ccel_ccel_table.dat"}) {
    const auto table = parse_ccel_table(read_file(vectors / file));
    ASSERT_TRUE(table) << table.error().text();
    EXPECT_EQ(*table, (CcelTable{.cc_type = 2, .cc_subtype = 0, .log_size = 262144, .log_address = 0xBEDBF000})) << file;
  }
}

TEST(CcelTable, ReadsAsItWasWritten) {
  const CcelTable table{.cc_type = 2, .cc_subtype = 1, .log_size = 0x10000, .log_address = 0x7F000000};
  const auto bytes = encode_ccel_table(table);
  EXPECT_EQ(parse_ccel_table(bytes).value(), table);
}

TEST(CcelTable, RefusesEveryChange) {
  const auto good = encode_ccel_table({.log_size = 4096, .log_address = 0x1000});
  const auto refused = [](ByteView bytes, Errc code, std::string_view part) {
    const auto table = parse_ccel_table(bytes);
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error().code(), code);
    EXPECT_NE(table.error().detail().find(part), std::string::npos) << table.error().detail();
  };
  refused(ByteView{good}.first(55), Errc::evidence_malformed, "56 bytes");
  refused({}, Errc::evidence_malformed, "56 bytes");
  const auto changed = [&](std::initializer_list<std::pair<std::size_t, int>> changes) {
    auto bytes = good;
    for (const auto& [at, by] : changes) bytes[at] = static_cast<std::uint8_t>(bytes[at] + by);
    return bytes;
  };
  refused(changed({{4, 1}, {9, -1}}), Errc::evidence_malformed, "56 bytes");
  refused(changed({{0, 1}, {9, -1}}), Errc::evidence_malformed, "signature");
  refused(changed({{40, 1}}), Errc::evidence_malformed, "checksum");
  refused(changed({{36, -1}, {9, 1}}), Errc::evidence_unsupported, "TDX");
}

TEST(Ccel, ReadsTheOtherRealLogs) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* file : {"tdx/trustee/CCEL_data_ovmf", "tdx/eventlog-trustee/CCEL_data_grub",
                           "tdx/attestation-rs/tdx_ccel_live2.dat", "tdx/go-tdx-guest/ccel_ccel_data.dat"}) {
    SCOPED_TRACE(file);
    const auto log = parse_ccel(read_file(vectors / "attestation" / file));
    ASSERT_TRUE(log) << log.error().text();
    EXPECT_GT(log->size(), 15U);
  }
}

TEST(Ccel, RefusesOtherHeads) {
  CcelWriter other_type;
  other_type.head_type = 4;
  other_type.head();
  expect_ccel_refused(other_type.out.bytes(), "head of another type");
  CcelWriter other_version;
  other_version.signature[14] = '2';
  other_version.head();
  expect_ccel_refused(other_version.out.bytes(), "Spec ID Event03");
}

TEST(Ccel, RefusesAlgorithmListsThatDoNotServe) {
  CcelWriter without;
  without.algorithms = {{kSha256, 32}};
  without.head();
  expect_ccel_refused(without.out.bytes(), "no SHA-384 bank");
  CcelWriter wrong_size;
  wrong_size.algorithms = {{kSha384, 32}};
  wrong_size.head();
  expect_ccel_refused(wrong_size.out.bytes(), "no SHA-384 bank");
  CcelWriter twice;
  twice.algorithms = {{kSha384, 48}, {kSha384, 48}};
  twice.head();
  expect_ccel_refused(twice.out.bytes(), "listed twice");
  CcelWriter many;
  many.algorithms.resize(9, {kSha384, 48});
  many.head();
  expect_ccel_refused(many.out.bytes(), "bad list of algorithms");
}

TEST(Ccel, RefusesUnknownRegisters) { expect_event_refused(5, {{kSha384, kDigest}}, "register index"); }

TEST(Ccel, RefusesEventsWithoutASha384Digest) {
  expect_event_refused(1, {}, "no SHA-384 digest");
  expect_event_refused(1, {{kSha256, Bytes(32)}}, "no SHA-384 digest");
}

TEST(Ccel, RefusesTwoSha384Digests) {
  expect_event_refused(1, {{kSha384, kDigest}, {kSha384, kDigest}}, "two SHA-384 digests");
}

TEST(Ccel, RefusesDigestsOfUnlistedAlgorithms) { expect_event_refused(1, {{0x0D, Bytes(64)}}, "not listed"); }

TEST(Ccel, RefusesMoreDigestsThanAlgorithms) {
  expect_event_refused(1, {{kSha256, Bytes(32)}, {kSha384, kDigest}, {kSha256, Bytes(32)}}, "more digests");
}

TEST(Ccel, RefusesPaddingThatIsNotUniform) {
  auto bytes = sample_ccel().out.bytes();
  bytes.insert(bytes.end(), 64, 0xFF);
  bytes.push_back(0x01);
  expect_ccel_refused(bytes, "register index");
}

TEST(Ccel, RefusesTruncationInsideAnEvent) {
  const auto whole = sample_ccel();
  const auto& bytes = whole.out.bytes();
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    accepted += parse_ccel(ByteView{bytes}.first(size)) ? 1U : 0U;
  }
  // The ends of the head and of two events, and there the first zeros of the next event, which look like padding.
  EXPECT_LE(accepted, 12U);
}

TEST(Ccel, RefusesMoreThanItsLimits) {
  expect_ccel_refused(Bytes(kMaxEventLogSize + 1), "at most", Errc::limit_exceeded);
}

// --- dstack ---

json::Value dstack_event(std::int64_t imr, std::int64_t type, std::string digest, std::string name, std::string payload) {
  json::Object out;
  out.emplace_back("imr", imr);
  out.emplace_back("event_type", type);
  out.emplace_back("digest", std::move(digest));
  out.emplace_back("event", std::move(name));
  out.emplace_back("event_payload", std::move(payload));
  return out;
}

Result<EventLog> parse_one(const json::Value& event) { return parse_dstack_event_log(json::write(json::Array{event})); }

void expect_dstack_refused(const json::Value& event, std::string_view detail) {
  const auto log = parse_one(event);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code(), Errc::evidence_malformed);
  EXPECT_NE(log.error().detail().find(detail), std::string::npos) << log.error().text();
}

TEST(DstackEventLog, ReplaysARealLogToTheQuotesRegister) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* file : {"quote-report.json", "tdx-lite-getquote.json"}) {
    SCOPED_TRACE(file);
    const auto document = *json::parse(read_text(vectors / "attestation/tdx/dstack" / file));
    const auto log = parse_dstack_event_log(*document.find("event_log")->as_string());
    ASSERT_TRUE(log) << log.error().text();
    EXPECT_GT(log->size(), 20U);
    std::array<Digest48, 4> rtmr{};
    for (const auto& event : *log) rtmr[*event.rtmr] = crypto::sha384({rtmr[*event.rtmr], event.digest});
    const auto quote = *codec::from_hex(*document.find("quote")->as_string());
    const auto begin = quote[0] == 5 ? std::size_t{54} : std::size_t{48};
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(same_bytes(rtmr[i], ByteView{quote}.subspan(begin + 328 + 48 * i, 48))) << i;
    }
  }
}

TEST(DstackEventLog, ComputesRunTimeDigests) {
  const auto log = parse_one(dstack_event(3, kEventDstackRuntime, "", "app-id", "0102"));
  ASSERT_TRUE(log) << log.error().text();
  EXPECT_EQ(log->front().digest, crypto::sha384({Bytes{1, 0, 0, 8}, as_bytes(":app-id:"), Bytes{1, 2}}));
  EXPECT_EQ(log->front().name, "app-id");
  EXPECT_EQ(log->front().rtmr, 3);
}

TEST(DstackEventLog, RefusesRunTimeDigestsThatDiffer) {
  expect_dstack_refused(dstack_event(3, kEventDstackRuntime, codec::to_hex(kDigest), "app-id", "0102"), "digest differs");
}

TEST(DstackEventLog, RefusesFirmwareEventsWithoutADigest) {
  expect_dstack_refused(dstack_event(0, 4, "", "", ""), "48 bytes expected");
  expect_dstack_refused(dstack_event(0, 4, "00", "", ""), "48 bytes expected");
}

TEST(DstackEventLog, RefusesUnknownRegisters) {
  expect_dstack_refused(dstack_event(4, 4, codec::to_hex(kDigest), "", ""), "imr");
}

TEST(DstackEventLog, RefusesPayloadsThatAreNotHex) {
  expect_dstack_refused(dstack_event(0, 4, codec::to_hex(kDigest), "", "xy"), "event_payload");
}

TEST(DstackEventLog, RefusesLongNames) {
  expect_dstack_refused(dstack_event(3, kEventDstackRuntime, "", std::string(257, 'n'), ""), "name too long");
}

TEST(DstackEventLog, RefusesWhatIsNoArray) {
  EXPECT_EQ(parse_dstack_event_log("{}").error().code(), Errc::evidence_malformed);
  EXPECT_EQ(parse_dstack_event_log("[1]").error().code(), Errc::evidence_malformed);
  EXPECT_EQ(parse_dstack_event_log("").error().code(), Errc::evidence_malformed);
}

TEST(DstackEventLog, RefusesMoreThanItsLimits) {
  EXPECT_EQ(parse_dstack_event_log(std::string(kMaxEventLogSize + 1, ' ')).error().code(), Errc::limit_exceeded);
}

// --- our own ---

std::vector<GuestEvent> sample_guest_events() {
  return {{3, "image", Bytes(32, 1)}, {3, "configuration", Bytes(32, 2)}, {2, "", {}}};
}

void expect_guest_refused(ByteView bytes, std::string_view detail) {
  const auto log = parse_guest_event_log(bytes);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code(), Errc::evidence_malformed);
  EXPECT_NE(log.error().detail().find(detail), std::string::npos) << log.error().text();
}

TEST(GuestEventLog, RoundTrips) {
  const auto events = sample_guest_events();
  const auto bytes = encode_guest_event_log(events);
  const auto read = parse_guest_event_log(bytes);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, events);
  EXPECT_EQ(*parse_guest_event_log(encode_guest_event_log({})), std::vector<GuestEvent>{});
}

TEST(GuestEventLog, DigestsAreOverDeterministicCbor) {
  // 83 71 "cloister/event/1" … written out, so that the encoding itself is pinned.
  const auto encoded = *codec::from_hex("8370636c6f69737465722f6576656e742f3165696d616765420102");
  EXPECT_EQ(guest_event_digest("image", Bytes{1, 2}), crypto::sha384(encoded));
}

TEST(GuestEventLog, BecomesAListForReplay) {
  const auto log = to_event_log(sample_guest_events());
  ASSERT_EQ(log.size(), 3U);
  EXPECT_EQ(log[1].rtmr, 3);
  EXPECT_EQ(log[1].digest, guest_event_digest("configuration", Bytes(32, 2)));
  EXPECT_TRUE(log[2].extends());
}

TEST(GuestEventLog, RefusesOtherDomains) {
  cbor::Writer out;
  out.array(2).text("cloister/event-log/2").array(0);
  expect_guest_refused(std::move(out).take(), "");
}

TEST(GuestEventLog, RefusesUnknownRegisters) {
  cbor::Writer out;
  out.array(2).text("cloister/event-log/1").array(1).array(3).uint(4).text("x").bytes({});
  expect_guest_refused(std::move(out).take(), "RTMR 0 to 3");
}

TEST(GuestEventLog, RefusesLongNames) {
  expect_guest_refused(encode_guest_event_log({{3, std::string(257, 'n'), {}}}), "name too long");
}

TEST(GuestEventLog, RefusesTrailingBytesAndTruncation) {
  auto bytes = encode_guest_event_log(sample_guest_events());
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(parse_guest_event_log(ByteView{bytes}.first(size)));
  bytes.push_back(0);
  expect_guest_refused(bytes, "trailing");
}

TEST(GuestEventLog, RefusesMoreThanItsLimits) {
  EXPECT_EQ(parse_guest_event_log(Bytes(kMaxEventLogSize + 1)).error().code(), Errc::limit_exceeded);
  expect_guest_refused(encode_guest_event_log(std::vector<GuestEvent>(kMaxEvents + 1)), "");
}

// --- whichever it is ---

TEST(EventLog, IsToldApartByHowItBegins) {
  const auto event = dstack_event(3, kEventDstackRuntime, "", "app-id", "0102");
  const auto list = json::write(json::Array{event});
  const auto as_value = json::write(json::Object{{"event_log", json::Array{event}}});
  const auto as_string = " " + json::write(json::Object{{"event_log", list}, {"quote", ""}});
  const auto expected = parse_dstack_event_log(list);
  for (const auto& text : {list, as_value, as_string}) {
    const auto log = parse_event_log(as_bytes(text));
    ASSERT_TRUE(log) << log.error().text();
    EXPECT_EQ(*log, *expected);
  }
  const auto guest = sample_guest_events();
  EXPECT_EQ(*parse_event_log(encode_guest_event_log(guest)), to_event_log(guest));
  EXPECT_EQ(parse_event_log(sample_ccel().out.bytes())->size(), 3U);
}

TEST(EventLog, RefusesWhatIsNone) {
  for (const auto* text : {"", "{}", "{\"event_log\":1}", "{\"event_log\":\"{}\"}", "[1]", "[", "events"}) {
    const auto log = parse_event_log(as_bytes(std::string_view{text}));
    ASSERT_FALSE(log) << text;
    EXPECT_EQ(log.error().code(), Errc::evidence_malformed) << text;
  }
  EXPECT_EQ(parse_event_log(Bytes(kMaxEventLogSize + 1, ' ')).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(parse_event_log(to_bytes("{" + std::string(kMaxEventLogSize, ' '))).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::evidence
