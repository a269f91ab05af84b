#include "cloister/collateral/document.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral/freshness.hpp"
#include "cloister/collateral/transfer.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::collateral {
namespace {

using namespace std::chrono_literals;
using test::SyntheticPlatform;

Key key_of(std::string_view text) { return parse_key(text).value(); }
const Key kTcb = key_of("tcb_info/tdx/90c06f000000");

/// The platform's answer to the request for its TCB info.
Answer tcb_answer() {
  const auto built = SyntheticPlatform{}.build().collateral;
  return {.status = 200,
          .headers = {{"Content-Type", "application/json; charset=utf-8"},
                      {"tcb-info-issuer-chain", escape_header(built.tcb_info_issuer_chain)},
                      {"ETag", "\"1\""}},
          .body = to_bytes(evidence::write_tcb_info(built.tcb_info, built.tcb_info_signature))};
}
Result<Outcome> read(const Answer& answer, bool conditional = false) {
  return interpret(kTcb, ApiVersion::v4, answer, conditional, SyntheticPlatform::now());
}

TEST(Interpret, TakesDatesFromTheDocument) {
  const auto outcome = read(tcb_answer());
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const auto& given = std::get<Given>(*outcome);
  const SyntheticPlatform platform;
  EXPECT_EQ(given.document.issued, platform.tcb_info.issue_date);
  EXPECT_EQ(given.document.expires, platform.tcb_info.next_update);
  EXPECT_EQ(given.document.evaluation_number, platform.tcb_info.tcb_evaluation_data_number);
  EXPECT_EQ(given.validators.etag, "\"1\"");
}

TEST(Interpret, EndsADocumentWithItsIssuerChain) {
  SyntheticPlatform platform;
  platform.tcb_signer.not_after = platform.tcb_info.next_update - 48h;
  const auto built = platform.build().collateral;
  const auto document = read_document(
      kTcb, as_bytes(evidence::write_tcb_info(built.tcb_info, built.tcb_info_signature)), built.tcb_info_issuer_chain);
  ASSERT_TRUE(document.ok());
  EXPECT_EQ(document->expires, platform.tcb_signer.not_after);
}

TEST(Interpret, TakesNotModifiedOnlyWhereItWasAskedFor) {
  const Answer unchanged{.status = 304, .headers = {}, .body = {}};
  const auto asked = read(unchanged, true);
  ASSERT_TRUE(asked.ok());
  EXPECT_TRUE(std::holds_alternative<NotModified>(*asked));
  EXPECT_EQ(read(unchanged, false).error().code(), Errc::unsupported);
}

TEST(Interpret, WantsTheHeaderOfTheVersion) {
  const auto v3 = interpret(kTcb, ApiVersion::v3, tcb_answer(), false, SyntheticPlatform::now());
  ASSERT_FALSE(v3.ok());
  EXPECT_EQ(v3.error().code(), Errc::missing_member);
}

TEST(Interpret, RefusesACrlWithoutItsEnd) {
  const auto built = SyntheticPlatform{}.build().collateral;
  const Answer crl{.status = 200, .headers = {{"Content-Type", "application/pkix-crl"}}, .body = built.root_ca_crl};
  EXPECT_TRUE(interpret(key_of("root_ca_crl"), ApiVersion::v4, crl, false, SyntheticPlatform::now()).ok());
  const auto late = interpret(key_of("root_ca_crl"), ApiVersion::v4, crl, false, SyntheticPlatform{}.root_crl.next_update);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), Errc::collateral_outdated);
}

TEST(ReadDocument, RefusesADocumentThatEndsBeforeItBegins) {
  SyntheticPlatform platform;
  platform.tcb_info.next_update = platform.tcb_info.issue_date;
  const auto built = platform.build().collateral;
  const auto document = read_document(
      kTcb, as_bytes(evidence::write_tcb_info(built.tcb_info, built.tcb_info_signature)), built.tcb_info_issuer_chain);
  ASSERT_FALSE(document.ok());
  EXPECT_EQ(document.error().code(), Errc::collateral_malformed);
}

TEST(ReadDocument, ReadsTheVerificationEnclavesIdentity) {
  const auto built = SyntheticPlatform{}.build().collateral;
  const std::string signature(128, '0');
  const auto identity = [&](std::string_view id, std::string_view next) {
    return R"({"enclaveIdentity":{"id":")" + std::string{id} + R"(","version":2,"issueDate":"2026-01-01T00:00:00Z","nextUpdate":")" +
           std::string{next} + R"(","tcbEvaluationDataNumber":17},"signature":")" + signature + "\"}";
  };
  const auto read_qve = [&](std::string_view key, const std::string& text) {
    const auto document = read_document(key_of(key), as_bytes(text), built.qe_identity_issuer_chain);
    return document ? "none" : std::string{to_string(document.error().code())};
  };
  const std::string good = identity("QVE", "2026-02-01T00:00:00Z");
  EXPECT_EQ(read_qve("qve_identity", good), "none");
  EXPECT_EQ(read_qve("qve_identity/eval-17", good), "none");
  EXPECT_EQ(read_qve("qve_identity/eval-18", good), "collateral_mismatch");
  EXPECT_EQ(read_qve("qve_identity", identity("QE", "2026-02-01T00:00:00Z")), "collateral_mismatch");
  EXPECT_EQ(read_qve("qve_identity", identity("QVE", "soon")), "collateral_malformed");
  EXPECT_EQ(read_qve("qve_identity", R"({"enclaveIdentity":{}})"), "collateral_malformed");
  EXPECT_EQ(read_qve("qve_identity", "{"), "collateral_malformed");
  EXPECT_EQ(read_qve("qe_identity/qe", good), "collateral_malformed");
}

TEST(ReadDocument, ReadsEveryRealVcek) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* name : {"virtee/vcek_turin.der", "trustee/test-vcek.der", "tav/milan_vcek.pem", "tav/genoa_vcek.pem", "automata/vcek.der"}) {
    const auto bytes = test::read_file(vectors / "attestation/snp" / name);
    const auto found = documents_of({{name, bytes}});
    ASSERT_TRUE(found.ok()) << name;
    ASSERT_EQ(found->documents.size(), 1U) << name << (found->left_out.empty() ? "" : found->left_out.front());
    EXPECT_TRUE(std::holds_alternative<VcekKey>(found->documents.front().key)) << name;
    const auto document = read_document(found->documents.front().key, bytes, {});
    ASSERT_TRUE(document.ok()) << name << document.error().text();
    EXPECT_EQ(*document, found->documents.front()) << name;
  }
}

TEST(ReadDocument, RefusesOtherChains) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto pem = test::read_text(vectors / "attestation/snp/roots/milan_ask_ark_asvk.pem");
  const auto blocks = codec::parse_pem(pem).value();
  ASSERT_EQ(blocks.size(), 3U);
  const auto chain = [&](std::initializer_list<std::size_t> which) {
    std::string out;
    for (const auto i : which) out += codec::to_pem("CERTIFICATE", blocks[i].der);
    return out;
  };
  const auto read_chain = [&](std::string_view key, const std::string& text) {
    const auto document = read_document(key_of(key), as_bytes(text), {});
    return document ? "none" : std::string{to_string(document.error().code())};
  };
  EXPECT_EQ(read_chain("amd_chain/vcek/Milan", chain({0, 1})), "none");
  EXPECT_EQ(read_chain("amd_chain/vlek/Milan", chain({2, 1})), "none");
  EXPECT_EQ(read_chain("amd_chain/vlek/Milan", chain({0, 1})), "collateral_mismatch");
  EXPECT_EQ(read_chain("amd_chain/vcek/Genoa", chain({0, 1})), "collateral_mismatch");
  EXPECT_EQ(read_chain("amd_chain/vcek/Milan", chain({1, 0})), "collateral_mismatch");
  EXPECT_EQ(read_chain("amd_chain/vcek/Milan", chain({0})), "collateral_malformed");
  EXPECT_EQ(read_chain("amd_chain/vcek/Milan", chain({0, 1, 2})), "collateral_malformed");
}

// --- a chip's certificate, one part wrong at a time ---

/// A VCEK as AMD issues them, but under a key of our own: who signed it is not what is read here.
struct VcekPlan {
  std::string common_name = "SEV-VCEK";
  std::string product = "Milan-B0";
  Bytes hwid = Bytes(64, 0xAB);
  std::vector<std::pair<std::string, Bytes>> versions{{"3.1", codec::der::integer(3)},  {"3.2", codec::der::integer(0)},
                                                      {"3.3", codec::der::integer(22)}, {"3.8", codec::der::integer(213)}};

  [[nodiscard]] Bytes build() const {
    const auto key = crypto::EcPrivateKey::derive(crypto::Curve::p384, as_bytes("chip"), as_bytes("VCEK"));
    const auto name = crypto::x509::encode_name({.common_name = common_name, .organization = {}, .locality = {}, .state = {}, .country = {}});
    crypto::x509::CertificateSpec spec{.serial = {1}, .issuer = name, .subject = name, .not_before = kBegin, .not_after = kBegin + 24h * 2555, .key = key.public_key()};
    const auto add = [&spec](const std::string& arc, Bytes value) {
      spec.extensions.push_back({codec::der::oid("1.3.6.1.4.1.3704.1." + arc), false, std::move(value)});
    };
    if (!product.empty()) add("2", codec::der::element(codec::der::tag::kIa5String, as_bytes(product)));
    for (const auto& [arc, value] : versions) add(arc, value);
    if (!hwid.empty()) add("4", hwid);
    return crypto::x509::issue_certificate(spec, key);
  }
  static inline const UnixTime kBegin = *from_civil(2026, 1, 1, 0, 0, 0);
};

const Key kVcek = key_of("vcek/Milan/" + codec::to_hex(Bytes(64, 0xAB)) + "/bl3-tee0-snp22-ucode213");

std::string vcek_refusal(const VcekPlan& plan, const Key& key = kVcek) {
  const auto document = read_document(key, plan.build(), {});
  return document ? "none" : std::string{to_string(document.error().code())};
}

TEST(Vcek, IsReadInBothFormsOfItsHwid) {
  VcekPlan plan;
  EXPECT_EQ(vcek_refusal(plan), "none");
  plan.hwid = codec::der::octet_string(plan.hwid);
  EXPECT_EQ(vcek_refusal(plan), "none");
  const auto pem = codec::to_pem("CERTIFICATE", plan.build());
  EXPECT_TRUE(read_document(kVcek, as_bytes(pem), {}).ok());
}

TEST(Vcek, OfTurinHasItsLayout) {
  VcekPlan plan;
  plan.product = "Turin-B1";
  plan.hwid = Bytes(8, 0xAB);
  plan.versions.emplace_back("3.9", codec::der::integer(1));
  const auto key = key_of("vcek/Turin/" + codec::to_hex(plan.hwid) + "/fmc1-bl3-tee0-snp22-ucode213");
  EXPECT_EQ(vcek_refusal(plan, key), "none");
  plan.versions.pop_back();
  EXPECT_EQ(vcek_refusal(plan, key), "collateral_malformed");
}

TEST(Vcek, WantsEachOfItsParts) {
  const auto refusal_after = [](auto change) {
    VcekPlan plan;
    change(plan);
    return vcek_refusal(plan);
  };
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.common_name = "SEV-VLEK"; }), "collateral_malformed");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.product = ""; }), "collateral_malformed");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.product = "Rome"; }), "collateral_malformed");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.product = "Genoa"; }), "collateral_mismatch");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.hwid = {}; }), "collateral_malformed");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.hwid.pop_back(); }), "collateral_malformed");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.hwid = codec::der::octet_string(Bytes(8, 0xAB)); }), "collateral_malformed");
  EXPECT_EQ(refusal_after([](VcekPlan& p) { p.hwid[63] ^= 1; }), "collateral_mismatch");
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(refusal_after([i](VcekPlan& p) { p.versions.erase(p.versions.begin() + static_cast<std::ptrdiff_t>(i)); }), "collateral_malformed");
    EXPECT_EQ(refusal_after([i](VcekPlan& p) { p.versions[i].second = codec::der::integer(256); }), "collateral_malformed");
    EXPECT_EQ(refusal_after([i](VcekPlan& p) { p.versions[i].second = codec::der::null(); }), "collateral_malformed");
    EXPECT_EQ(refusal_after([i](VcekPlan& p) { p.versions[i].second = codec::der::integer(99); }), "collateral_mismatch");
  }
}

// --- waiting ---

std::optional<std::chrono::seconds> wait_of(std::string value) {
  return retry_after({.status = 429, .headers = {{"Retry-After", std::move(value)}}, .body = {}}, *from_civil(1994, 11, 6, 8, 49, 0));
}

TEST(RetryAfter, IsSecondsOrADate) {
  EXPECT_EQ(wait_of("0"), 0s);
  EXPECT_EQ(wait_of("120"), 120s);
  EXPECT_EQ(wait_of("Sun, 06 Nov 1994 08:49:37 GMT"), 37s);
  EXPECT_EQ(wait_of("Sun, 06 Nov 1994 08:48:00 GMT"), 0s);
  EXPECT_EQ(wait_of("86401"), 86400s);
  EXPECT_EQ(wait_of("Mon, 06 Nov 1995 08:49:37 GMT"), 86400s);
}

TEST(RetryAfter, IsNothingWhenItCannotBeRead) {
  for (const auto* value : {"", "-1", "1.5", "99999999999", "soon", "Sun, 06 Nov 1994 08:49:37 UTC", "Mon, 06 Nov 1994 08:49:37 GMT",
                            "Sun, 31 Feb 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"}) {
    EXPECT_EQ(wait_of(value), std::nullopt) << value;
  }
  EXPECT_EQ(retry_after({.status = 429, .headers = {}, .body = {}}, UnixTime{}), std::nullopt);
}

TEST(HttpDate, IsWrittenAsItIsRead) {
  for (const auto* text : {"Thu, 01 Jan 1970 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "Tue, 29 Feb 2028 23:59:59 GMT"}) {
    const auto time = parse_http_date(text);
    ASSERT_TRUE(time.has_value()) << text;
    EXPECT_EQ(to_http_date(*time), text);
  }
}

TEST(BackOff, DoublesUpToFiveMinutes) {
  EXPECT_EQ(back_off(1), 1s);
  EXPECT_EQ(back_off(2), 2s);
  EXPECT_EQ(back_off(9), 256s);
  EXPECT_EQ(back_off(10), 300s);
  EXPECT_EQ(back_off(4'000'000'000U), 300s);
}

// --- age ---

const UnixTime kIssued = *from_civil(2026, 1, 1, 0, 0, 0);

Entry entry_of(Key key) {
  Entry out;
  out.document.key = std::move(key);
  out.document.issued = out.fetched = out.checked = kIssued;
  out.document.expires = kIssued + 24h * 30;
  return out;
}

TEST(Age, FollowsTheLastCheckAndTheEnd) {
  const Freshness freshness{.refresh_every = 24h, .refresh_ahead = 72h, .grace = 2h};
  auto entry = entry_of(kTcb);
  const auto end = entry.document.expires;
  const auto at = [&](UnixTime now) { return age_of(entry, freshness, now); };
  EXPECT_EQ(at(kIssued + 24h - 1us), Age::current);
  EXPECT_EQ(at(kIssued + 24h), Age::due);
  entry.checked = end - 72h - 1s;
  EXPECT_EQ(at(end - 72h - 1us), Age::current);
  EXPECT_EQ(at(end - 72h + 1h), Age::due);  // nearer to the end, every hour
  entry.checked = end - 1h;
  EXPECT_EQ(at(end - 1us), Age::current);
  EXPECT_EQ(at(end), Age::expired);
  EXPECT_EQ(at(end + 2h - 1us), Age::expired);
  EXPECT_EQ(at(end + 2h), Age::gone);
}

TEST(Age, HasNoGraceByDefault) {
  const auto entry = entry_of(kTcb);
  EXPECT_EQ(age_of(entry, {}, entry.document.expires), Age::gone);
}

TEST(Age, OfAShortLivedDocumentHastensInItsSecondHalfOnly) {
  auto entry = entry_of(kTcb);
  entry.document.expires = kIssued + 48h;
  entry.checked = kIssued + 20h;
  EXPECT_EQ(age_of(entry, {}, kIssued + 23h), Age::current);
  EXPECT_EQ(age_of(entry, {}, kIssued + 24h), Age::due);
}

TEST(Age, TakesACheckInTheFutureForNone) {
  const auto entry = entry_of(kTcb);
  EXPECT_EQ(age_of(entry, {}, kIssued - 1us), Age::due);
}

TEST(Age, OfWhatNeverChangesIsCurrentUntilItsEnd) {
  const auto entry = entry_of(key_of("amd_chain/vcek/Milan"));
  EXPECT_EQ(age_of(entry, {}, entry.document.expires - 1us), Age::current);
  EXPECT_EQ(age_of(entry, {}, entry.document.expires), Age::gone);
}

}  // namespace
}  // namespace cloister::collateral
