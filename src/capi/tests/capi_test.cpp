#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral/bundle.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/verdict/verdict.hpp"
#include "cloister_verify.h"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister {
namespace {

namespace json = codec::json;
using evidence::TeeType;
using test::SyntheticEvidence;
using test::SyntheticPlatform;

struct Answer {
  std::int32_t code;
  std::string text;

  [[nodiscard]] json::Value object() const {
    const auto value = json::parse(text);
    EXPECT_TRUE(value.ok()) << text;
    return value ? *value : json::Value{};
  }
  [[nodiscard]] std::string error_code() const {
    const auto value = object();
    const auto* error = value.find("error");
    const auto* code_of = error == nullptr ? nullptr : error->find("code");
    return code_of == nullptr || code_of->as_string() == nullptr ? "" : *code_of->as_string();
  }
};

Answer ask(const cloister_verify_request& request) {
  char* result = nullptr;
  const auto code = cloister_verify_evidence(&request, &result);
  Answer out{code, result == nullptr ? "" : result};
  cloister_verify_free(result);
  return out;
}

cloister_verify_bytes view(ByteView bytes) { return {bytes.data(), bytes.size()}; }
cloister_verify_bytes view(std::string_view text) { return view(as_bytes(text)); }

std::int64_t seconds(UnixTime time) { return to_micros(time) / 1'000'000; }

/// A request, and what it points to.
struct Asked {
  Bytes evidence;
  std::vector<std::string> documents;
  std::vector<std::string> certificates;
  std::vector<std::string> roots;
  std::vector<std::string> lab_roots;
  std::optional<std::string> tee;
  Bytes report_data;
  Bytes nonce;
  std::string policy;
  std::int64_t time = seconds(SyntheticPlatform::now());
  cloister_verify_cache* cache = nullptr;
  std::vector<cloister_verify_document> document_views;
  std::map<const std::vector<std::string>*, std::vector<cloister_verify_bytes>> views;

  const std::vector<cloister_verify_bytes>& views_of(const std::vector<std::string>& texts) {
    auto& out = views[&texts];
    out.clear();
    for (const auto& text : texts) out.push_back(view(text));
    return out;
  }
  /// Valid while this is, and is not changed.
  cloister_verify_request request() {
    cloister_verify_request out{};
    out.struct_size = sizeof out;
    out.evidence = view(evidence);
    if (tee) out.tee = tee->c_str();
    document_views.clear();
    for (const auto& text : documents) document_views.push_back({nullptr, view(text)});
    out.collateral = document_views.data();
    out.collateral_count = document_views.size();
    out.certificates = views_of(certificates).data();
    out.certificate_count = certificates.size();
    out.roots = views_of(roots).data();
    out.root_count = roots.size();
    out.lab_roots = views_of(lab_roots).data();
    out.lab_root_count = lab_roots.size();
    out.time = time;
    if (!report_data.empty()) out.report_data = view(report_data);
    if (!nonce.empty()) out.nonce = view(nonce);
    if (!policy.empty()) out.policy = view(policy);
    out.cache = cache;
    return out;
  }
  Answer answer() { return ask(request()); }
};

Asked asked_of(const SyntheticEvidence& built) {
  Asked out;
  out.evidence = built.quote;
  out.documents = {evidence::write_quote_collateral(built.collateral)};
  out.roots = {codec::to_pem("CERTIFICATE", built.root->der)};
  return out;
}

Asked of_platform(TeeType tee = TeeType::tdx) { return asked_of(SyntheticPlatform{tee}.build()); }

/// What the verifier itself says, without this interface between.
std::string judged_directly(ByteView evidence, const evidence::QuoteCollateral& collateral, const verdict::Terms& terms) {
  const auto find = [&](const evidence::Quote&) { return verdict::shared(evidence::parse_documents(collateral)); };
  const auto judged = verdict::judge(evidence, "", terms, {find, {}});
  EXPECT_TRUE(judged.ok());
  return json::write(verdict::to_json(*judged));
}

TEST(VerifyEvidence, AcceptsWhatTheVerifierAccepts) {
  for (const auto tee : {TeeType::sgx, TeeType::tdx}) {
    const auto built = SyntheticPlatform{tee}.build();
    const auto answer = asked_of(built).answer();
    EXPECT_EQ(answer.code, CLOISTER_VERIFY_ACCEPTED);
    attestation::TrustAnchors anchors;
    anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
    const verdict::Terms terms{anchors, SyntheticPlatform::now(), std::nullopt, {}};
    EXPECT_EQ(answer.text, judged_directly(built.quote, built.collateral, terms));
  }
}

TEST(VerifyEvidence, TakesSnpReportsWithCertificatesGivenEitherWay) {
  const auto built = test::SyntheticSnp{}.build();
  Asked asked;
  asked.evidence = built.report;
  asked.time = seconds(test::SyntheticSnp::now());
  asked.roots = {codec::to_pem("CERTIFICATE", built.root->der)};
  EXPECT_EQ(asked.answer().error_code(), "collateral_missing");
  std::vector<std::string> certificates;
  for (const auto& one : built.endorsements.certificates) certificates.push_back(codec::to_pem("CERTIFICATE", one->der));
  asked.certificates = certificates;
  const auto by_certificates = asked.answer();
  EXPECT_EQ(by_certificates.code, CLOISTER_VERIFY_ACCEPTED) << by_certificates.text;
  asked.certificates.clear();
  asked.documents = certificates;
  const auto by_documents = asked.answer();
  EXPECT_EQ(by_documents.code, CLOISTER_VERIFY_ACCEPTED) << by_documents.text;
  asked.evidence[0x90] ^= 1;  // the measurement
  const auto changed = asked.answer();
  EXPECT_EQ(changed.code, CLOISTER_VERIFY_REJECTED);
}

TEST(VerifyEvidence, TrustsOnlyTheVendorsByDefault) {
  auto asked = of_platform();
  asked.roots.clear();
  const auto answer = asked.answer();
  EXPECT_EQ(answer.code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(answer.error_code(), "root_untrusted");
}

TEST(VerifyEvidence, TrustsALabOnlyWhereItIsCalledOne) {
  SyntheticPlatform platform;
  platform.make_lab();
  auto asked = asked_of(platform.build());
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(asked.answer().error_code(), "lab_root_not_trusted");
  asked.lab_roots = std::move(asked.roots);
  asked.roots.clear();
  const auto answer = asked.answer();
  EXPECT_EQ(answer.code, CLOISTER_VERIFY_ACCEPTED) << answer.text;
  EXPECT_EQ(*answer.object().find("lab"), json::Value{true});
}

TEST(VerifyEvidence, RefusesAsALabsRootWhatIsNone) {
  auto asked = of_platform();
  asked.lab_roots = asked.roots;
  const auto answer = asked.answer();
  EXPECT_EQ(answer.code, CLOISTER_VERIFY_USAGE_ERROR);
  EXPECT_EQ(answer.error_code(), "root_untrusted");
}

TEST(VerifyEvidence, TakesRootsInDer) {
  const auto built = SyntheticPlatform{}.build();
  auto asked = asked_of(built);
  asked.roots = {std::string{as_text(built.root->der)}};
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
}

TEST(VerifyEvidence, UsesTheCallersTime) {
  auto asked = of_platform();
  asked.time = 0;
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  asked.time = CLOISTER_VERIFY_MAX_TIME;
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  for (const auto time : {std::int64_t{-1}, std::int64_t{CLOISTER_VERIFY_MAX_TIME} + 1}) {
    asked.time = time;
    EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_USAGE_ERROR);
  }
}

TEST(VerifyEvidence, ChecksReportDataAndNonce) {
  SyntheticPlatform platform;
  platform.td().report_data = Digest64{1, 2, 3};
  auto asked = asked_of(platform.build());
  EXPECT_EQ(*asked.answer().object().find("bound"), json::Value{false});
  asked.nonce = {1, 2, 3};
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
  EXPECT_EQ(*asked.answer().object().find("bound"), json::Value{true});
  asked.nonce = {1, 2, 4};
  EXPECT_EQ(asked.answer().error_code(), "report_data_mismatch");
  asked.nonce.clear();
  asked.report_data = to_bytes(platform.td().report_data);
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
  asked.report_data.back() ^= 1;
  EXPECT_EQ(asked.answer().error_code(), "report_data_mismatch");
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
}

TEST(VerifyEvidence, AppliesThePolicy) {
  auto asked = of_platform();
  asked.policy = R"({"version":1,"min_evaluation_data_number":1000000})";
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(asked.answer().error_code(), "evaluation_data_number_too_low");
}

TEST(VerifyEvidence, RefusesAnotherTee) {
  auto asked = of_platform();
  asked.tee = "tdx";
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
  asked.tee = "sgx";
  EXPECT_EQ(asked.answer().error_code(), "evidence_unsupported");
}

TEST(VerifyEvidence, RejectsWithoutCollateral) {
  auto asked = of_platform();
  asked.documents.clear();
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(asked.answer().error_code(), "collateral_missing");
}

TEST(VerifyEvidence, RejectsCollateralThatCannotBeRead) {
  auto asked = of_platform();
  asked.documents = {"{"};
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(asked.answer().error_code(), "collateral_malformed");
}

TEST(VerifyEvidence, PutsSeveralDocumentsTogether) {
  const auto built = SyntheticPlatform{}.build();
  auto asked = asked_of(built);
  const auto& c = built.collateral;
  const auto signed_document = [](std::string_view name, const std::string& body, ByteView signature) {
    return "{\"" + std::string{name} + "\":" + body + ",\"signature\":\"" + codec::to_hex(signature) + "\"}";
  };
  asked.documents = {signed_document("tcbInfo", c.tcb_info, c.tcb_info_signature), c.tcb_info_issuer_chain,
                     signed_document("enclaveIdentity", c.qe_identity, c.qe_identity_signature), c.qe_identity_issuer_chain,
                     codec::to_pem("X509 CRL", c.root_ca_crl), std::string{as_text(c.pck_crl)}, c.pck_crl_issuer_chain};
  const auto answer = asked.answer();
  EXPECT_EQ(answer.code, CLOISTER_VERIFY_ACCEPTED) << answer.text;
  asked.documents.erase(asked.documents.begin());
  EXPECT_EQ(asked.answer().error_code(), "collateral_missing");
}

TEST(VerifyEvidence, TakesCertificatesForEvidenceWithoutAny) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto chain = platform.pck_chain();
  platform.certification = evidence::CertificationData{evidence::CertificationType::ppid_plain, Bytes(36)};
  auto asked = asked_of(platform.build());
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  asked.certificates = {chain};
  const auto answer = asked.answer();
  EXPECT_EQ(answer.code, CLOISTER_VERIFY_ACCEPTED) << answer.text;
}

TEST(VerifyEvidence, RejectsEvidenceThatIsEmptyOrTooLarge) {
  auto asked = of_platform();
  auto request = asked.request();
  request.evidence.size = 0;
  EXPECT_EQ(ask(request).code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(ask(request).error_code(), "evidence_malformed");
  const Bytes large(CLOISTER_VERIFY_MAX_EVIDENCE + 1);
  request.evidence = view(large);
  EXPECT_EQ(ask(request).code, CLOISTER_VERIFY_REJECTED);
  EXPECT_EQ(ask(request).error_code(), "limit_exceeded");
}

/// One thing that is wrong with a request, and what it is called.
struct Mistake {
  const char* name;
  void (*make)(cloister_verify_request&);
  std::string_view code;
};

std::uint8_t one_byte = 0x7B;
const cloister_verify_bytes kNullWithSize{nullptr, 1};
const cloister_verify_bytes kText{&one_byte, 1};
const cloister_verify_bytes kLargeCertificate{&one_byte, CLOISTER_VERIFY_MAX_CERTIFICATE + 1U};  // its size alone is read
const cloister_verify_document kNullDocument{"a", {nullptr, 1}};
const cloister_verify_document kLargeDocument{"a", {&one_byte, CLOISTER_VERIFY_MAX_DOCUMENT + 1U}};

class RequestMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(RequestMistakes, AreUsageErrors) {
  auto asked = of_platform();
  auto request = asked.request();
  ASSERT_EQ(ask(request).code, CLOISTER_VERIFY_ACCEPTED);
  GetParam().make(request);
  const auto answer = ask(request);
  EXPECT_EQ(answer.code, CLOISTER_VERIFY_USAGE_ERROR);
  EXPECT_EQ(answer.error_code(), GetParam().code) << answer.text;
  EXPECT_EQ(answer.object().find("verdict"), nullptr);
}

using R = cloister_verify_request;
void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.name; }
INSTANTIATE_TEST_SUITE_P(
    All, RequestMistakes,
    testing::Values(
        Mistake{"no_size", [](R& r) { r.struct_size = 0; }, "invalid_argument"},
        Mistake{"small_size", [](R& r) { r.struct_size -= 1; }, "invalid_argument"},
        Mistake{"huge_size", [](R& r) { r.struct_size = SIZE_MAX; }, "invalid_argument"},
        Mistake{"no_evidence", [](R& r) { r.evidence = {}; }, "invalid_argument"},
        Mistake{"null_evidence", [](R& r) { r.evidence = kNullWithSize; }, "invalid_argument"},
        Mistake{"unknown_tee", [](R& r) { r.tee = "cca"; }, "invalid_argument"},
        Mistake{"empty_tee", [](R& r) { r.tee = ""; }, "invalid_argument"},
        Mistake{"null_collateral", [](R& r) { r.collateral = nullptr; }, "invalid_argument"},
        Mistake{"null_document", [](R& r) { r.collateral = &kNullDocument; }, "invalid_argument"},
        Mistake{"large_document", [](R& r) { r.collateral = &kLargeDocument; }, "limit_exceeded"},
        Mistake{"many_documents", [](R& r) { r.collateral_count = CLOISTER_VERIFY_MAX_DOCUMENTS + 1; }, "limit_exceeded"},
        Mistake{"null_certificates", [](R& r) { r.certificates = nullptr; r.certificate_count = 1; }, "invalid_argument"},
        Mistake{"certificate_that_is_none", [](R& r) { r.certificates = &kText; r.certificate_count = 1; },
                "certificate_malformed"},
        Mistake{"null_roots", [](R& r) { r.roots = nullptr; }, "invalid_argument"},
        Mistake{"null_root", [](R& r) { r.roots = &kNullWithSize; }, "invalid_argument"},
        Mistake{"large_root", [](R& r) { r.roots = &kLargeCertificate; }, "limit_exceeded"},
        Mistake{"many_roots", [](R& r) { r.root_count = CLOISTER_VERIFY_MAX_CERTIFICATES + 1; }, "limit_exceeded"},
        Mistake{"null_lab_roots", [](R& r) { r.lab_roots = nullptr; r.lab_root_count = 1; }, "invalid_argument"},
        Mistake{"report_data_of_63", [](R& r) { r.report_data = {r.evidence.data, 63}; }, "invalid_argument"},
        Mistake{"report_data_of_65", [](R& r) { r.report_data = {r.evidence.data, 65}; }, "limit_exceeded"},
        Mistake{"empty_report_data", [](R& r) { r.report_data = {r.evidence.data, 0}; }, "invalid_argument"},
        Mistake{"null_report_data", [](R& r) { r.report_data = kNullWithSize; }, "invalid_argument"},
        Mistake{"nonce_of_65", [](R& r) { r.nonce = {r.evidence.data, 65}; }, "limit_exceeded"},
        Mistake{"empty_nonce", [](R& r) { r.nonce = {r.evidence.data, 0}; }, "invalid_argument"},
        Mistake{"nonce_and_report_data",
                [](R& r) {
                  r.nonce = {r.evidence.data, 8};
                  r.report_data = {r.evidence.data, 64};
                },
                "invalid_argument"},
        Mistake{"policy_that_is_none", [](R& r) { r.policy = kText; }, "policy_invalid"},
        Mistake{"empty_policy", [](R& r) { r.policy = {&one_byte, 0}; }, "policy_invalid"},
        Mistake{"null_policy", [](R& r) { r.policy = kNullWithSize; }, "invalid_argument"},
        Mistake{"large_policy", [](R& r) { r.policy = {&one_byte, CLOISTER_VERIFY_MAX_POLICY + 1U}; }, "limit_exceeded"}),
    [](const auto& param) { return param.param.name; });

TEST(VerifyEvidence, RefusesMoreCollateralThanItsLimit) {
  auto asked = of_platform();
  const Bytes large(CLOISTER_VERIFY_MAX_DOCUMENT);
  const std::vector<cloister_verify_document> documents(6, cloister_verify_document{nullptr, view(large)});
  auto request = asked.request();
  request.collateral = documents.data();
  request.collateral_count = documents.size();
  EXPECT_EQ(ask(request).code, CLOISTER_VERIFY_USAGE_ERROR);
  EXPECT_EQ(ask(request).error_code(), "limit_exceeded");
}

using CachePtr = std::unique_ptr<cloister_verify_cache, decltype(&cloister_verify_cache_free)>;
CachePtr new_cache() { return {cloister_verify_cache_new(), &cloister_verify_cache_free}; }

/// With a cache that has seen it all: what is said without one.
void expect_same_when_known(Asked asked, const CachePtr& cache) {
  const auto cold = asked.answer();
  asked.cache = cache.get();
  for (int i = 0; i < 2; ++i) {
    const auto warm = asked.answer();
    EXPECT_EQ(warm.code, cold.code);
    EXPECT_EQ(warm.text, cold.text);
  }
}

TEST(Cache, ChangesNoVerdict) {
  const auto cache = new_cache();
  ASSERT_NE(cache, nullptr);
  const auto built = SyntheticPlatform{}.build();
  const auto asked = asked_of(built);
  expect_same_when_known(asked, cache);
  const auto expect_refused = [&](Asked other, std::string_view code) {
    other.cache = cache.get();
    EXPECT_EQ(other.answer().code, CLOISTER_VERIFY_REJECTED) << code;
    EXPECT_EQ(other.answer().error_code(), code);
    expect_same_when_known(other, cache);
    expect_same_when_known(asked, cache);
  };
  auto other = asked;
  other.evidence[200] ^= 1;
  expect_refused(other, "quote_signature_invalid");
  other = asked;
  other.roots.clear();
  expect_refused(other, "root_untrusted");
  other = asked;
  other.time = seconds(SyntheticPlatform::now() + std::chrono::hours{24 * 17});
  expect_refused(other, "pck_crl_expired");
  other = asked;
  other.policy = R"({"version":1,"min_evaluation_data_number":1000000})";
  expect_refused(other, "evaluation_data_number_too_low");
  other = asked;
  other.nonce = {1, 2, 4};
  expect_refused(other, "report_data_mismatch");
  other = asked;
  other.documents.clear();
  expect_refused(other, "collateral_missing");
  other = asked;
  other.documents.front().resize(other.documents.front().size() / 2);
  expect_refused(other, "collateral_malformed");
}

TEST(Cache, TellsCertificatesFromRoots) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto chain = platform.pck_chain();
  platform.certification = evidence::CertificationData{evidence::CertificationType::ppid_plain, Bytes(36)};
  const auto cache = new_cache();
  auto asked = asked_of(platform.build());
  asked.cache = cache.get();
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_REJECTED);
  asked.certificates = {chain};
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
  std::swap(asked.certificates, asked.roots);
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_USAGE_ERROR);  // no leaf is a root
  std::swap(asked.certificates, asked.roots);
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
}

TEST(Cache, ChangesNoVerdictOfSnpReports) {
  const auto cache = new_cache();
  const auto built = test::SyntheticSnp{}.build();
  Asked asked;
  asked.evidence = built.report;
  asked.time = seconds(test::SyntheticSnp::now());
  asked.roots = {codec::to_pem("CERTIFICATE", built.root->der)};
  for (const auto& one : built.endorsements.certificates) {
    asked.documents.push_back(codec::to_pem("CERTIFICATE", one->der));
  }
  expect_same_when_known(asked, cache);
  asked.cache = cache.get();
  EXPECT_EQ(asked.answer().code, CLOISTER_VERIFY_ACCEPTED);
  asked.evidence[0x90] ^= 1;
  EXPECT_EQ(asked.answer().error_code(), "report_signature_invalid");
}

TEST(Cache, PutsSeveralDocumentsTogetherForEachPlatform) {
  const auto cache = new_cache();
  std::vector<Asked> platforms;
  std::vector<std::string> all;
  for (const auto fmspc : {std::uint8_t{1}, std::uint8_t{2}}) {
    SyntheticPlatform platform;
    platform.platform->fmspc = platform.tcb_info.fmspc = {0, fmspc, 6, 0, 0, 0};
    platforms.push_back(asked_of(platform.build()));
    all.push_back(platforms.back().documents.front());
  }
  for (auto& asked : platforms) {
    asked.documents = all;
    asked.roots = {platforms[0].roots.front(), platforms[1].roots.front()};
    asked.cache = cache.get();
    const auto answer = asked.answer();
    EXPECT_EQ(answer.code, CLOISTER_VERIFY_ACCEPTED) << answer.text;
    EXPECT_EQ(asked.answer().text, answer.text);
  }
}

TEST(Cache, MayBeReleasedOrNeverMade) {
  cloister_verify_cache_free(nullptr);
  cloister_verify_cache_free(cloister_verify_cache_new());
}

/// Every quote of the public table under every bundle, from four threads at once, half of the calls with one cache: each
/// the object that the verifier gives alone.
TEST(VerifyEvidence, SaysTheSameFromEveryThread) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto base = folder / "attestation/dcap-cases";
  const auto cases = json::parse(test::read_text(base / "cases.json"));
  ASSERT_TRUE(cases.ok());
  struct Expected {
    Asked asked;
    std::string text;
  };
  std::vector<Expected> all;
  for (const auto& one : *cases->as_array()) {
    Asked asked;
    asked.evidence = test::read_file(base / *one.find("quote")->as_string());
    asked.documents = {test::read_text(base / *one.find("bundle")->as_string())};
    asked.time = *one.find("time")->as_int();
    const verdict::Terms terms{attestation::TrustAnchors::vendors(), UnixTime{std::chrono::seconds{asked.time}}, {}, {}};
    auto text = judged_directly(asked.evidence, *evidence::parse_quote_collateral(asked.documents.front()), terms);
    all.push_back({std::move(asked), std::move(text)});
  }
  ASSERT_GE(all.size(), 45U);
  std::set<std::string> verdicts;
  for (const auto& one : all) verdicts.insert(one.text);
  EXPECT_GT(verdicts.size(), 30U);  // the cases are not one case

  constexpr std::size_t kThreads = 4;
  std::vector<std::vector<std::string>> answers(kThreads);
  const auto cache = new_cache();
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&all, &mine = answers[t], &cache, t] {
        for (std::size_t i = 0; i < all.size(); ++i) {
          auto asked = all[(i + t * 11) % all.size()].asked;
          if (t % 2 == 0) asked.cache = cache.get();
          mine.push_back(asked.answer().text);
        }
      });
    }
  }
  for (std::size_t t = 0; t < kThreads; ++t) {
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(answers[t][i], all[(i + t * 11) % all.size()].text);
  }
}

std::pair<int, std::string> run(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe{::popen(command.c_str(), "r"), ::pclose};
  std::string out;
  std::array<char, 4096> part{};
  while (const auto got = std::fread(part.data(), 1, part.size(), pipe.get())) out.append(part.data(), got);
  const int status = ::pclose(pipe.release());
  return {WEXITSTATUS(status), out};
}

TEST(SharedLibrary, ExportsItsFunctionsAndNothingElse) {
  const auto [code, out] = run("nm --dynamic --defined-only --format=posix " CLOISTER_CLOISTER_VERIFY);
  ASSERT_EQ(code, 0);
  std::istringstream lines{out};
  std::set<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    const auto name = line.substr(0, line.find(' '));
    if (line.find(" A ") == std::string::npos) names.insert(name.substr(0, name.find('@')));  // A: the version itself
  }
  EXPECT_THAT(names, testing::ElementsAre("cloister_verify_abi_version", "cloister_verify_cache_free",
                                          "cloister_verify_cache_new", "cloister_verify_evidence", "cloister_verify_free"));
}

TEST(SharedLibrary, IsUsableFromC) {
  const auto [code, out] = run(CLOISTER_CAPI_C_TEST);
  EXPECT_EQ(code, 0) << out;
  EXPECT_EQ(out, "ok\n");
}

TEST(Example, PrintsTheVerdict) {
  const test::TempDir folder;
  const auto built = SyntheticPlatform{}.build();
  auto asked = asked_of(built);
  const auto write = [&](const char* name, std::string_view text) {
    std::ofstream{folder.path() / name, std::ios::binary} << text;
    return " " + (folder.path() / name).string();
  };
  const auto files = write("quote", as_text(built.quote)) + write("collateral", asked.documents.front()) + " " +
                     std::to_string(asked.time);
  const auto root = write("root", asked.roots.front());
  const auto [accepted, text] = run(CLOISTER_VERIFY_C_EXAMPLE + files + root);
  EXPECT_EQ(accepted, 0);
  EXPECT_EQ(text, asked.answer().text + "\n");
  EXPECT_EQ(run(CLOISTER_VERIFY_C_EXAMPLE + files).first, 2);
  EXPECT_EQ(run(CLOISTER_VERIFY_C_EXAMPLE + files + " /nonexistent 2>/dev/null").first, 1);
  EXPECT_EQ(run(std::string{CLOISTER_VERIFY_C_EXAMPLE} + " 2>/dev/null").first, 1);
}

}  // namespace
}  // namespace cloister
