#include <memory>

#include "cli.hpp"
#include "cloister/collateral/recognise.hpp"
#include "cloister/evidence/detect.hpp"
#include "cloister/verdict/json.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace json = codec::json;
using verdict::to_json;

struct Options {
  std::filesystem::path file;
  bool json = false;
};

json::Value list_of(const collateral::Certificates& certificates) {
  json::Array out;
  for (const auto& certificate : certificates) out.push_back(to_json(*certificate));
  return json::Value{std::move(out)};
}

Result<json::Value> inspect_quote(const evidence::DetectedEvidence& found) {
  CLOISTER_TRY(quote, evidence::parse_quote(found.bytes));
  auto out = to_json(quote);
  if (!found.member.empty()) out.set("member", found.member);
  const auto& certification = quote.signature().certification;
  if (certification.type == evidence::CertificationType::pck_chain) {
    CLOISTER_TRY(chain, crypto::x509::parse_chain(as_text(certification.data)));
    out.set("certificates", list_of(chain));
  }
  return out;
}

Result<json::Value> inspect_snp_report(const evidence::DetectedEvidence& found) {
  CLOISTER_TRY(report, evidence::parse_snp_report(found.bytes));
  auto out = to_json(report);
  if (!found.member.empty()) out.set("member", found.member);
  if (!found.endorsements.certificates.empty()) out.set("certificates", list_of(found.endorsements.certificates));
  return out;
}

Result<json::Value> inspect_collateral(const evidence::QuoteCollateral& collateral) {
  CLOISTER_TRY(documents, evidence::parse_documents(collateral));
  return json::Value{json::Object{{"kind", "collateral"},
                                  {"tcb_info", to_json(documents.tcb_info.info)},
                                  {"qe_identity", to_json(documents.qe_identity.identity)},
                                  {"root_ca_crl", to_json(documents.root_ca_crl)},
                                  {"pck_crl", to_json(documents.pck_crl)},
                                  {"tcb_info_issuer_chain", list_of(documents.tcb_info_issuer_chain)},
                                  {"qe_identity_issuer_chain", list_of(documents.qe_identity_issuer_chain)},
                                  {"pck_crl_issuer_chain", list_of(documents.pck_crl_issuer_chain)}}};
}

Result<json::Value> to_json(const collateral::Recognised& part) {
  if (const auto* whole = std::get_if<evidence::QuoteCollateral>(&part)) return inspect_collateral(*whole);
  if (const auto* info = std::get_if<evidence::SignedTcbInfo>(&part)) return to_json(info->info);
  if (const auto* identity = std::get_if<evidence::SignedQeIdentity>(&part)) return to_json(identity->identity);
  if (const auto* crl = std::get_if<crypto::x509::Crl>(&part)) return to_json(*crl);
  if (const auto* certificates = std::get_if<collateral::Certificates>(&part)) {
    return json::Value{json::Object{{"kind", "certificates"}, {"certificates", list_of(*certificates)}}};
  }
  return Error{Errc::unsupported, "neither evidence, a certificate, a CRL nor collateral of a known kind"};
}

Result<json::Value> inspect(ByteView file) {
  const auto found = evidence::detect(file);
  const auto kind = found ? found->kind : evidence::EvidenceKind::unknown;
  if (kind == evidence::EvidenceKind::sgx_quote || kind == evidence::EvidenceKind::tdx_quote) return inspect_quote(*found);
  if (kind == evidence::EvidenceKind::snp_report) {
    return inspect_snp_report(*found);
  }
  CLOISTER_TRY(part, collateral::recognise(file));
  return to_json(part);
}

void run(const Options& options, Context& context) {
  const auto file = read_file(options.file, evidence::kMaxCollateralSize);
  if (!file) return context.fail(file.error());
  const auto shown = inspect(*file);
  if (!shown) {
    context.fail(shown.error().in(options.file.string()));
    context.exit_code = kRejected;
    return;
  }
  if (options.json) {
    context.out << json::write_pretty(*shown) << '\n';
  } else {
    print_plain(context.out, *shown);
  }
}

}  // namespace

void add_inspect(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  auto* command = app.add_subcommand("inspect", "Take evidence, certificates, CRLs or collateral apart; verifies nothing");
  command->add_option("FILE", options->file, "Quote or SNP report (raw, hex, base64, JSON), certificate, CRL, TCB info, collateral")->required();
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace cloister::cli
