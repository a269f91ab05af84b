#include "cloister/attestation/verify.hpp"

#include <algorithm>
#include <iomanip>
#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral/bundle.hpp"
#include "cloister/evidence/detect.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "cloister/policy/policy.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
namespace x509 = crypto::x509;

struct Options {
  fs::path evidence;
  std::string tee;
  std::optional<fs::path> collateral;
  std::vector<fs::path> certificates;
  std::vector<fs::path> trust_roots;
  std::optional<fs::path> trust;
  std::string at;
  std::string report_data;
  std::string nonce;
  std::optional<fs::path> policy;
  bool json = false;
};

/// What the person gave beside the evidence; whatever is wrong with it is a usage or I/O error.
struct Terms {
  attestation::TrustAnchors anchors;
  UnixTime at;
  std::optional<Digest64> report_data;
  policy::Policy policy;
};

/// What came out, as far as it came.
struct Verdict {
  std::optional<evidence::EvidenceKind> kind;
  std::optional<evidence::QuoteHeader> header;
  std::optional<attestation::Report> report;
  std::optional<policy::Decision> decision;  // only of authentic evidence
  std::optional<Error> error;                // why it is not accepted

  [[nodiscard]] bool authentic() const { return report && report->authentic(); }
  [[nodiscard]] bool accepted() const { return decision && decision->accepted; }
};

/// Certificates of a file: PEM, or one in DER.
Result<std::vector<x509::CertificatePtr>> read_certificates(const fs::path& path) {
  CLOISTER_TRY(bytes, read_file(path, 16 * x509::kMaxCertificateSize));
  if (auto der = x509::parse_certificate(bytes)) return std::vector{*der};
  auto chain = x509::parse_chain(as_text(bytes));
  if (!chain) return Error{Errc::certificate_malformed, path.string() + ": " + chain.error().detail()};
  return chain;
}

/// `--trust-root` replaces the built-in roots; a trust file adds to them. A root given by `--trust-root` has no rules
/// for names, but a lab's root holds only where a trust file lists it: given alone it vouches for nothing.
Result<attestation::TrustAnchors> read_anchors(const Options& options) {
  if (options.trust_roots.empty()) {
    CLOISTER_TRY(trust, load_trust_file(options.trust));
    return trust.anchors();
  }
  attestation::TrustAnchors anchors;
  for (const auto& path : options.trust_roots) {
    CLOISTER_TRY(roots, read_certificates(path));
    for (const auto& root : roots) {
      auto anchor = attestation::TrustAnchor::make(root, attestation::AnchorKind::given);
      if (!anchor && anchor.error().code() == Errc::lab_root_not_trusted) continue;
      if (!anchor) return anchor.error().in(path.string());
      anchors.add(*anchor);
    }
  }
  if (!options.trust) return anchors;
  CLOISTER_TRY(trust, load_trust_file(options.trust));
  return trust.anchors(std::move(anchors));
}

/// A nonce shorter than the report data stands at its beginning, before zeros.
Result<std::optional<Digest64>> read_report_data(const Options& options) {
  if (!options.report_data.empty()) {
    auto data = codec::array_from_hex<64>(options.report_data);
    if (!data) return data.error().in("--report-data");
    return std::optional{*data};
  }
  if (options.nonce.empty()) return std::optional<Digest64>{};
  auto nonce = codec::from_hex(options.nonce);
  if (!nonce) return nonce.error().in("--nonce");
  Digest64 data{};
  if (nonce->size() > data.size()) return Error{Errc::invalid_argument, "--nonce: at most 64 bytes"};
  std::ranges::copy(*nonce, data.begin());
  return std::optional{data};
}

Result<policy::Policy> read_policy(const Options& options) {
  if (!options.policy) return policy::Policy{};
  CLOISTER_TRY(text, read_file(*options.policy, policy::kMaxPolicySize));
  auto policy = policy::parse_policy(as_text(text));
  if (!policy) return policy.error().in(options.policy->string());
  return policy;
}

Result<Terms> read_terms(const Options& options, const Clock& clock) {
  CLOISTER_TRY(anchors, read_anchors(options));
  auto at = clock.now();
  if (!options.at.empty()) {
    auto given = parse_rfc3339(options.at);
    if (!given) return given.error().in("--at");
    at = *given;
  }
  CLOISTER_TRY(report_data, read_report_data(options));
  CLOISTER_TRY(policy, read_policy(options));
  return Terms{std::move(anchors), at, report_data, std::move(policy)};
}

/// The collateral for this quote. What cannot be opened is the command's failure (nothing); what can be opened and is
/// not as it should be is the evidence's.
Result<evidence::CollateralDocuments> read_collateral(const Options& options, const evidence::Quote& quote) {
  if (!options.collateral) return Error{Errc::collateral_missing, "a quote needs its platform's collateral"};
  CLOISTER_TRY(source, collateral::open_collateral(*options.collateral));
  CLOISTER_TRY(found, source->find(collateral::wanted_by(quote)));
  CLOISTER_TRY(documents, evidence::parse_documents(found));
  for (const auto& path : options.certificates) {
    CLOISTER_TRY(certificates, read_certificates(path));
    if (path == options.certificates.front()) documents.pck_certificate_chain.clear();
    documents.pck_certificate_chain.insert(documents.pck_certificate_chain.end(), certificates.begin(), certificates.end());
  }
  return documents;
}

Result<evidence::Quote> read_quote(const evidence::DetectedEvidence& found, std::string_view tee) {
  using evidence::EvidenceKind;
  if (found.kind == EvidenceKind::unknown) {
    return Error{Errc::evidence_malformed, "no evidence of a known kind recognised in this file"};
  }
  const std::string_view kind = found.kind == EvidenceKind::sgx_quote ? "sgx" : found.kind == EvidenceKind::tdx_quote ? "tdx" : "snp";
  if (!tee.empty() && tee != kind) {
    return Error{Errc::evidence_unsupported, "evidence of " + std::string{tee} + " expected, got " + std::string{kind}};
  }
  if (found.kind == EvidenceKind::snp_report) {
    return Error{Errc::evidence_unsupported, "SEV-SNP reports can be recognised, but not verified"};
  }
  return evidence::parse_quote(found.bytes);
}

/// The command could not do its work; everything else is about what was given to be judged.
bool is_failure(const Error& error) { return error.code() == Errc::io_error; }

/// An error of the Result: the command failed. Everything else, also what is refused, is in the verdict.
Result<Verdict> judge(const Options& options, const Terms& terms) {
  Verdict verdict;
  const auto file = read_file(options.evidence, evidence::kMaxEvidenceFileSize);
  if (!file && is_failure(file.error())) return file.error();
  auto found = file ? evidence::detect(*file) : Result<evidence::DetectedEvidence>{file.error()};
  if (!found) {
    verdict.error = found.error();
    return verdict;
  }
  verdict.kind = found->kind;
  const auto quote = read_quote(*found, options.tee);
  if (!quote) {
    verdict.error = quote.error();
    return verdict;
  }
  verdict.header = quote->header();
  const auto documents = read_collateral(options, *quote);
  if (!documents) {
    if (is_failure(documents.error())) return documents.error();
    verdict.error = documents.error();
    return verdict;
  }
  auto outcome = attestation::verify(*quote, *documents, terms.anchors, terms.at);
  verdict.report = std::move(outcome.report);
  if (terms.report_data) attestation::check_report_data(*verdict.report, *terms.report_data);
  verdict.error = verdict.report->error();
  if (verdict.error || !outcome.evidence) return verdict;
  verdict.decision = policy::decide(terms.policy, *outcome.evidence);
  if (!verdict.decision->accepted) verdict.error = verdict.decision->error();
  return verdict;
}

std::string_view tee_name(const Verdict& verdict) {
  using evidence::EvidenceKind;
  switch (verdict.kind.value_or(EvidenceKind::unknown)) {
    case EvidenceKind::sgx_quote: return "sgx";
    case EvidenceKind::tdx_quote: return "tdx";
    case EvidenceKind::snp_report: return "snp";
    case EvidenceKind::unknown: return "unknown";
  }
  return "unknown";
}

/// The line of a check: of the report, or one of this command's own before and after it.
struct Line {
  std::string_view id;
  attestation::CheckResult result;
  std::string detail;
};

std::vector<Line> lines_of(const Verdict& verdict) {
  using attestation::CheckResult;
  std::vector<Line> out;
  if (!verdict.report) {
    out.push_back({verdict.header ? "collateral" : "evidence", CheckResult::fail, verdict.error ? verdict.error->detail() : ""});
    return out;
  }
  for (const auto& check : verdict.report->checks) out.push_back({attestation::to_string(check.id), check.result, check.detail});
  if (!verdict.decision) {
    out.push_back({"policy", CheckResult::skipped, "not authentic"});
    return out;
  }
  std::string reasons;
  for (const auto& reason : verdict.decision->reasons) reasons += (reasons.empty() ? "" : "; ") + reason.detail;
  out.push_back({"policy", verdict.decision->accepted ? CheckResult::pass : CheckResult::fail, reasons});
  return out;
}

json::Value to_json(const Verdict& verdict) {
  const auto* report = verdict.report ? &*verdict.report : nullptr;
  json::Array checks;
  for (const auto& line : lines_of(verdict)) {
    checks.emplace_back(json::Object{
        {"id", line.id}, {"result", attestation::to_string(line.result)}, {"detail", line.detail}});
  }
  json::Value error;
  if (verdict.error) {
    error = json::Object{{"code", to_string(verdict.error->code())}, {"detail", verdict.error->detail()}};
  }
  const auto window = report != nullptr ? report->collateral : std::nullopt;
  return json::Value{json::Object{
      {"verdict", verdict.accepted() ? "accepted" : "rejected"},
      {"authentic", verdict.authentic()},
      {"bound", report != nullptr && report->bound},
      {"lab", report != nullptr && report->lab},
      {"tee", tee_name(verdict)},
      {"format", verdict.header ? json::Value{format_name(*verdict.header)} : json::Value{}},
      {"tcb", report != nullptr && report->tcb ? cli::to_json(*report->tcb) : json::Value{json::Object{{"status", nullptr}}}},
      {"collateral", json::Object{{"issued", window ? json::Value{to_rfc3339(window->issued)} : json::Value{}},
                                  {"expires", window ? json::Value{to_rfc3339(window->expires)} : json::Value{}}}},
      {"checks", std::move(checks)},
      {"claims", report != nullptr ? cli::to_json(report->claims.unverified()) : json::Value{json::Object{}}},
      {"error", std::move(error)}}};
}

bool hopeless(const Verdict& verdict) {
  const auto status = verdict.report && verdict.report->tcb ? verdict.report->tcb->status : attestation::TcbStatus::not_supported;
  return status == attestation::TcbStatus::not_supported || status == attestation::TcbStatus::revoked;
}

/// What a person can do about a refusal; empty when there is nothing.
std::string_view remedy(const Verdict& verdict) {
  if (verdict.error->code() == Errc::tcb_status_not_accepted && hopeless(verdict)) return {};
  switch (verdict.error->code()) {
    case Errc::lab_root_not_trusted: return "name the lab's trust file with --trust FILE";
    case Errc::root_untrusted: return "name the root with --trust-root FILE, if you trust it";
    case Errc::collateral_missing: return "give it with --collateral FILE or DIR";
    case Errc::pck_certificate_not_yet_valid: return "the evidence is younger than the time it is verified at: see --at";
    case Errc::tcb_info_expired:
    case Errc::tcb_info_not_yet_valid:
    case Errc::qe_identity_expired:
    case Errc::qe_identity_not_yet_valid:
    case Errc::root_crl_expired:
    case Errc::root_crl_not_yet_valid:
    case Errc::pck_crl_expired:
    case Errc::pck_crl_not_yet_valid: return "give collateral of the time, or the evidence's own time with --at";
    case Errc::tcb_status_not_accepted:
    case Errc::debug_not_accepted: return "a policy that accepts it can be given with --policy FILE";
    default: return {};  // every other refusal is about the evidence itself
  }
}

void print(std::ostream& out, const Verdict& verdict) {
  out << (verdict.accepted() ? "accepted" : "rejected") << ": " << tee_name(verdict);
  if (verdict.header) out << ' ' << format_name(*verdict.header);
  if (verdict.report && verdict.report->tcb) {
    out << ", TCB " << attestation::to_string(verdict.report->tcb->status)
        << (verdict.authentic() ? "" : " (not authentic)");
  }
  if (verdict.report && verdict.report->lab) out << ", a LAB's: simulated, no hardware";
  out << '\n';
  if (verdict.error) {
    out << "because: " << to_string(verdict.error->code()) << ": " << printable(verdict.error->detail()) << '\n';
    if (const auto hint = remedy(verdict); !hint.empty()) out << "remedy:  " << hint << '\n';
  }
  for (const auto& line : lines_of(verdict)) {
    out << "  " << std::left << std::setw(8) << attestation::to_string(line.result) << std::setw(22) << line.id
        << printable(line.detail) << '\n';
  }
  if (!verdict.report) return;
  if (verdict.report->tcb) {
    out << "tcb\n";
    print_plain(out, cli::to_json(*verdict.report->tcb), 2);
  }
  if (verdict.report->collateral) {
    out << "collateral valid from " << to_rfc3339(verdict.report->collateral->issued) << " until "
        << to_rfc3339(verdict.report->collateral->expires) << '\n';
  }
  out << (verdict.authentic() ? "claims\n" : "claims (unverified)\n");
  print_plain(out, cli::to_json(verdict.report->claims.unverified()), 2);
}

void run(const Options& options, Context& context) {
  const auto terms = read_terms(options, context.clock);
  if (!terms) return context.fail(terms.error());
  const auto verdict = judge(options, *terms);
  if (!verdict) return context.fail(verdict.error());
  if (options.json) {
    context.out << json::write_pretty(to_json(*verdict)) << '\n';
  } else {
    print(context.out, *verdict);
  }
  context.exit_code = verdict->accepted() ? kOk : kRejected;
}

}  // namespace

void add_verify(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  auto* command = app.add_subcommand("verify", "Verify evidence offline: exit 0 accepted, 2 rejected, 1 failed");
  command->add_option("--evidence", options->evidence, "Quote: raw, hex, base64, or JSON that holds one")->required();
  command->add_option("--tee", options->tee, "Kind that is expected")->check(CLI::IsMember({"sgx", "tdx", "snp"}));
  command->add_option("--collateral", options->collateral, "QuoteCollateralV3 JSON, or a directory of PCS responses");
  command->add_option("--cert", options->certificates, "Certificates for evidence that carries none: leaf first");
  command->add_option("--trust-root", options->trust_roots, "Root that replaces the built-in ones (PEM or DER)");
  command->add_option("--trust", options->trust, "Trust file: lab roots, further roots");
  command->add_option("--at", options->at, "Time to verify at, RFC 3339 (default: now)");
  auto* report_data = command->add_option("--report-data", options->report_data, "Expected report data, 64 bytes of hex");
  command->add_option("--nonce", options->nonce, "Expected nonce, hex: report data is the nonce, then zeros")
      ->excludes(report_data);
  command->add_option("--policy", options->policy, "Appraisal policy (default: UpToDate, no debug)");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace cloister::cli
