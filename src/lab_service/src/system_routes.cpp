#include "cloister/codec/text.hpp"
#include "cloister/lab_service/byte_map.hpp"
#include "cloister/verdict/verdict.hpp"
#include "numbers.hpp"
#include "routes.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using http::Method;

Result<json::Value> workloads_of(const Service& s) {
  json::Array list;
  for (const auto& workload : s.enclaves.workloads()) {
    CLOISTER_TRY(schema, json::parse(workload.payload_schema));
    list.emplace_back(
        json::Object{{"name", workload.name}, {"summary", workload.summary}, {"payload", std::move(schema)}});
  }
  return json::Value{json::Object{{"workloads", std::move(list)}}};
}

std::string_view type_of(measure::SgxPageType type) {
  switch (type) {
    case measure::SgxPageType::secs:
      return "secs";
    case measure::SgxPageType::tcs:
      return "tcs";
    case measure::SgxPageType::reg:
      return "reg";
    case measure::SgxPageType::va:
      return "va";
    case measure::SgxPageType::trim:
      return "trim";
  }
  return "reg";
}

json::Value epc_of(const Service& s) {
  json::Array rows;
  const auto& cpu = s.machine.cpu;
  for (lab_sgx::EpcIndex i = 0; i < cpu.pages(); ++i) {
    const auto& entry = cpu.epcm(i);
    if (!entry.valid) continue;
    const auto& info = entry.secinfo;
    const std::string rights =
        std::string{info.read ? "r" : "-"} + (info.write ? "w" : "-") + (info.execute ? "x" : "-");
    rows.emplace_back(json::Object{{"page", i},
                                   {"type", type_of(info.type)},
                                   {"enclave", s.enclaves.owner_of(i)},
                                   {"address", hex_number(entry.address)},
                                   {"rights", rights},
                                   {"blocked", entry.blocked},
                                   {"pending", entry.pending}});
  }
  return json::Object{{"pages", cpu.pages()}, {"rows", std::move(rows)}};
}

json::Value row_of(std::uint64_t spa, const lab_snp::RmpEntry& entry, std::string_view vm_id) {
  json::Array permissions;
  for (const auto one : entry.permissions) permissions.emplace_back(std::int64_t{one});
  return json::Object{{"spa", hex_number(spa)},
                      {"state", to_string(state_of(entry))},
                      {"vm_id", vm_id},
                      {"gpa", hex_number(entry.gpa)},
                      {"asid", entry.asid},
                      {"validated", entry.validated},
                      {"immutable", entry.immutable},
                      {"vmsa", entry.vmsa},
                      {"permissions", std::move(permissions)}};
}

json::Value rmp_of(const Service& s, evidence::SnpProduct product) {
  json::Array rows;
  json::Array firmware;
  const auto& rmp = s.machine.snp(product).memory.rmp();
  for (std::uint64_t spa = 0; spa < rmp.pages() * lab_snp::kSmallPage; spa += lab_snp::kSmallPage) {
    const auto entry = *rmp.entry(spa);
    if (!entry.assigned) continue;
    if (entry.asid == 0) {
      firmware.push_back(row_of(spa, entry, s.vms.owner_of_firmware_page(product, spa)));
    } else {
      rows.push_back(row_of(spa, entry, s.vms.owner_of(product, entry.asid)));
    }
  }
  return json::Object{
      {"pages", std::uint64_t{rmp.pages()}}, {"rows", std::move(rows)}, {"firmware", std::move(firmware)}};
}

/// Judged by the verifier that everybody uses, under this machine's roots alone.
Result<json::Value> verify(const Service& s, const Input& in) {
  const auto evidence = codec::from_base64_lines(in.text("evidence"));
  if (!evidence) return Error{Errc::invalid_argument, "evidence: base64 expected"};
  const auto now = s.clock.now();
  verdict::Terms terms{.anchors = s.anchors, .at = now, .report_data = in.bytes<64>("report_data"), .policy = {}};
  const verdict::Sources sources{
      .collateral =
          [&s, now](const evidence::Quote&) {
            return verdict::shared(evidence::parse_documents(
                s.machine.platform.sgx_collateral(now, s.machine.quoting_enclave->identity())));
          },
      .endorsements = [&s, now](const evidence::SnpReport& report,
                                const evidence::SnpEndorsements&) -> Result<evidence::SnpEndorsements> {
        const auto product = report.product();
        if (!product || !s.machine.snp_machines.contains(*product)) return evidence::SnpEndorsements{};
        // As AMD's service does: the VCEK of whatever TCB is asked for.
        const auto tcb = evidence::snp_tcb(report.body().reported_tcb, *product);
        return s.machine.authority.endorsements(*product, evidence::VekKind::vcek, tcb, now);
      },
      .remote = false};
  CLOISTER_TRY(verdict, verdict::judge(*evidence, {}, terms, sources));
  return verdict::to_json(verdict);
}

Result<json::Value> last_evidence(const Service& s) {
  if (!s.last_evidence) return Error{Errc::not_found, "no evidence was made yet"};
  const auto& last = *s.last_evidence;
  ByteMap map;
  if (last.tee == "sgx") {
    CLOISTER_TRY(quote, evidence::parse_quote(last.bytes));
    CLOISTER_TRY(mapped, map_quote(quote));
    map = std::move(mapped);
  } else {
    CLOISTER_TRY(report, evidence::parse_snp_report(last.bytes));
    map = map_report(report);
  }
  return json::Value{json::Object{
      {"tee", last.tee}, {"subject", last.subject}, {"evidence", codec::to_base64(last.bytes)}, {"map", to_json(map)}}};
}

json::Value trust_of(const Service& s, evidence::SnpProduct product) {
  const auto pem = [](ByteView der) { return codec::to_pem("CERTIFICATE", der); };
  json::Object out{{"sgx_root", pem(s.machine.platform.root())},
                   {"snp_root", pem(s.machine.authority.root(product)->der)}};
  const auto now = s.clock.now();
  out.emplace_back("sgx_collateral", evidence::write_quote_collateral(s.machine.platform.sgx_collateral(
                                         now, s.machine.quoting_enclave->identity())));
  const auto& reported = s.machine.snp(product).firmware.platform().reported;
  const auto vcek = s.machine.authority.issue_vek(product, evidence::VekKind::vcek, reported);
  out.emplace_back("snp_chain", pem(vcek->der) + s.machine.authority.chain(product, evidence::VekKind::vcek));
  return out;
}

Result<json::Value> events_after(const Service& s, const Input& in) {
  json::Array list;
  const auto since = in.number("since");
  for (const auto& event : s.events.after(since, in.number("limit"))) list.push_back(to_json(event));
  return json::Value{json::Object{{"first", s.events.first()}, {"last", s.events.last()}, {"events", std::move(list)}}};
}

}  // namespace

Field product_field(std::string_view what) {
  return choice("product", what, {"milan", "genoa", "turin"}).or_else("genoa");
}

evidence::SnpProduct product_of(const Input& in) {
  const auto& name = in.text("product");
  return name == "milan"   ? evidence::SnpProduct::milan
         : name == "turin" ? evidence::SnpProduct::turin
                           : evidence::SnpProduct::genoa;
}

std::string_view name_of(evidence::SnpProduct product) noexcept {
  switch (product) {
    case evidence::SnpProduct::milan:
      return "milan";
    case evidence::SnpProduct::genoa:
      return "genoa";
    case evidence::SnpProduct::turin:
      return "turin";
    case evidence::SnpProduct::venice:
      break;
  }
  return "venice";
}

json::Value to_json(const Stepped& step) {
  json::Object out{{"did", step.did}, {"fields", step.fields}};
  out.emplace_back("next", step.next.empty() ? json::Value{} : json::Value{step.next});
  out.emplace_back("left", std::uint64_t{step.left});
  out.emplace_back("result", step.outcome);
  return out;
}

std::vector<Field> step_fields() {
  return {text("did", "", kMaxName), object("fields", ""), any("next", "The step after it, or null"),
          integer("left", "", 0, kMaxSteps), any("result", "Of a call, with its last step; else null")};
}

void add_system_routes(RouteTable& table, Service& s) {
  table.add({.method = Method::get,
             .pattern = "/health",
             .tag = "system",
             .summary = "Whether the lab answers",
             .takes = {},
             .answers = {text("status", "\"ok\"", 2), boolean("lab", "Always true: nothing here is hardware")},
             .refusals = {},
             .run = [](const Input&) -> Result<json::Value> {
               return json::Value{json::Object{{"status", "ok"}, {"lab", true}}};
             }});
  table.add({.method = Method::get,
             .pattern = "/workloads",
             .tag = "system",
             .summary = "What enclaves can run",
             .takes = {},
             .answers = {array("workloads", "")},
             .refusals = {},
             .run = [&s](const Input&) { return workloads_of(s); }});
  table.add({.method = Method::get,
             .pattern = "/memory/epc",
             .tag = "memory",
             .summary = "The enclave page cache map: every page that is somebody's",
             .takes = {},
             .answers = {integer("pages", "", 0, 1 << 20), array("rows", "")},
             .refusals = {},
             .run = [&s](const Input&) -> Result<json::Value> { return epc_of(s); }});
  table.add({.method = Method::get,
             .pattern = "/memory/rmp",
             .tag = "memory",
             .summary = "The reverse map table of a machine: every page that is assigned",
             .takes = {product_field("Of which machine")},
             .answers = {integer("pages", "", 0, 1 << 20), array("rows", "Of guests"),
                         array("firmware", "Of firmware's: contexts of guests, and answers to them")},
             .refusals = {},
             .run = [&s](const Input& in) -> Result<json::Value> { return rmp_of(s, product_of(in)); }});
  table.add({.method = Method::post,
             .pattern = "/verify",
             .tag = "evidence",
             .summary = "Judges a quote or report under this lab's roots, as `cloister verify --json` does",
             .takes = {text("evidence", "base64", 64 << 10),
                       hex("report_data", "What the evidence must bind", 64).optional()},
             .answers = {text("verdict", "accepted or rejected", 16), boolean("authentic", ""), boolean("bound", ""),
                         boolean("lab", ""), array("checks", "")},
             .refusals = {422},
             .run = [&s](const Input& in) { return verify(s, in); }});
  table.add({.method = Method::get,
             .pattern = "/evidence/last",
             .tag = "evidence",
             .summary = "The evidence that was made last, and which bytes are which field",
             .takes = {},
             .answers = {choice("tee", "", {"sgx", "snp"}), text("subject", "", kMaxName), base64("evidence", ""),
                         object("map", "")},
             .refusals = {404},
             .run = [&s](const Input&) { return last_evidence(s); }});
  table.add({.method = Method::get,
             .pattern = "/trust",
             .tag = "evidence",
             .summary = "The lab's roots, and what verifiers need beside its evidence",
             .takes = {product_field("Of which chip root and chain are")},
             .answers = {text("sgx_root", "PEM", kMaxBody), text("snp_root", "PEM", kMaxBody),
                         text("sgx_collateral", "QuoteCollateralV3", kMaxBody),
                         text("snp_chain", "PEM: VCEK of the TCB that is reported now, ASK, ARK", kMaxBody)},
             .refusals = {},
             .run = [&s](const Input& in) -> Result<json::Value> { return trust_of(s, product_of(in)); }});
  table.add({.method = Method::get,
             .pattern = "/events",
             .tag = "events",
             .summary = "State transitions after a number, oldest first",
             .takes = {integer("since", "The last one that is known", 0, INT64_MAX).or_else(0),
                       integer("limit", "", 1, 1000).or_else(100)},
             .answers = {integer("first", "The oldest that is still kept", 0, INT64_MAX),
                         integer("last", "The newest", 0, INT64_MAX), array("events", "")},
             .refusals = {422},
             .run = [&s](const Input& in) { return events_after(s, in); }});
  table.document_only({.method = Method::get,
                       .pattern = "/events/stream",
                       .tag = "events",
                       .summary =
                           "The same as a WebSocket, one JSON text a message, as they happen; {\"gap\": "
                           "{\"from\", \"to\"}} where some are gone; closed with 1008 for another origin or a wrong "
                           "since, with 1013 where there are as many as are allowed",
                       .takes = {integer("since", "", 0, INT64_MAX).or_else(0)},
                       .answers = {},
                       .refusals = {400, 403},
                       .run = {}});
  const auto file = [&table](std::string pattern, std::string_view summary) {
    table.document_only({.method = Method::get,
                         .pattern = std::move(pattern),
                         .tag = "system",
                         .summary = summary,
                         .takes = {},
                         .answers = {},
                         .refusals = {},
                         .run = {}});
  };
  file("/openapi.json", "This document");
  file("/", "The page of the lab");
  file("/lab.css", "Its looks");
  file("/lab.js", "Its code");
}

}  // namespace cloister::lab_service
