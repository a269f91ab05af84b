#include "cloister/codec/text.hpp"
#include "numbers.hpp"
#include "routes.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using http::Method;

Field vm_id() { return text("vm_id", "", kMaxVmId); }
Field page_id() { return integer("page_id", "", 0, static_cast<std::int64_t>(Vms::kMaxPageId)); }
Field nonce() { return hex("nonce", "The verifier's, which makes the report fresh; else one is made", 16).optional(); }
Field measurement() { return hex("measurement", "SHA-256 over id, owner and encrypted pages", 32); }
Field launch_digest() {
  return any("launch_digest", "96 hex digits once the launch is finished, then fixed; null before");
}

json::Value launch_digest_of(const Vm& vm) {
  return vm.launch_digest ? json::Value{codec::to_hex(*vm.launch_digest)} : json::Value{};
}

json::Value info_of(const Vm& vm) {
  json::Object out{{"vm_id", vm.id},
                   {"owner", vm.owner},
                   {"state", to_string(vm.state)},
                   {"created", to_rfc3339(vm.created)},
                   {"asid", vm.asid},
                   {"vcpu", json::Object{{"id", vm.vcpu.id},
                                         {"registers", json::Object{{"rip", vm.vcpu.rip}, {"rsp", vm.vcpu.rsp}}}}},
                   {"pages", std::uint64_t{vm.pages.size()}},
                   {"measurement", codec::to_hex(measurement_of(vm))},
                   {"launch_digest", launch_digest_of(vm)},
                   {"steps_left", std::uint64_t{vm.plan.left()}}};
  out.emplace_back("next", vm.plan.done() ? json::Value{} : json::Value{vm.plan.next()});
  return out;
}

std::vector<Field> info_fields() {
  return {vm_id(),
          text("owner", "", kMaxName),
          choice("state", "", {"launching", "running", "stopped"}),
          text("created", "RFC 3339", 64),
          integer("asid", "", 1, Vms::kMax),
          object("vcpu", ""),
          integer("pages", "Encrypted since the launch", 0, Vms::kMaxPages),
          measurement(),
          launch_digest(),
          integer("steps_left", "", 0, kMaxSteps),
          any("next", "The next step, or null")};
}

Bytes ciphertext_of(const SealedPage& page) {
  auto out = to_bytes(page.iv);
  append(out, page.ciphertext);
  return out;
}

Result<Bytes> contents_of(const Input& in) {
  const auto& payload = in.text("payload");
  Bytes out;
  if (in.text("encoding") == "base64") {
    auto decoded = codec::from_base64(payload);
    if (!decoded) return Error{Errc::invalid_argument, "payload: base64 expected, as encoding says"};
    out = *std::move(decoded);
  } else {
    out = to_bytes(payload);
  }
  if (out.empty() || out.size() > Vms::kMaxPageBytes)
    return Error{Errc::invalid_argument, "payload: 1 to 8192 bytes expected"};
  return out;
}

Result<json::Value> attest(Service& service, std::string_view id, const std::optional<Nonce16>& nonce) {
  CLOISTER_TRY(made, service.vms.attest(id, nonce));
  service.last_evidence = LastEvidence{.tee = "snp", .subject = made.id, .bytes = made.report};
  return json::Value{json::Object{{"vm_id", made.id},
                                  {"nonce", codec::to_hex(made.nonce)},
                                  {"measurement", codec::to_hex(made.measurement)},
                                  {"launch_digest", codec::to_hex(made.launch_digest)},
                                  {"report_data", codec::to_hex(made.report_data)},
                                  {"report", codec::to_base64(made.report)}}};
}

std::vector<Field> attest_fields() {
  return {vm_id(),
          hex("nonce", "", 16),
          measurement(),
          hex("launch_digest", "MEASUREMENT of the report", 48),
          hex("report_data",
              "SHA-256 of the CBOR array [\"cloister/lab/1/vm attest\", nonce, vm_id, measurement], then zeros", 64),
          base64("report", "SEV-SNP attestation report, version 5")};
}

Result<std::optional<SealedPage>> given_page(const Input& in) {
  const auto ciphertext = in.optional_text("ciphertext");
  const auto mac = in.bytes<32>("mac");
  if (!ciphertext && !mac) return std::optional<SealedPage>{};
  if (!ciphertext || !mac) return Error{Errc::invalid_argument, "ciphertext and mac: both or neither expected"};
  const auto bytes = codec::from_base64(*ciphertext);
  if (!bytes || bytes->size() < 12)
    return Error{Errc::invalid_argument, "ciphertext: base64 of an encrypted page expected"};
  return std::optional{SealedPage{.iv = to_array<12>(ByteView{*bytes}.first(12)),
                                  .ciphertext = to_bytes(ByteView{*bytes}.subspan(12)),
                                  .mac = *mac}};
}

void add_first_routes(RouteTable& table, Service& s) {
  auto& vms = s.vms;
  table.add({.method = Method::post,
             .pattern = "/vm/launch",
             .tag = "vms",
             .summary = "Launches a VM, whole or, with step, one command at a time",
             .takes = {text("owner", "", kMaxName), boolean("step", "").or_else(false)},
             .answers = {vm_id(), integer("vcpu_id", "", 0, 0), measurement(), launch_digest(),
                         any("next", "The first step, or null")},
             .refusals = {409, 422},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(vm, vms.launch(in.text("owner"), in.flag("step")));
               json::Object out{{"vm_id", vm->id},
                                {"vcpu_id", vm->vcpu.id},
                                {"measurement", codec::to_hex(measurement_of(*vm))},
                                {"launch_digest", launch_digest_of(*vm)}};
               out.emplace_back("next", vm->plan.done() ? json::Value{} : json::Value{vm->plan.next()});
               return json::Value{std::move(out)};
             }});
  table.add(
      {.method = Method::post,
       .pattern = "/vm/encrypt",
       .tag = "vms",
       .summary = "Encrypts a page of the VM's memory; the measurement follows",
       .takes = {vm_id(), page_id(),
                 text("payload", "1 to 8192 bytes: those of the text, or those that the base64 stands for", 10924),
                 choice("encoding", "", {"text", "base64"}).or_else("text"),
                 text("owner", "Of the VM; must be given to overwrite a page", kMaxName).optional()},
       .answers = {vm_id(), page_id(), measurement(), hex("mac", "HMAC-SHA-256 over the encrypted page", 32),
                   integer("version", "How often the page was written", 1, INT64_MAX),
                   base64("ciphertext", "As the host sees it")},
       .refusals = {403, 404, 409, 422},
       .run = [&vms](const Input& in) -> Result<json::Value> {
         CLOISTER_TRY(contents, contents_of(in));
         CLOISTER_TRY(page, vms.encrypt(in.text("vm_id"), in.number("page_id"), in.optional_text("owner"), contents));
         CLOISTER_TRY(vm, vms.find(in.text("vm_id")));
         return json::Value{json::Object{{"vm_id", vm->id},
                                         {"page_id", in.number("page_id")},
                                         {"measurement", codec::to_hex(measurement_of(*vm))},
                                         {"mac", codec::to_hex(page->sealed.mac)},
                                         {"version", page->version},
                                         {"ciphertext", codec::to_base64(ciphertext_of(page->sealed))}}};
       }});
  table.add({.method = Method::post,
             .pattern = "/vm/attest",
             .tag = "vms",
             .summary = "A report of the VM that binds a nonce",
             .takes = {vm_id(), nonce()},
             .answers = attest_fields(),
             .refusals = {404, 409, 422},
             .run = [&s](const Input& in) { return attest(s, in.text("vm_id"), in.bytes<16>("nonce")); },
             .in_query = true});
}

void add_management_routes(RouteTable& table, Service& s) {
  auto& vms = s.vms;
  table.add({.method = Method::post,
             .pattern = "/vm/decrypt",
             .tag = "vms",
             .summary = "Opens a page for the VM's owner: the one in memory, or what a host gives in its place",
             .takes = {vm_id(), page_id(), text("owner", "", kMaxName),
                       base64("ciphertext", "In place of the one in memory").optional(),
                       hex("mac", "With ciphertext", 32).optional()},
             .answers = {vm_id(), page_id(), base64("payload", ""),
                         any("text", "The same as text where it is UTF-8, else null")},
             .refusals = {400, 403, 404, 409, 422},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(given, given_page(in));
               CLOISTER_TRY(contents, vms.decrypt(in.text("vm_id"), in.number("page_id"), in.text("owner"), given));
               const auto bytes = contents.reveal();
               json::Object out{{"vm_id", in.text("vm_id")},
                                {"page_id", in.number("page_id")},
                                {"payload", codec::to_base64(bytes)}};
               out.emplace_back("text", codec::is_utf8(bytes) ? json::Value{as_text(bytes)} : json::Value{});
               return json::Value{std::move(out)};
             }});
  table.add({.method = Method::get,
             .pattern = "/vms",
             .tag = "vms",
             .summary = "The VMs, by id",
             .takes = {},
             .answers = {array("vms", "")},
             .refusals = {},
             .run = [&vms](const Input&) -> Result<json::Value> {
               json::Array list;
               for (const auto* vm : vms.all()) list.push_back(info_of(*vm));
               return json::Value{json::Object{{"vms", std::move(list)}}};
             }});
  table.add({.method = Method::get,
             .pattern = "/vms/{vm_id}",
             .tag = "vms",
             .summary = "One VM",
             .takes = {},
             .answers = info_fields(),
             .refusals = {404},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(vm, vms.find(in.text("vm_id")));
               return info_of(*vm);
             }});
  table.add({.method = Method::del,
             .pattern = "/vms/{vm_id}",
             .tag = "vms",
             .summary = "Stops and forgets a VM",
             .takes = {},
             .answers = {text("deleted", "", kMaxVmId)},
             .refusals = {404},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_CHECK(vms.remove(in.text("vm_id")));
               return json::Value{json::Object{{"deleted", in.text("vm_id")}}};
             }});
  table.add({.method = Method::post,
             .pattern = "/vms/{vm_id}/stop",
             .tag = "vms",
             .summary = "Ends the VM and takes its memory back",
             .takes = {},
             .answers = info_fields(),
             .refusals = {404, 409},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(vm, vms.stop(in.text("vm_id")));
               return info_of(*vm);
             },
             .in_query = true});
  table.add({.method = Method::post,
             .pattern = "/vms/{vm_id}/step",
             .tag = "vms",
             .summary = "The next step of a launch",
             .takes = {},
             .answers = step_fields(),
             .refusals = {404, 409},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(step, vms.step(in.text("vm_id")));
               return to_json(step);
             },
             .in_query = true});
  table.add({.method = Method::get,
             .pattern = "/vms/{vm_id}/launch-digest",
             .tag = "vms",
             .summary = "The launch digest, page by page",
             .takes = {},
             .answers = {launch_digest(), array("pages", "")},
             .refusals = {404},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(vm, vms.find(in.text("vm_id")));
               json::Array pages;
               for (const auto& page : vm->launched) {
                 pages.emplace_back(json::Object{{"type", static_cast<int>(page.type)},
                                                 {"gpa", hex_number(page.gpa)},
                                                 {"spa", hex_number(page.spa)},
                                                 {"digest", codec::to_hex(page.digest)}});
               }
               return json::Value{json::Object{{"launch_digest", launch_digest_of(*vm)}, {"pages", std::move(pages)}}};
             }});
  table.add({.method = Method::get,
             .pattern = "/vms/{vm_id}/measurement",
             .tag = "vms",
             .summary = "The measurement, and the pages that it is over",
             .takes = {},
             .answers = {measurement(), array("pages", "")},
             .refusals = {404},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(vm, vms.find(in.text("vm_id")));
               json::Array pages;
               for (const auto& [id, page] : vm->pages) {
                 pages.emplace_back(json::Object{{"page_id", id},
                                                 {"version", page.version},
                                                 {"len", std::uint64_t{page.sealed.ciphertext.size()}},
                                                 {"mac", codec::to_hex(page.sealed.mac)}});
               }
               return json::Value{
                   json::Object{{"measurement", codec::to_hex(measurement_of(*vm))}, {"pages", std::move(pages)}}};
             }});
  table.add({.method = Method::get,
             .pattern = "/vms/{vm_id}/report",
             .tag = "vms",
             .summary = "As /vm/attest",
             .takes = {nonce()},
             .answers = attest_fields(),
             .refusals = {404, 409, 422},
             .run = [&s](const Input& in) { return attest(s, in.text("vm_id"), in.bytes<16>("nonce")); }});
}

}  // namespace

void add_vm_routes(RouteTable& table, Service& service) {
  add_first_routes(table, service);
  add_management_routes(table, service);
}

}  // namespace cloister::lab_service
