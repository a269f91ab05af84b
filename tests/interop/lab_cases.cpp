/// Writes evidence of the lab for the verifiers of others: `interop_lab_cases FOLDER`. Every case twice, under the lab's
/// names for our own verifier and under a vendor's for those that accept no other; one JSON object a line says where.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "cloister/codec/json.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab_sgx/quoting.hpp"
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

struct Case {
  std::string name;
  lab::TcbState tcb;
  lab::QuoteFormat format;
  UnixTime at;
  bool revoked;
  bool sgx = false;  // a quote of the SGX quoting enclave, version 3, instead
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
  const auto base = (folder / c.name).string() + (names == lab::Names::lab ? ".lab" : ".vendor");
  policy::TrustFile trust;
  CLOISTER_TRY(root, crypto::x509::parse_certificate(platform.root()));
  trust.lab_roots = {root};
  return json::Value{json::Object{
      {"evidence", write(base + ".quote", as_text(made.quote))},
      {"collateral", write(base + ".collateral.json", evidence::write_quote_collateral(made.collateral))},
      {"root", write(base + ".root.der", as_text(platform.root()))},
      {"trust", write(base + ".trust.json", policy::write_trust_file(trust))}}};
}

Result<void> run(const fs::path& folder) {
  for (const auto& c : cases()) {
    CLOISTER_TRY(theirs, make(c, lab::Names::vendor, folder));
    CLOISTER_TRY(ours, make(c, lab::Names::lab, folder));
    theirs.set("id", "lab::" + c.name);
    theirs.set("kind", "quote");
    theirs.set("time", to_micros(c.at) / 1'000'000);
    theirs.set("ours", std::move(ours));
    std::cout << json::write(theirs) << '\n';
  }
  return {};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 1;
  const auto done = run(arguments[1]);
  if (!done) std::cerr << done.error().text() << '\n';
  return done ? 0 : 1;
}
