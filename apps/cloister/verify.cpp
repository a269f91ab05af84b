#include <iomanip>
#include <memory>

#include "cli.hpp"
#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral/bundle.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/verdict/json.hpp"
#include "cloister/verdict/verdict.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
namespace x509 = crypto::x509;
using verdict::Terms;
using verdict::Verdict;

constexpr std::size_t kMaxReferenceValues = 1U << 20;

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
  std::optional<fs::path> event_log;
  std::optional<fs::path> reference_values;
  bool json = false;
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

Result<std::optional<Digest64>> read_report_data(const Options& options) {
  if (!options.report_data.empty()) {
    auto data = codec::array_from_hex<64>(options.report_data);
    if (!data) return data.error().in("--report-data");
    return std::optional{*data};
  }
  if (options.nonce.empty()) return std::optional<Digest64>{};
  auto nonce = codec::from_hex(options.nonce);
  if (!nonce) return nonce.error().in("--nonce");
  auto data = verdict::report_data_of_nonce(*nonce);
  if (!data) return data.error().in("--nonce");
  return std::optional{*data};
}

bool is_rego(const Options& options) { return options.policy && options.policy->extension() == ".rego"; }

Result<std::optional<appraisal::Policy>> read_rego(const Options& options) {
  if (!is_rego(options)) return std::optional<appraisal::Policy>{};
  CLOISTER_TRY(text, read_file(*options.policy, policy::kMaxPolicySize));
  CLOISTER_TRY(compiled, appraisal::Policy::compile(options.policy->filename().string(), std::string{as_text(text)}));
  return std::optional{std::move(compiled)};
}

Result<json::Value> read_reference_values(const Options& options) {
  if (!options.reference_values) return json::Value{};
  if (!is_rego(options)) return Error{Errc::invalid_argument, "--reference-values needs a Rego policy (--policy FILE.rego)"};
  CLOISTER_TRY(text, read_file(*options.reference_values, kMaxReferenceValues));
  auto values = json::parse(as_text(text));
  if (!values) return values.error().in(options.reference_values->string());
  if (values->as_object() == nullptr) return Error{Errc::malformed, options.reference_values->string() + ": an object expected"};
  return values;
}

Result<policy::Policy> read_policy(const Options& options) {
  if (!options.policy || is_rego(options)) return policy::Policy{};
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
  std::optional<Bytes> event_log;
  if (options.event_log) {
    CLOISTER_TRY(bytes, read_file(*options.event_log, evidence::kMaxEventLogSize));
    event_log = std::move(bytes);
  }
  CLOISTER_TRY(rego, read_rego(options));
  CLOISTER_TRY(reference_values, read_reference_values(options));
  return Terms{std::move(anchors),    at,              report_data,
               std::move(policy),     std::move(event_log), std::move(rego),
               std::move(reference_values)};
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

/// What was given for an SNP report: certificates in any order, and what the collateral has.
Result<evidence::SnpEndorsements> read_endorsements(const Options& options, const evidence::SnpReport& report) {
  evidence::SnpEndorsements out;
  if (options.collateral) {
    CLOISTER_TRY(source, collateral::open_collateral(*options.collateral));
    CLOISTER_TRY(found, source->find(report, out));
    out.add(std::move(found));
  }
  for (const auto& path : options.certificates) {
    CLOISTER_TRY(certificates, read_certificates(path));
    out.add({std::move(certificates), {}});
  }
  return out;
}

/// An error: the command could not do its work. Everything else is about what was given to be judged.
Result<Verdict> judge(const Options& options, const Terms& terms) {
  const auto file = read_file(options.evidence, evidence::kMaxEvidenceFileSize);
  if (!file && file.error().code() == Errc::io_error) return file.error();
  if (!file) {
    Verdict refused;
    refused.error = file.error();
    return refused;
  }
  return verdict::judge(*file, options.tee, terms,
                        {[&options](const evidence::Quote& quote) { return verdict::shared(read_collateral(options, quote)); },
                         [&options](const evidence::SnpReport& report, const auto&) { return read_endorsements(options, report); }});
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
    case Errc::collateral_missing: return "give it with --collateral FILE or DIR, certificates also with --cert FILE";
    case Errc::vek_certificate_expired:
    case Errc::vek_certificate_not_yet_valid:
    case Errc::vek_crl_expired:
    case Errc::vek_crl_not_yet_valid: return "give certificates and lists of the time, or the evidence's own time with --at";
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
  out << (verdict.accepted() ? "accepted" : "rejected") << ": " << verdict::tee_name(verdict);
  if (!verdict.format.empty()) out << ' ' << verdict.format;
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
  for (const auto& line : verdict::lines_of(verdict)) {
    out << "  " << std::left << std::setw(8) << attestation::to_string(line.result) << std::setw(22) << line.id
        << printable(line.detail) << '\n';
  }
  if (!verdict.report) return;
  if (verdict.appraisal) {
    out << "appraisal " << appraisal::to_string(verdict.appraisal->status) << '\n';
    for (const auto& claim : verdict.appraisal->claims) out << "  " << printable(appraisal::describe(claim)) << '\n';
  }
  if (verdict.report->tcb) {
    out << "tcb\n";
    print_plain(out, verdict::to_json(*verdict.report->tcb), 2);
  }
  if (verdict.report->collateral) {
    out << "collateral valid from " << to_rfc3339(verdict.report->collateral->issued) << " until "
        << to_rfc3339(verdict.report->collateral->expires) << '\n';
  }
  out << (verdict.authentic() ? "claims\n" : "claims (unverified)\n");
  print_plain(out, verdict::claims_of(verdict), 2);
}

void run(const Options& options, Context& context) {
  const auto terms = read_terms(options, context.clock);
  if (!terms) return context.fail(terms.error());
  const auto verdict = judge(options, *terms);
  if (!verdict) return context.fail(verdict.error());
  if (options.json) {
    context.out << json::write_pretty(verdict::to_json(*verdict)) << '\n';
  } else {
    print(context.out, *verdict);
  }
  context.exit_code = verdict->accepted() ? kOk : kRejected;
}

}  // namespace

void add_verify(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  auto* command = app.add_subcommand("verify", "Verify evidence offline: exit 0 accepted, 2 rejected, 1 failed");
  command->add_option("--evidence", options->evidence, "Quote or report: raw, hex, base64, or JSON that holds one")->required();
  command->add_option("--tee", options->tee, "Kind that is expected")->check(CLI::IsMember({"sgx", "tdx", "snp"}));
  command->add_option("--collateral", options->collateral, "QuoteCollateralV3 JSON, a certificate chain, or a directory of PCS or KDS responses");
  command->add_option("--cert", options->certificates, "Certificates for evidence that carries none: leaf first; of SNP in any order");
  command->add_option("--trust-root", options->trust_roots, "Root that replaces the built-in ones (PEM or DER)");
  command->add_option("--trust", options->trust, "Trust file: lab roots, further roots");
  command->add_option("--at", options->at, "Time to verify at, RFC 3339 (default: now)");
  auto* report_data = command->add_option("--report-data", options->report_data, "Expected report data, 64 bytes of hex");
  command->add_option("--nonce", options->nonce, "Expected nonce, hex: report data is the nonce, then zeros")
      ->excludes(report_data);
  command->add_option("--policy", options->policy, "Appraisal policy: JSON, or FILE.rego (default: UpToDate, no debug)");
  command->add_option("--event-log", options->event_log, "A TD's event log: CCEL data, dstack's JSON, or a guest's own");
  command->add_option("--reference-values", options->reference_values, "Reference values of a Rego policy: a JSON object");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace cloister::cli
