/// Writes evidence of the lab for the verifiers of others: `interop_lab_cases FOLDER`. Every case twice, under the lab's
/// names for our own verifier and under a vendor's for those that accept no other; one JSON object a line says where.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "cloister/codec/json.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab_sgx/quoting.hpp"
#include "cloister/lab_snp/authority.hpp"
#include "cloister/policy/trust_file.hpp"

namespace {

namespace fs = std::filesystem;
namespace json = cloister::codec::json;
using namespace cloister;

const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);
const UnixTime kNow = kCreated + std::chrono::days{10};

std::string write(const fs::path& path, std::string_view contents) {
  std::ofstream{path, std::ios::binary} << contents;
  return path.string();
}

/// What is done to a quote after it was signed.
enum class Change {
  none, mrtd, report_data, signature, attestation_key, qe_report, qe_signature, auth_data, other_chain, cut
};

struct Case {
  std::string name;
  lab::TcbState tcb;
  lab::QuoteFormat format;
  UnixTime at;
  bool revoked;
  bool sgx = false;  // a quote of the SGX quoting enclave, version 3, instead
  Change change = Change::none;
};

struct Evidence {
  Bytes quote;
  evidence::QuoteCollateral collateral;
};

std::vector<Case> cases() {
  const auto current = lab::TcbState::current(kCreated);
  auto old_platform = current;
  --old_platform.machine.sgx_components[0];
  auto old_module = current;
  --old_module.machine.tee_tcb_svn[0];
  auto old_qe = current;
  --old_qe.machine.qe_isvsvn;
  auto ancient = current;
  ancient.machine.sgx_components.fill(0);
  constexpr auto kV4 = lab::QuoteFormat::v4;
  return {{"current-v4", current, kV4, kNow, false},
          {"current-v5", current, lab::QuoteFormat::v5, kNow, false},
          {"current-v5-td10", current, lab::QuoteFormat::v5_td10, kNow, false},
          {"current-v5-td15-ex", current, lab::QuoteFormat::v5_td15_ex, kNow, false},
          {"changed-mrtd", current, kV4, kNow, false, false, Change::mrtd},
          {"changed-mrtd-v5", current, lab::QuoteFormat::v5, kNow, false, false, Change::mrtd},
          {"changed-report-data", current, kV4, kNow, false, false, Change::report_data},
          {"changed-signature", current, kV4, kNow, false, false, Change::signature},
          {"changed-attestation-key", current, kV4, kNow, false, false, Change::attestation_key},
          {"changed-qe-report", current, kV4, kNow, false, false, Change::qe_report},
          {"changed-qe-signature", current, kV4, kNow, false, false, Change::qe_signature},
          {"changed-auth-data", current, kV4, kNow, false, false, Change::auth_data},
          {"other-chain", current, kV4, kNow, false, false, Change::other_chain},
          {"cut-short", current, kV4, kNow, false, false, Change::cut},
          {"old-platform", old_platform, kV4, kNow, false},
          {"old-module", old_module, kV4, kNow, false},
          {"old-module-v5", old_module, lab::QuoteFormat::v5, kNow, false},
          {"old-qe", old_qe, kV4, kNow, false},
          {"ancient-platform", ancient, kV4, kNow, false},
          {"revoked-pck", current, kV4, kNow, true},
          {"expired-collateral", current, kV4, kNow + std::chrono::days{31}, false},
          {"early-collateral", current, kV4, kNow - std::chrono::days{1}, false},
          {"sgx-current", current, kV4, kNow, false, true},
          {"sgx-old-platform", old_platform, kV4, kNow, false, true},
          {"sgx-revoked-pck", current, kV4, kNow, true, true},
          {"early-certificates", current, kV4, kCreated - std::chrono::days{1}, false}};
}

/// The quote with one thing of it changed and everything else as it was.
Result<Bytes> changed(ByteView quote, Change change, const std::string& other_chain) {
  if (change == Change::none) return to_bytes(quote);
  if (change == Change::cut) return to_bytes(quote.first(quote.size() - 1));
  CLOISTER_TRY(parsed, evidence::parse_quote(quote));
  auto content = parsed.content();
  auto& body = std::get<evidence::TdBody>(content.body);
  auto& signature = content.signature;
  switch (change) {
    case Change::mrtd: body.mr_td[0] ^= 1; break;
    case Change::report_data: body.report_data[63] ^= 1; break;
    case Change::signature: signature.signature[10] ^= 1; break;
    case Change::attestation_key: {
      const auto other = crypto::EcPrivateKey::derive(crypto::Curve::p256, ByteArray<32>{9}, as_bytes("other"));
      signature.attestation_key = to_array<64>(other.public_key().xy());
      signature.signature = to_array<64>(other.sign(parsed.signed_bytes()));
      break;
    }
    case Change::qe_report: signature.qe_report.isv_svn += 1; break;
    case Change::qe_signature: signature.qe_report_signature[10] ^= 1; break;
    case Change::auth_data: signature.qe_auth_data[0] ^= 1; break;
    case Change::other_chain: signature.certification.data = to_bytes(other_chain); break;
    case Change::none:
    case Change::cut: break;
  }
  return evidence::encode_quote(content);
}

Result<Evidence> td_evidence(const lab::Platform& platform, lab::QuoteFormat format) {
  const Bytes program(5000, 0x33);
  const std::vector<measure::TdFile> files{{.path = "cloister-guest", .mode = 0755, .contents = program}};
  CLOISTER_TRY(td, platform.launch({}, files));
  CLOISTER_TRY(quote, platform.quote(*td.tdg_mr_report({}), format));
  return Evidence{std::move(quote), platform.collateral(kNow)};
}

/// The quoting enclave quotes a report of itself: an enclave as good as any.
Result<Evidence> sgx_evidence(const lab::Platform& platform) {
  lab_sgx::Cpu cpu{platform.sgx_root(), {.cpu_svn = platform.machine().sgx_components, .pages = 8}};
  lab_sgx::Certification pce{.sign = [&](const evidence::SgxReport& report) { return platform.certify(report); },
                             .pck_chain = platform.pck_chain(), .pce_svn = platform.machine().pcesvn};
  const auto signer = crypto::RsaPrivateKey::derive_3072_e3(ByteArray<32>{7}, as_bytes("signer"));
  CLOISTER_TRY(qe, lab_sgx::QuotingEnclave::start(cpu, 0, 0, platform.machine().qe_isvsvn, signer, std::move(pce)));
  const auto report = cpu.ereport(0, lab_sgx::encode_target_info(qe.target()), {});
  if (!report.ok()) return Error{Errc::internal, std::string{lab_sgx::to_string(report.code())}};
  CLOISTER_TRY(quote, qe.quote(report.value()));
  return Evidence{std::move(quote), platform.sgx_collateral(kNow, qe.identity())};
}

/// The files of a case under these names, as JSON.
Result<json::Value> make(const Case& c, lab::Names names, const fs::path& folder) {
  const auto seed = [] { return crypto::Secret<32>{ByteArray<32>{7}}; };
  lab::Platform::Options options{.names = names, .tcb = c.tcb};
  if (c.revoked) options.revoked_pcks = {{lab::Platform::create(seed(), kCreated).pck_certificate()->serial, kCreated}};
  const auto platform = lab::Platform::create(seed(), kCreated, std::move(options));
  CLOISTER_TRY(made, c.sgx ? sgx_evidence(platform) : td_evidence(platform, c.format));
  const auto other = lab::Platform::create(crypto::Secret<32>{ByteArray<32>{8}}, kCreated, {.names = names});
  CLOISTER_TRY(quote, changed(made.quote, c.change, other.pck_chain()));
  const auto base = (folder / c.name).string() + (names == lab::Names::lab ? ".lab" : ".vendor");
  policy::TrustFile trust;
  CLOISTER_TRY(root, crypto::x509::parse_certificate(platform.root()));
  trust.lab_roots = {root};
  return json::Value{json::Object{
      {"evidence", write(base + ".quote", as_text(quote))},
      {"collateral", write(base + ".collateral.json", evidence::write_quote_collateral(made.collateral))},
      {"root", write(base + ".root.der", as_text(platform.root()))},
      {"trust", write(base + ".trust.json", policy::write_trust_file(trust))}}};
}

/// In what a case differs from evidence that is good.
enum class Fault { none, other_key, other_data, other_measurement, other_signature, other_tcb, other_chip, other_root };
/// A byte of each part of an SGX quote, version 3 with its PEM chain. Everybody has to refuse the quote that has another there.
struct Part {
  const char* name;
  std::size_t at;
};
constexpr Part kSgxParts[] = {{"qe-svn", 8},          {"vendor-id", 12},         {"cpu-svn", 48},          {"attributes", 96},
                              {"mr-enclave", 112},    {"mr-signer", 176},        {"isv-svn", 306},         {"report-data", 368},
                              {"signature-r", 436},   {"signature-s", 468},      {"attestation-key", 500}, {"qe-attributes", 612},
                              {"qe-mr-signer", 692},  {"qe-isv-svn", 822},       {"qe-report-data", 884},  {"qe-signature", 948},
                              {"qe-auth-data", 1014}, {"pck-certificate", 1200}, {"pck-authority", 3000}};

/// The files of an SGX quote with that part changed; with none, whole, and another lab's root to trust.
Result<json::Value> make_refused_sgx(const Part* part, lab::Names names, const std::string& base) {
  const auto lab_of = [names](std::uint8_t seed) { return lab::Platform::create(crypto::Secret<32>{ByteArray<32>{seed}}, kCreated, {.names = names}); };
  const auto platform = lab_of(7);
  CLOISTER_TRY(made, sgx_evidence(platform));
  if (part != nullptr) made.quote.at(part->at) ^= 1;
  const auto trusted = part != nullptr ? platform.root() : lab_of(8).root();
  policy::TrustFile trust;
  CLOISTER_TRY(root, crypto::x509::parse_certificate(trusted));
  trust.lab_roots = {root};
  return json::Value{json::Object{
      {"evidence", write(base + ".quote", as_text(made.quote))},
      {"collateral", write(base + ".collateral.json", evidence::write_quote_collateral(made.collateral))},
      {"root", write(base + ".root.der", as_text(trusted))},
      {"trust", write(base + ".trust.json", policy::write_trust_file(trust))}}};
}

Result<void> run_refused_sgx(const fs::path& folder) {
  const auto one = [&](const std::string& name, const Part* part) -> Result<void> {
    CLOISTER_TRY(theirs, make_refused_sgx(part, lab::Names::vendor, (folder / name).string() + ".vendor"));
    CLOISTER_TRY(ours, make_refused_sgx(part, lab::Names::lab, (folder / name).string() + ".lab"));
    theirs.set("id", "lab::" + name);
    theirs.set("kind", "quote");
    theirs.set("time", to_micros(kNow) / 1'000'000);
    theirs.set("refuse", true);
    theirs.set("ours", std::move(ours));
    std::cout << json::write(theirs) << '\n';
    return {};
  };
  for (const auto& part : kSgxParts) CLOISTER_CHECK(one(std::string{"sgx-changed-"} + part.name, &part));
  return one("sgx-foreign-root", nullptr);
}

struct SnpCase {
  std::string name;
  evidence::SnpProduct product;
  evidence::VekKind kind;
  std::uint32_t version;
  Fault fault = Fault::none;
};

/// Each product under both keys, in each version that its firmware gave; and a wrong one of each kind.
std::vector<SnpCase> snp_cases() {
  using evidence::SnpProduct;
  using evidence::VekKind;
  std::vector<SnpCase> out;
  for (const auto product : {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin}) {
    for (const auto kind : {VekKind::vcek, VekKind::vlek}) {
      for (const std::uint32_t version : {2U, 3U, 5U}) {
        if (version == 2 && product == SnpProduct::turin) continue;  // its first firmware had version 3
        out.push_back({"snp-" + std::string{to_string(product)} + '-' + std::string{to_string(kind)} + "-v" + std::to_string(version),
                       product, kind, version});
      }
    }
  }
  const auto good = out;
  const std::pair<std::string_view, Fault> faults[] = {
      {"other-key", Fault::other_key},             {"other-data", Fault::other_data}, {"other-measurement", Fault::other_measurement},
      {"other-signature", Fault::other_signature}, {"other-tcb", Fault::other_tcb},   {"other-chip", Fault::other_chip},
      {"other-root", Fault::other_root}};
  for (const auto& base : good) {
    if (base.version == 2) continue;
    for (const auto& [name, fault] : faults) {
      if (fault == Fault::other_chip && base.kind == VekKind::vlek) continue;  // a VLEK is of no one chip
      out.push_back({base.name + '-' + std::string{name}, base.product, base.kind, base.version, fault});
    }
  }
  return out;
}

evidence::SnpReportBody snp_body(const SnpCase& c, const lab_snp::Authority& authority, const evidence::SnpTcb& tcb) {
  evidence::SnpReportBody body;
  body.version = c.version;
  body.policy |= evidence::snp_policy::kSmt;
  const bool turin = c.product == evidence::SnpProduct::turin;
  const std::uint8_t model = turin ? 0x02 : c.product == evidence::SnpProduct::milan ? 0x01 : 0x11;
  body.cpuid = evidence::SnpCpuid{.family = static_cast<std::uint8_t>(turin ? 0x1A : 0x19), .model = model, .stepping = 1};
  if (c.version < 3) body.cpuid.reset();
  if (c.version >= 5) body.mitigations = evidence::SnpMitigations{.launch = 1, .current = 1};
  body.signing_key = c.kind;
  const bool masked = c.kind == evidence::VekKind::vlek && c.version >= 3;  // as clouds do; version 2 tells the product by no other way
  if (!masked) body.chip_id = authority.chip_id(c.product);
  body.reported_tcb = body.current_tcb = body.committed_tcb = body.launch_tcb = evidence::encode_snp_tcb(tcb, c.product);
  body.current_version = body.committed_version = {.build = 40, .minor = 55, .major = 1};
  body.measurement.fill(0x3E);
  return body;
}

/// The files of a case under these authorities' names, as JSON. `other` has the same names and other keys.
Result<json::Value> make_snp(const SnpCase& c, const lab_snp::Authority& authority, const lab_snp::Authority& other, const std::string& base) {
  evidence::SnpTcb tcb{.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};
  if (c.product == evidence::SnpProduct::turin) tcb.fmc = 1;
  auto signer = tcb;
  if (c.fault == Fault::other_key) --signer.snp;
  auto body = snp_body(c, authority, tcb);
  auto certified = tcb;
  if (c.fault == Fault::other_tcb) {  // signed by the key of the report's TCB, shown with the certificate of another
    --certified.microcode;
  }
  if (c.fault == Fault::other_chip) body.chip_id[0] ^= 1;
  CLOISTER_TRY(report, lab_snp::sign_report(body, authority.secret(c.product, c.kind, signer)));
  if (c.fault == Fault::other_data) report[0x50] ^= 1;
  if (c.fault == Fault::other_measurement) report[0x90] ^= 1;
  if (c.fault == Fault::other_signature) report[0x2A0] ^= 1;
  auto endorsements = authority.endorsements(c.product, c.kind, certified, kNow);
  if (c.fault == Fault::other_root) {
    endorsements.certificates[1] = other.issuer(c.product, c.kind);
    endorsements.certificates[2] = other.root(c.product);
  }
  fs::create_directories(base);
  policy::TrustFile trust;
  trust.lab_roots = {authority.root(c.product)};
  write(base + "/crl.der", as_text(endorsements.crls.front().der));
  return json::Value{json::Object{
      {"evidence", write(base + ".report", as_text(report))},
      {"vek", write(base + "/vek.der", as_text(endorsements.certificates[0]->der))},
      {"ask", write(base + "/ask.der", as_text(endorsements.certificates[1]->der))},
      {"ark", write(base + "/ark.der", as_text(endorsements.certificates[2]->der))},
      {"collateral", base},
      {"trust", write(base + ".trust.json", policy::write_trust_file(trust))}}};
}

Result<void> run_snp(const fs::path& folder) {
  const auto keys = lab_snp::AuthorityKeys::generate();
  const auto others = lab_snp::AuthorityKeys::generate();
  const auto authority_of = [](const lab_snp::AuthorityKeys& of, lab_snp::Names names) {
    auto copy = lab_snp::parse_authority_keys(as_text(lab_snp::write_authority_keys(of).reveal())).value();
    return lab_snp::Authority::create(crypto::Secret<32>{ByteArray<32>{7}}, std::move(copy), kCreated, names);
  };
  const auto vendor = authority_of(keys, lab_snp::Names::vendor);
  const auto lab = authority_of(keys, lab_snp::Names::lab);
  const auto other_vendor = authority_of(others, lab_snp::Names::vendor);
  const auto other_lab = authority_of(others, lab_snp::Names::lab);
  for (const auto& c : snp_cases()) {
    CLOISTER_TRY(theirs, make_snp(c, vendor, other_vendor, (folder / c.name).string() + ".vendor"));
    CLOISTER_TRY(ours, make_snp(c, lab, other_lab, (folder / c.name).string() + ".lab"));
    theirs.set("id", "lab::" + c.name);
    theirs.set("kind", "snp");
    theirs.set("product", std::string{evidence::to_string(c.product)});
    theirs.set("vlek", c.kind == evidence::VekKind::vlek);
    if (c.fault != Fault::none) theirs.set("refuse", true);
    theirs.set("time", to_micros(kNow) / 1'000'000);
    theirs.set("ours", std::move(ours));
    std::cout << json::write(theirs) << '\n';
  }
  return {};
}

Result<void> run(const fs::path& folder) {
  for (const auto& c : cases()) {
    CLOISTER_TRY(theirs, make(c, lab::Names::vendor, folder));
    CLOISTER_TRY(ours, make(c, lab::Names::lab, folder));
    theirs.set("id", "lab::" + c.name);
    theirs.set("kind", "quote");
    theirs.set("time", to_micros(c.at) / 1'000'000);
    if (c.change != Change::none) theirs.set("refuse", true);
    theirs.set("ours", std::move(ours));
    std::cout << json::write(theirs) << '\n';
  }
  return {};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 1;
  auto done = run(arguments[1]);
  if (done) done = run_refused_sgx(arguments[1]);
  if (done) done = run_snp(arguments[1]);
  if (!done) std::cerr << done.error().text() << '\n';
  return done ? 0 : 1;
}
