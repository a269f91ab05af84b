#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/policy/trust_file.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::cli {
namespace {

namespace json = codec::json;
using evidence::TeeType;
using test::SyntheticPlatform;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;

  [[nodiscard]] json::Value json() const {
    const auto value = json::parse(out);
    EXPECT_TRUE(value.ok()) << out << err;
    return value ? *value : json::Value{};
  }
};

/// A member of nested objects as text: "tcb.status".
std::string at(const json::Value& value, std::string_view path) {
  const auto dot = path.find('.');
  const auto* member = value.find(path.substr(0, dot));
  if (member == nullptr) return "absent";
  if (dot != std::string_view::npos) return at(*member, path.substr(dot + 1));
  return member->as_string() != nullptr ? *member->as_string() : json::write(*member);
}

/// The files of one platform, and no configuration of the user's own.
class VerifyCommand : public testing::Test {
 protected:
  VerifyCommand() {
    ::setenv("XDG_CONFIG_HOME", (folder_.path() / "config").c_str(), 1);
    use(SyntheticPlatform{});
  }
  ~VerifyCommand() override { ::unsetenv("XDG_CONFIG_HOME"); }

  void write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    std::ofstream{folder_.path() / name, std::ios::binary} << text;
  }
  void use(const SyntheticPlatform& platform) {
    built_ = platform.build();
    write("quote", as_text(built_.quote));
    write("collateral", evidence::write_quote_collateral(built_.collateral));
    write("root.pem", codec::to_pem("CERTIFICATE", built_.root->der));
  }
  void use_lab() {
    SyntheticPlatform platform;
    platform.make_lab();
    use(platform);
    policy::TrustFile trust;
    trust.lab_roots = {built_.root};
    write("trust.json", policy::write_trust_file(trust));
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  [[nodiscard]] static Ran run(std::vector<std::string> arguments) {
    const test::FakeClock clock{SyntheticPlatform::now()};
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli::run(std::move(arguments), out, err, clock);
    return {code, out.str(), err.str()};
  }
  /// `verify` of the platform's files with --json, and what is given here.
  [[nodiscard]] Ran verify(std::vector<std::string> more) const {
    std::vector<std::string> all{"verify", "--evidence", path("quote"), "--collateral", path("collateral"), "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return run(std::move(all));
  }
  [[nodiscard]] Ran verify_trusting(std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--trust-root", path("root.pem")});
    return verify(std::move(more));
  }
  static void expect_rejected(const Ran& ran, std::string_view error) {
    EXPECT_EQ(ran.code, kRejected) << ran.err;
    EXPECT_EQ(at(ran.json(), "verdict"), "rejected");
    EXPECT_EQ(at(ran.json(), "error.code"), error);
  }
  static void expect_accepted(const Ran& ran) {
    EXPECT_EQ(ran.code, kOk) << ran.err << ran.out;
    EXPECT_EQ(at(ran.json(), "verdict"), "accepted");
  }
  static void expect_failed(const Ran& ran) {
    EXPECT_EQ(ran.code, kFailed);
    EXPECT_TRUE(ran.out.empty());
    EXPECT_FALSE(ran.err.empty());
  }

  test::TempDir folder_;
  test::SyntheticEvidence built_;
};

TEST_F(VerifyCommand, PrintsOneObjectWithEveryMember) {
  const auto ran = verify_trusting();
  expect_accepted(ran);
  const auto object = ran.json();
  std::vector<std::string> names;
  for (const auto& [name, value] : *object.as_object()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"verdict", "authentic", "bound", "lab", "tee", "format", "tcb", "collateral",
                                             "checks", "claims", "error"}));
  EXPECT_EQ(at(object, "authentic"), "true");
  EXPECT_EQ(at(object, "bound"), "false");
  EXPECT_EQ(at(object, "lab"), "false");
  EXPECT_EQ(at(object, "tee"), "tdx");
  EXPECT_EQ(at(object, "format"), "quote-v4");
  EXPECT_EQ(at(object, "tcb.status"), "UpToDate");
  EXPECT_EQ(at(object, "tcb.evaluation_data_numbers.tcb_info"), "17");
  EXPECT_EQ(at(object, "collateral.issued"), "2026-01-11T00:00:00Z");
  EXPECT_EQ(at(object, "collateral.expires"), "2026-02-05T00:00:00Z");
  EXPECT_EQ(at(object, "claims.debug"), "false");
  EXPECT_EQ(at(object, "error"), "null");
  for (const auto& check : *object.find("checks")->as_array()) {
    EXPECT_NE(at(check, "id"), "absent");
    EXPECT_NE(at(check, "result"), "fail");
    EXPECT_NE(at(check, "detail"), "absent");
  }
}

TEST_F(VerifyCommand, SaysInPlainWordsWhatAndWhy) {
  const auto accepted = run({"verify", "--evidence", path("quote"), "--collateral", path("collateral"), "--trust-root", path("root.pem")});
  EXPECT_EQ(accepted.code, kOk);
  EXPECT_TRUE(accepted.out.starts_with("accepted: tdx quote-v4, TCB UpToDate\n")) << accepted.out;
  const auto rejected = run({"verify", "--evidence", path("quote"), "--collateral", path("collateral")});
  EXPECT_EQ(rejected.code, kRejected);
  EXPECT_TRUE(rejected.out.starts_with("rejected: tdx quote-v4")) << rejected.out;
  EXPECT_NE(rejected.out.find("root_untrusted"), std::string::npos);
  EXPECT_NE(rejected.out.find("--trust-root"), std::string::npos);
}

TEST_F(VerifyCommand, TakesEvidenceInEveryForm) {
  for (const auto& text : {codec::to_hex(built_.quote), codec::to_base64(built_.quote),
                           R"({"quote":")" + codec::to_base64(built_.quote) + R"("})"}) {
    write("quote", text);
    expect_accepted(verify_trusting());
  }
}

TEST_F(VerifyCommand, ExpectsTheTeeThatIsNamed) {
  expect_accepted(verify_trusting({"--tee", "tdx"}));
  expect_rejected(verify_trusting({"--tee", "sgx"}), "evidence_unsupported");
  expect_failed(verify_trusting({"--tee", "paper"}));
}

TEST_F(VerifyCommand, ReplaysAnEventLog) {
  write("log", "[]");  // the platform's TD extended nothing
  const auto ran = verify_trusting({"--event-log", path("log")});
  expect_accepted(ran);
  EXPECT_EQ(at(ran.json(), "claims.event_log.events"), "0");
  write("log", R"([{"imr":3,"event_type":134217729,"digest":"","event":"app-id","event_payload":"01"}])");
  expect_rejected(verify_trusting({"--event-log", path("log")}), "event_log_mismatch");
  write("log", "no log");
  expect_rejected(verify_trusting({"--event-log", path("log")}), "evidence_malformed");
  expect_failed(verify_trusting({"--event-log", path("absent")}));
}

TEST_F(VerifyCommand, RejectsWhatItCannotRead) {
  write("quote", "nothing of the kind");
  expect_rejected(verify_trusting(), "evidence_malformed");
  write("quote", as_text(ByteView{built_.quote}.first(700)));
  const auto cut = verify_trusting();
  EXPECT_EQ(cut.code, kRejected);
  EXPECT_EQ(at(cut.json(), "tcb.status"), "null");
  write("quote", std::string(2U << 20, 'x'));
  EXPECT_EQ(verify_trusting().code, kRejected);
}

TEST_F(VerifyCommand, RejectsCollateralThatIsNotAsItShouldBe) {
  write("collateral", "{}");
  expect_rejected(verify_trusting(), "collateral_malformed");
  expect_rejected(run({"verify", "--evidence", path("quote"), "--trust-root", path("root.pem"), "--json"}), "collateral_missing");
}

TEST_F(VerifyCommand, FailsForWrongWordsAndFilesThatAreNotThere) {
  expect_failed(run({"verify"}));
  expect_failed(run({"verify", "--surprise"}));
  expect_failed(run({"verify", "--evidence", path("absent"), "--json"}));
  expect_failed(run({"verify", "--evidence", path("quote"), "--collateral", path("absent"), "--json"}));
  expect_failed(verify_trusting({"--at", "yesterday"}));
  expect_failed(verify_trusting({"--report-data", "00"}));
  expect_failed(verify_trusting({"--nonce", "xyz"}));
  expect_failed(verify_trusting({"--nonce", std::string(130, '0')}));
  expect_failed(verify_trusting({"--nonce", "00", "--report-data", std::string(128, '0')}));
  expect_failed(verify_trusting({"--policy", path("absent")}));
  expect_failed(verify_trusting({"--trust", path("absent")}));
  write("trust.json", "{}");
  expect_failed(verify_trusting({"--trust", path("trust.json")}));
  expect_failed(verify({"--trust-root", path("quote")}));
}

TEST_F(VerifyCommand, VerifiesAtTheTimeThatIsGiven) {
  expect_rejected(verify_trusting({"--at", "2026-03-01T00:00:00Z"}), "pck_crl_expired");
  expect_accepted(verify_trusting({"--at", "2026-01-21T12:00:00+01:00"}));
}

TEST_F(VerifyCommand, BindsReportDataAndNonce) {
  const std::string data(128, 'd');
  SyntheticPlatform platform;
  platform.td().report_data.fill(0xDD);
  use(platform);
  const auto bound = verify_trusting({"--report-data", data});
  expect_accepted(bound);
  EXPECT_EQ(at(bound.json(), "bound"), "true");
  const auto refused = verify_trusting({"--report-data", std::string(128, 'e')});
  expect_rejected(refused, "report_data_mismatch");
  EXPECT_EQ(at(refused.json(), "authentic"), "false");

  platform.td().report_data = {1, 2, 3};
  use(platform);
  expect_accepted(verify_trusting({"--nonce", "010203"}));
  expect_rejected(verify_trusting({"--nonce", "0102"}), "report_data_mismatch");
  expect_rejected(verify_trusting({"--nonce", "010204"}), "report_data_mismatch");
}

TEST_F(VerifyCommand, KeepsPolicyApartFromAuthenticity) {
  SyntheticPlatform platform;
  platform.qe_report.isv_svn = 2;
  use(platform);
  const auto rejected = verify_trusting();
  expect_rejected(rejected, "tcb_status_not_accepted");
  EXPECT_EQ(at(rejected.json(), "authentic"), "true");
  EXPECT_EQ(at(rejected.json(), "tcb.status"), "OutOfDate");
  write("policy.json", R"({"version":1,"accepted_statuses":["OutOfDate"]})");
  expect_accepted(verify_trusting({"--policy", path("policy.json")}));
}

TEST_F(VerifyCommand, TakesCertificatesForAQuoteThatBringsNone) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.certification = evidence::CertificationData{evidence::CertificationType::ppid_plain, Bytes(36, 0)};
  use(platform);
  expect_rejected(verify_trusting(), "pck_chain_invalid");
  write("pck.pem", platform.pck_chain());
  expect_accepted(verify_trusting({"--cert", path("pck.pem")}));
}

// --- roots ---

TEST_F(VerifyCommand, TrustsAForeignRootOnlyWhenItIsGiven) {
  expect_rejected(verify({}), "root_untrusted");
  expect_accepted(verify({"--trust-root", path("root.pem")}));
  write("root.der", as_text(built_.root->der));
  expect_accepted(verify({"--trust-root", path("root.der")}));
  policy::TrustFile trust;
  trust.roots = {built_.root};
  write("trust.json", policy::write_trust_file(trust));
  expect_accepted(verify({"--trust", path("trust.json")}));
}

TEST_F(VerifyCommand, ReplacesTheBuiltInRootsByThoseGiven) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto cases = vectors / "attestation/dcap-cases";
  const std::vector<std::string> real{"verify", "--evidence", (cases / "quotes/tdx__dcap-qvl__tdx_quote").string(), "--collateral",
                                      (cases / "bundles/dq-tdx.json").string(), "--at", "2025-06-20T10:32:27Z", "--json"};
  expect_accepted(run(real));
  auto replaced = real;
  replaced.insert(replaced.end(), {"--trust-root", path("root.pem")});
  expect_rejected(run(replaced), "root_untrusted");
}

TEST_F(VerifyCommand, TrustsALabOnlyByATrustFile) {
  use_lab();
  const auto refused = verify({});
  expect_rejected(refused, "lab_root_not_trusted");
  EXPECT_EQ(at(refused.json(), "lab"), "true");
  const auto plain = run({"verify", "--evidence", path("quote"), "--collateral", path("collateral")});
  EXPECT_NE(plain.out.find("--trust FILE"), std::string::npos) << plain.out;
  expect_rejected(verify({"--trust-root", path("root.pem")}), "lab_root_not_trusted");

  const auto accepted = verify({"--trust", path("trust.json")});
  expect_accepted(accepted);
  EXPECT_EQ(at(accepted.json(), "lab"), "true");
  expect_accepted(verify({"--trust-root", path("root.pem"), "--trust", path("trust.json")}));
}

TEST_F(VerifyCommand, UsesTheUsersOwnTrustFile) {
  use_lab();
  write("config/cloister/trust.json", test::read_text(path("trust.json")));
  expect_accepted(verify({}));
  policy::TrustFile nothing;
  write("empty.json", policy::write_trust_file(nothing));
  expect_rejected(verify({"--trust", path("empty.json")}), "lab_root_not_trusted");
}

// --- SEV-SNP ---

/// The files of one chip, as a key distribution service names them.
class VerifySnpCommand : public VerifyCommand {
 protected:
  VerifySnpCommand() { use(test::SyntheticSnp{}); }
  void use(const test::SyntheticSnp& chip) {
    snp_ = chip.build();
    const auto& certificates = snp_.endorsements.certificates;
    write("report", as_text(snp_.report));
    write("vcek.der", as_text(certificates[0]->der));
    write("chain.pem", codec::to_pem("CERTIFICATE", certificates[1]->der) + codec::to_pem("CERTIFICATE", certificates[2]->der));
    write("kds/vcek.der", as_text(certificates[0]->der));
    write("kds/cert_chain", test::read_text(path("chain.pem")));
    if (!snp_.endorsements.crls.empty()) write("kds/crl", as_text(snp_.endorsements.crls[0].der));
    write("root.pem", codec::to_pem("CERTIFICATE", snp_.root->der));
  }
  [[nodiscard]] Ran verify_report(std::vector<std::string> more) const {
    std::vector<std::string> all{"verify", "--evidence", path("report"), "--json", "--trust-root", path("root.pem")};
    all.insert(all.end(), more.begin(), more.end());
    return run(std::move(all));
  }
  [[nodiscard]] std::vector<std::string> with_certificates() const { return {"--cert", path("vcek.der"), "--cert", path("chain.pem")}; }

  test::SyntheticSnpEvidence snp_;
};

TEST_F(VerifySnpCommand, TakesCertificatesInFilesOrADirectory) {
  expect_accepted(verify_report(with_certificates()));
  expect_accepted(verify_report({"--cert", path("vcek.der"), "--collateral", path("chain.pem")}));
  const auto ran = verify_report({"--tee", "snp", "--collateral", path("kds")});
  expect_accepted(ran);
  const auto object = ran.json();
  EXPECT_EQ(at(object, "tee"), "snp");
  EXPECT_EQ(at(object, "format"), "snp-report-v3");
  EXPECT_EQ(at(object, "tcb.status"), "null");
  EXPECT_EQ(at(object, "tcb.reported.microcode"), "219");
  EXPECT_EQ(at(object, "claims.reported_tcb_snp"), "24");
  EXPECT_EQ(at(object, "claims.policy_debug_allowed"), "false");
  EXPECT_EQ(at(object, "claims.platform_smt_enabled"), "true");
  EXPECT_EQ(at(object, "claims.measurement"), codec::to_hex(Bytes(48, 0x3E)));
  EXPECT_EQ(at(object, "claims.init_data"), codec::to_hex(Bytes(32, 0x4D)));
  EXPECT_EQ(at(object, "claims.vek.kind"), "vcek");
  EXPECT_EQ(at(object, "claims.product"), "Milan");
  EXPECT_EQ(at(object, "collateral.expires"), "2027-01-01T00:00:00Z");  // the CRL's
  const auto plain = run({"verify", "--evidence", path("report"), "--trust-root", path("root.pem"), "--collateral", path("kds")});
  EXPECT_TRUE(plain.out.starts_with("accepted: snp snp-report-v3\n")) << plain.out;
}

TEST_F(VerifySnpCommand, SaysWhatIsMissing) {
  expect_rejected(verify_report({}), "collateral_missing");
  expect_rejected(verify_report({"--cert", path("vcek.der")}), "collateral_missing");
  expect_rejected(verify_report({"--cert", path("chain.pem")}), "collateral_missing");
  expect_failed(verify_report({"--cert", path("absent")}));
  expect_failed(verify_report({"--collateral", path("absent")}));
  write("other/file", "nothing of the kind");
  expect_rejected(verify_report({"--collateral", path("other")}), "collateral_missing");
}

TEST_F(VerifySnpCommand, TakesTheCertificatesThatComeWithTheReport) {
  auto extended = snp_.report;
  append(extended, evidence::encode_snp_certificate_table(snp_.endorsements));
  write("report", as_text(extended));
  expect_accepted(verify_report({}));
  write("report", R"({"report":")" + codec::to_base64(snp_.report) + R"(","vcek":")" +
                      codec::to_base64(snp_.endorsements.certificates[0]->der) + R"("})");
  expect_accepted(verify_report({"--cert", path("chain.pem")}));
}

TEST_F(VerifySnpCommand, BindsAndAppraises) {
  auto bound = with_certificates();
  bound.insert(bound.end(), {"--report-data", codec::to_hex(Bytes(64, 0xDA))});
  EXPECT_EQ(at(verify_report(bound).json(), "bound"), "true");
  bound.back() = codec::to_hex(Bytes(64, 0xDB));
  expect_rejected(verify_report(bound), "report_data_mismatch");
  auto judged = with_certificates();
  judged.insert(judged.end(), {"--policy", path("policy.json")});
  write("policy.json", R"({"version":1,"snp":{"min_tcb":{"Milan":{"snp":25}}}})");
  const auto refused = verify_report(judged);
  expect_rejected(refused, "tcb_too_low");
  EXPECT_EQ(at(refused.json(), "authentic"), "true");
  write("policy.json", R"({"version":1,"snp":{"require_crl":true}})");
  expect_rejected(verify_report(judged), "revocation_not_checked");
  expect_accepted(verify_report({"--collateral", path("kds"), "--policy", path("policy.json")}));
}

TEST_F(VerifySnpCommand, TrustsALabOnlyByATrustFile) {
  test::SyntheticSnp chip;
  chip.make_lab();
  use(chip);
  expect_rejected(verify_report({"--collateral", path("kds")}), "lab_root_not_trusted");
  policy::TrustFile trust;
  trust.lab_roots = {snp_.root};
  write("trust.json", policy::write_trust_file(trust));
  const auto ran = verify_report({"--collateral", path("kds"), "--trust", path("trust.json")});
  expect_accepted(ran);
  EXPECT_EQ(at(ran.json(), "lab"), "true");
}

TEST_F(VerifySnpCommand, HasItsReportAndCertificatesTakenApart) {
  const auto report = run({"inspect", path("report"), "--json"});
  EXPECT_EQ(report.code, kOk) << report.err;
  EXPECT_EQ(at(report.json(), "kind"), "snp-report");
  EXPECT_EQ(at(report.json(), "body.reported_tcb_bootloader"), "4");
  const auto vcek = run({"inspect", path("vcek.der"), "--json"});
  EXPECT_EQ(at(vcek.json().find("certificates")->as_array()->front(), "vek.product_name"), "Milan-B0");
  write("report", as_text(ByteView{snp_.report}.first(1183)));
  EXPECT_EQ(run({"inspect", path("report")}).code, kRejected);
}

// --- inspect ---

class InspectCommand : public VerifyCommand {};

TEST_F(InspectCommand, TakesEveryKindApart) {
  const auto kind_of = [&](const std::string& content) {
    write("file", content);
    const auto ran = run({"inspect", path("file"), "--json"});
    EXPECT_EQ(ran.code, kOk) << ran.err;
    return at(ran.json(), "kind");
  };
  const auto& c = built_.collateral;
  EXPECT_EQ(kind_of(std::string{as_text(built_.quote)}), "quote");
  EXPECT_EQ(kind_of(codec::to_hex(built_.quote)), "quote");
  EXPECT_EQ(kind_of(evidence::write_quote_collateral(c)), "collateral");
  EXPECT_EQ(kind_of(evidence::write_tcb_info(c.tcb_info, c.tcb_info_signature)), "tcb-info");
  EXPECT_EQ(kind_of(evidence::write_qe_identity(c.qe_identity, c.qe_identity_signature)), "qe-identity");
  EXPECT_EQ(kind_of(std::string{as_text(c.pck_crl)}), "crl");
  EXPECT_EQ(kind_of(c.tcb_info_issuer_chain), "certificates");
}

TEST_F(InspectCommand, ShowsTheCertificatesOfAQuote) {
  const auto ran = run({"inspect", path("quote")});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_NE(ran.out.find("subject: Test PCK Certificate"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("fmspc: 90c06f000000"), std::string::npos);
}

TEST_F(InspectCommand, RejectsWhatItDoesNotKnow) {
  write("file", "hello");
  EXPECT_EQ(run({"inspect", path("file")}).code, kRejected);
  EXPECT_EQ(run({"inspect", path("absent")}).code, kFailed);
  EXPECT_EQ(run({"inspect"}).code, kFailed);
}

TEST_F(InspectCommand, DoesNotLetNamesSpeakToTheTerminal) {
  SyntheticPlatform platform;
  platform.pck.common_name = "evil\x1b[2J\xC2\x9B name";
  use(platform);
  const auto ran = run({"inspect", path("quote")});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.find('\x1b'), std::string::npos);
  EXPECT_NE(ran.out.find("evil?[2J? name"), std::string::npos);
}

// --- Rego ---

constexpr std::string_view kRego =
    "package policy\ndefault hardware := 97\nhardware := 2 if input.tdx.quote.body.mr_td in query_reference_value(\"mr_td\")\n"
    "trust_claims := {\"hardware\": hardware}\n";

TEST_F(VerifyCommand, AppraisesByARegoPolicy) {
  write("p.rego", kRego);
  write("known.json", R"({"mr_td":[")" + codec::to_hex(SyntheticPlatform{}.td().mr_td) + R"("]})");
  write("unknown.json", R"({"mr_td":["00ff"]})");
  const auto good = verify({"--trust-root", path("root.pem"), "--policy", path("p.rego"), "--reference-values", path("known.json")});
  EXPECT_EQ(good.code, kOk) << good.err;
  EXPECT_EQ(at(good.json(), "appraisal.status"), "affirming");
  const auto bad = verify({"--trust-root", path("root.pem"), "--policy", path("p.rego"), "--reference-values", path("unknown.json")});
  EXPECT_EQ(bad.code, kRejected);
  EXPECT_EQ(at(bad.json(), "error.code"), "appraisal_not_affirming");
  EXPECT_EQ(at(bad.json(), "error.detail"), "hardware is 97 (contraindicated), by the default of hardware at p.rego:2");
}

TEST_F(VerifyCommand, RefusesARegoPolicyThatDoesNotCompile) {
  write("p.rego", "package policy\ntrust_claims :=\n");
  const auto ran = verify({"--trust-root", path("root.pem"), "--policy", path("p.rego")});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_NE(ran.err.find("p.rego:"), std::string::npos) << ran.err;
}

TEST_F(VerifyCommand, ReferenceValuesNeedARegoPolicyAndAnObject) {
  write("p.rego", kRego);
  write("list.json", "[]");
  EXPECT_EQ(verify({"--trust-root", path("root.pem"), "--reference-values", path("list.json")}).code, kFailed);
  EXPECT_EQ(verify({"--trust-root", path("root.pem"), "--policy", path("p.rego"), "--reference-values", path("list.json")}).code,
            kFailed);
}

}  // namespace
}  // namespace cloister::cli
