#include "cloister/evidence/detect.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "samples.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;
using cloister::test::read_file;

Bytes td_quote() { return *encode_quote(test::sample_quote(4, BodyType::td10)); }
Bytes sgx_quote() { return *encode_quote(test::sample_quote(3, BodyType::sgx)); }

Bytes snp_report(std::uint8_t version) {
  Bytes out(kSnpReportSize, 0x33);
  std::ranges::fill(out.begin(), out.begin() + 8, std::uint8_t{0});
  out[0] = version;
  return out;
}

Bytes hcl_report() {
  Bytes out = to_bytes("HCLA");
  out.resize(32);
  append(out, snp_report(3));
  out.resize(2600);
  return out;
}

json::Value octets(ByteView bytes) {
  json::Array out;
  for (const auto byte : bytes) out.emplace_back(static_cast<std::int64_t>(byte));
  return out;
}

std::string object(std::string_view member, json::Value value) {
  json::Object out;
  out.emplace_back("version", 1);
  out.emplace_back(member, std::move(value));
  return json::write(out);
}

void expect_found(std::string_view text, EvidenceKind kind, ByteView bytes, std::string_view member = {}) {
  const auto found = detect(as_bytes(text));
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->kind, kind);
  EXPECT_TRUE(same_bytes(found->bytes, bytes));
  EXPECT_EQ(found->member, member);
}

TEST(Detect, RecognisesRawBytes) {
  expect_found(as_text(td_quote()), EvidenceKind::tdx_quote, td_quote());
  expect_found(as_text(sgx_quote()), EvidenceKind::sgx_quote, sgx_quote());
  for (const std::uint8_t version : {std::uint8_t{2}, std::uint8_t{3}, std::uint8_t{5}}) {
    const auto report = snp_report(version);
    expect_found(as_text(report), EvidenceKind::snp_report, report);
  }
}

TEST(Detect, RecognisesTextOfAnyAlphabet) {
  const auto quote = td_quote();
  const auto hex = codec::to_hex(quote);
  const auto base64 = codec::to_base64(quote);
  auto lines = base64;
  for (std::size_t at = 64; at < lines.size(); at += 65) lines.insert(at, "\n");
  auto shouted = hex;
  for (auto& c : shouted) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c;
  for (const auto& text : {hex, hex + "\n", "0x" + hex, shouted, base64, lines + "\r\n", codec::to_base64url(quote)}) {
    expect_found(text, EvidenceKind::tdx_quote, quote);
  }
}

TEST(Detect, FindsEvidenceInJson) {
  const auto quote = sgx_quote();
  expect_found(object("quote", codec::to_hex(quote)), EvidenceKind::sgx_quote, quote, "quote");
  expect_found(object("td_quote", octets(quote)), EvidenceKind::sgx_quote, quote, "td_quote");
  expect_found(object("evidence", *json::parse(object("quote", codec::to_base64(quote)))), EvidenceKind::sgx_quote, quote,
               "evidence.quote");
  expect_found(object("list", json::Array{json::Value{"x"}, json::Value{codec::to_base64url(quote)}}), EvidenceKind::sgx_quote,
               quote, "list[1]");
  expect_found('"' + codec::to_base64(quote) + '"', EvidenceKind::sgx_quote, quote);
}

TEST(Detect, FindsTheReportInsideAnAzureReport) {
  const auto hcl = hcl_report();
  expect_found(as_text(hcl), EvidenceKind::snp_report, snp_report(3));
  expect_found(object("hcl_report", codec::to_base64(hcl)), EvidenceKind::snp_report, snp_report(3), "hcl_report");
}

TEST(Detect, TakesEventLogsInEveryForm) {
  const std::vector<GuestEvent> events{{3, "image", Bytes{1}}};
  const auto guest = encode_guest_event_log(events);
  constexpr std::string_view kDstack = R"([{"imr":3,"event_type":134217729,"digest":"","event":"a","event_payload":""}])";
  const std::vector<std::tuple<const char*, json::Value, std::uint32_t>> logs{
      {"event_log", std::string{kDstack}, kEventDstackRuntime},
      {"event_log", *json::parse(kDstack), kEventDstackRuntime},
      {"cc_eventlog", codec::to_base64(guest), kEventGuest},
      {"event_log", codec::to_hex(guest), kEventGuest},
  };
  for (const auto& [name, value, type] : logs) {
    auto document = *json::parse(object("quote", codec::to_hex(td_quote())));
    document.set(name, value);
    const auto found = detect(as_bytes(json::write(document)));
    ASSERT_TRUE(found) << found.error().text();
    ASSERT_TRUE(found->event_log);
    ASSERT_EQ(found->event_log->size(), 1U);
    EXPECT_EQ(found->event_log->front().type, type);
  }
}

TEST(Detect, NoLogIsNoLog) {
  for (const auto& none : {json::Value{}, json::Value{""}}) {
    auto document = *json::parse(object("quote", codec::to_hex(td_quote())));
    document.set("cc_eventlog", none);
    const auto found = detect(as_bytes(json::write(document)));
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_FALSE(found->event_log);
  }
}

TEST(Detect, RefusesALogThatDoesNotParse) {
  auto document = *json::parse(object("quote", codec::to_hex(td_quote())));
  document.set("event_log", "[{}]");
  const auto found = detect(as_bytes(json::write(document)));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::evidence_malformed);
}

TEST(Detect, RefusesTwoDifferentPieces) {
  auto document = *json::parse(object("quote", codec::to_hex(td_quote())));
  document.set("other", codec::to_hex(sgx_quote()));
  const auto found = detect(as_bytes(json::write(document)));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::evidence_malformed);
}

TEST(Detect, AllowsOnePieceTwice) {
  auto document = *json::parse(object("quote", codec::to_hex(td_quote())));
  document.set("quote_base64", codec::to_base64(td_quote()));
  expect_found(json::write(document), EvidenceKind::tdx_quote, td_quote(), "quote");
}

TEST(Detect, RecognisesADamagedQuote) {
  const auto quote = td_quote();
  expect_found(as_text(ByteView{quote}.first(100)), EvidenceKind::tdx_quote, ByteView{quote}.first(100));
}

TEST(Detect, LeavesTheRestUnknown) {
  const auto quote = td_quote();
  auto version = quote;
  version[0] = 6;
  auto tee = quote;
  tee[4] = 0x82;
  auto short_report = snp_report(3);
  short_report.pop_back();
  for (const auto& bytes : {Bytes{}, Bytes{1, 2, 3}, to_bytes(ByteView{quote}.first(47)), version, tee, short_report,
                            snp_report(1), snp_report(6), to_bytes("{\"quote\":"), to_bytes("{\"quote\":\"00\"}"),
                            to_bytes("hello")}) {
    const auto found = detect(bytes);
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ(found->kind, EvidenceKind::unknown);
    EXPECT_EQ(found->bytes, bytes);
  }
}

TEST(Detect, RefusesFilesBeyondTheLimit) {
  auto file = td_quote();
  file.resize(kMaxEvidenceFileSize + 1);
  EXPECT_EQ(detect(file).error().code(), Errc::limit_exceeded);
}

struct RealFile {
  const char* file;
  EvidenceKind kind;
  const char* member;
  bool log;
};

TEST(Detect, RecognisesRealFiles) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const std::vector<RealFile> files{
      {"tdx/dstack/quote-report.json", EvidenceKind::tdx_quote, "quote", true},
      {"tdx/dstack/tdx-lite-getquote.json", EvidenceKind::tdx_quote, "quote", true},
      {"az-tdx-vtpm/trustee/evidence-v0.json", EvidenceKind::tdx_quote, "td_quote", false},
      {"az-tdx-vtpm/trustee/evidence-v1.json", EvidenceKind::tdx_quote, "td_quote", false},
      {"az-snp-vtpm/trustee/evidence-v0.json", EvidenceKind::snp_report, "report", false},
      {"az-snp-vtpm/trustee/evidence-v1.json", EvidenceKind::snp_report, "hcl_report", false},
      {"az-snp-vtpm/attestation-rs/milan-v3-attestation.json", EvidenceKind::snp_report, "evidence.hcl_report", false},
      {"snp/automata/output.json", EvidenceKind::snp_report, "sev_snp.attestation_report", false},
      {"snp/veraison/sevsnp-tsm-report.json", EvidenceKind::snp_report, "outblob", false},
      {"snp/trustee/test-vlek-report.bin", EvidenceKind::snp_report, "", false},
      {"snp/tav/genoa_attestation_report.bin", EvidenceKind::snp_report, "", false},
      {"tdx/dcap-qvl/tdx-quote.hex", EvidenceKind::tdx_quote, "", false},
      {"tdx/automata-rust/quotev4.hex", EvidenceKind::tdx_quote, "", false},
      {"sgx/dcap-qvl/sgx_quote", EvidenceKind::sgx_quote, "", false},
      {"tdx/attestation-rs/tdx_tdreport_live.bin", EvidenceKind::unknown, "", false},
      {"tdx/trustee/tcbInfo.json", EvidenceKind::unknown, "", false},
      {"tdx/automata-solana/pck.der", EvidenceKind::unknown, "", false},
      {"tpm/dstack/tpm_quote_sample.bin", EvidenceKind::unknown, "", false},
  };
  for (const auto& [file, kind, member, log] : files) {
    SCOPED_TRACE(file);
    const auto found = detect(read_file(vectors / "attestation" / file));
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ(found->kind, kind) << to_string(found->kind);
    EXPECT_EQ(found->member, member);
    EXPECT_EQ(found->event_log.has_value(), log);
    EXPECT_EQ(parse_quote(found->bytes).ok(), kind == EvidenceKind::tdx_quote || kind == EvidenceKind::sgx_quote);
  }
}

}  // namespace
}  // namespace cloister::evidence
