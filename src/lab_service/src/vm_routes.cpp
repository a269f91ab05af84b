#include <algorithm>
#include <array>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
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

// --- what a launch, and a request for a key, may say ---

/// The components of a TCB, of which each product has its own.
Result<evidence::SnpTcb> tcb_of(const json::Value& value, evidence::SnpProduct product) {
  json::Fields fields{value, "tcb"};
  const auto component = [&fields](std::string_view name) {
    return static_cast<std::uint8_t>(fields.integer(name, 0, 255));
  };
  evidence::SnpTcb out;
  if (evidence::has_fmc(product)) out.fmc = component("fmc");
  out.bootloader = component("bootloader");
  out.tee = component("tee");
  out.snp = component("snp");
  out.microcode = component("microcode");
  if (const auto whole = fields.finish(); !whole) return Error{Errc::invalid_argument, whole.error().detail()};
  return out;
}

Result<std::optional<IdBlockGiven>> id_block_of(const Input& in) {
  const auto block = in.bytes<lab_snp::kIdBlockSize>("id_block");
  const auto auth = in.bytes<lab_snp::kIdAuthSize>("id_auth");
  if (block && !auth) return Error{Errc::invalid_argument, "id_auth: expected with id_block"};
  if (auth && !block) return Error{Errc::invalid_argument, "id_block: expected with id_auth"};
  if (in.flag("author_key") && !block)
    return Error{Errc::invalid_argument, "author_key: goes with id_block and id_auth alone"};
  if (!block) return std::optional<IdBlockGiven>{};
  return std::optional{IdBlockGiven{.block = *block, .auth = *auth, .author_key = in.flag("author_key")}};
}

Result<LaunchOptions> options_of(const Input& in) {
  LaunchOptions out;
  out.product = product_of(in);
  if (const auto* given = in.optional_value("tcb")) {
    CLOISTER_TRY(tcb, tcb_of(*given, out.product));
    out.reported_tcb = tcb;
  }
  out.policy = in.number("policy");
  CLOISTER_TRY(block, id_block_of(in));
  out.id_block = std::move(block);
  return out;
}

std::vector<Field> launch_fields() {
  return {text("owner", "", kMaxName),
          boolean("step", "").or_else(false),
          product_field("Of the machine on which it is launched"),
          object("tcb",
                 "SNP_CONFIG: the TCB that the machine reports, of every VM of its, from now on: bootloader, tee, snp, "
                 "microcode, of Turin also fmc, 0 to 255, none above what the machine committed (GET /vm/platform)")
              .optional(),
          integer("policy", "Guest policy, as the report has it (AMD 56860, Table 10)", 0, INT64_MAX)
              .or_else(static_cast<std::int64_t>(LaunchOptions{}.policy)),
          bytes("id_block", "ID block of SNP_LAUNCH_FINISH, signed by id_auth", lab_snp::kIdBlockSize).optional(),
          bytes("id_auth", "ID authentication information, with id_block", lab_snp::kIdAuthSize).optional(),
          boolean("author_key", "AUTHOR_KEY_EN: id_auth has a key that signed the ID key").or_else(false)};
}

struct KeyField {
  std::string_view name;
  std::uint64_t bit;
};
constexpr std::array kKeyFields{
    KeyField{"policy", lab_snp::guest_field::kPolicy},      KeyField{"image_id", lab_snp::guest_field::kImageId},
    KeyField{"family_id", lab_snp::guest_field::kFamilyId}, KeyField{"measurement", lab_snp::guest_field::kMeasurement},
    KeyField{"guest_svn", lab_snp::guest_field::kGuestSvn}, KeyField{"tcb_version", lab_snp::guest_field::kTcbVersion}};

json::Value json_of(const evidence::SnpTcb& tcb) {
  json::Object out;
  if (tcb.fmc) out.emplace_back("fmc", std::uint32_t{*tcb.fmc});
  out.emplace_back("bootloader", std::uint32_t{tcb.bootloader});
  out.emplace_back("tee", std::uint32_t{tcb.tee});
  out.emplace_back("snp", std::uint32_t{tcb.snp});
  out.emplace_back("microcode", std::uint32_t{tcb.microcode});
  return out;
}

Result<std::uint64_t> key_fields_of(const Input& in) {
  std::uint64_t out = 0;
  for (const auto& one : *in.value("fields").as_array()) {
    const auto* name = one.as_string();
    const auto known = name == nullptr ? kKeyFields.end() : std::ranges::find(kKeyFields, *name, &KeyField::name);
    if (known == kKeyFields.end()) {
      return Error{Errc::invalid_argument,
                   "fields: a list of policy, image_id, family_id, measurement, guest_svn, tcb_version expected"};
    }
    out |= known->bit;
  }
  return out;
}

Result<json::Value> derive_key(Service& service, const Input& in) {
  CLOISTER_TRY(vm, service.vms.find(in.text("vm_id")));
  CLOISTER_TRY(fields, key_fields_of(in));
  lab_snp::KeyRequest request{.root = in.text("root") == "vmrk" ? lab_snp::RootKey::vmrk : lab_snp::RootKey::vek,
                              .fields = fields,
                              .vmpl = static_cast<std::uint32_t>(in.number("vmpl")),
                              .guest_svn = static_cast<std::uint32_t>(in.number("guest_svn"))};
  if (const auto* given = in.optional_value("tcb")) {
    CLOISTER_TRY(tcb, tcb_of(*given, vm->options.product));
    request.tcb = evidence::encode_snp_tcb(tcb, vm->options.product);
  }
  CLOISTER_TRY(answer, service.vms.derived_key(vm->id, request));
  json::Object out{{"vm_id", vm->id}, {"status", lab_snp::to_string(answer.status)}};
  out.emplace_back("key_id", answer.value
                                 ? json::Value{codec::to_hex(ByteView{crypto::sha256(answer.value->reveal())}.first(8))}
                                 : json::Value{});
  return json::Value{std::move(out)};
}

// --- what a VM says of itself ---

/// What firmware knows of it; null before it has a context and after its end.
json::Value guest_of(const Vm& vm) {
  const auto status = Vms::status_of(vm);
  if (!status) return {};
  const auto state = status->state == lab_snp::GuestState::init     ? "init"
                     : status->state == lab_snp::GuestState::launch ? "launch"
                                                                    : "running";
  json::Array counts;
  for (const auto one : status->message_counts) counts.emplace_back(one);
  return json::Object{{"state", state},
                      {"context", hex_number(vm.guest->context)},
                      {"launch_digest", codec::to_hex(status->launch_digest)},
                      {"id_block", status->id_block},
                      {"author_key", status->author_key},
                      {"message_counts", std::move(counts)}};
}

json::Value info_of(const Vm& vm) {
  json::Object out{{"vm_id", vm.id},
                   {"owner", vm.owner},
                   {"state", to_string(vm.state)},
                   {"created", to_rfc3339(vm.created)},
                   {"asid", vm.asid},
                   {"vcpu", json::Object{{"id", vm.vcpu.id},
                                         {"registers", json::Object{{"rip", vm.vcpu.rip}, {"rsp", vm.vcpu.rsp}}}}},
                   {"product", name_of(vm.options.product)},
                   {"policy", hex_number(vm.options.policy)},
                   {"vmsa", json::Object{{"cs_base", hex_number(vm.entry.cs_base)},
                                         {"rip", hex_number(vm.entry.rip)},
                                         {"sev_features", hex_number(vm.entry.sev_features)}}},
                   {"guest", guest_of(vm)},
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
          object("vcpu", "Of the lab's contract: nothing runs on it"),
          product_field("").stated(),
          text("policy", "Of the guest, in hex", 18),
          object("vmsa", "Where the virtual CPU begins, as it was measured"),
          any("guest",
              "What firmware knows of it: state, context, launch_digest, id_block, author_key, message_counts (of "
              "each VMPCK); null before SNP_LAUNCH_START and after the end"),
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
             .takes = launch_fields(),
             .answers = {vm_id(), integer("vcpu_id", "", 0, 0), measurement(), launch_digest(),
                         any("next", "The first step, or null")},
             .refusals = {409, 422},
             .run = [&vms](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(options, options_of(in));
               CLOISTER_TRY(vm, vms.launch(in.text("owner"), in.flag("step"), options));
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
       .summary = "Puts a page into the VM's memory, and gives the host a sealed copy; the measurement follows",
       .takes = {vm_id(), page_id(),
                 text("payload", "1 to 8192 bytes: those of the text, or those that the base64 stands for", 10924),
                 choice("encoding", "", {"text", "base64"}).or_else("text"),
                 text("owner", "Of the VM; must be given to overwrite a page", kMaxName).optional()},
       .answers = {vm_id(), page_id(), measurement(), hex("mac", "HMAC-SHA-256 over the encrypted page", 32),
                   integer("version", "How often the page was written", 1, INT64_MAX),
                   base64("ciphertext", "The copy, under the page's key")},
       .refusals = {403, 404, 409, 422},
       .run = [&vms](const Input& in) -> Result<json::Value> {
         CLOISTER_TRY(contents, contents_of(in));
         CLOISTER_TRY(page, vms.encrypt(in.text("vm_id"), in.number("page_id"), in.optional_text("owner"), contents));
         CLOISTER_TRY(vm, vms.find(in.text("vm_id")));
         return json::Value{json::Object{{"vm_id", vm->id},
                                         {"page_id", in.number("page_id")},
                                         {"measurement", codec::to_hex(measurement_of(*vm))},
                                         {"mac", codec::to_hex(page.sealed.mac)},
                                         {"version", page.version},
                                         {"ciphertext", codec::to_base64(ciphertext_of(page.sealed))}}};
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

void add_machine_routes(RouteTable& table, Service& s) {
  table.add(
      {.method = Method::post,
       .pattern = "/vm/derived-key",
       .tag = "vms",
       .summary = "The guest asks firmware for a key (MSG_KEY_REQ), and keeps it: the answer says which one it is",
       .takes = {vm_id(), choice("root", "Of the chip, or of the guest itself", {"vek", "vmrk"}).or_else("vek"),
                 array("fields",
                       "What the key depends on beside what every key does: policy, image_id, family_id, "
                       "measurement, guest_svn, tcb_version")
                     .or_else(json::Array{}),
                 integer("vmpl", "", 0, UINT32_MAX).or_else(0),
                 integer("guest_svn", "With that field", 0, UINT32_MAX).or_else(0),
                 object("tcb", "With the field tcb_version; its components as at a launch").optional()},
       .answers = {vm_id(), text("status", "Firmware's: SUCCESS, INVALID_PARAM, INVALID_KEY", 32),
                   any("key_id", "With success the first 8 bytes of the key's SHA-256, in hex; else null")},
       .refusals = {404, 409, 422},
       .run = [&s](const Input& in) { return derive_key(s, in); }});
  table.add(
      {.method = Method::get,
       .pattern = "/vm/firmware",
       .tag = "vms",
       .summary = "What VMs are launched from, for cloister measure snp --ovmf FILE --vcpus 1 --vcpu-sig SIGNATURE",
       .takes = {product_field("Whose virtual CPUs")},
       .answers = {base64("firmware", ""), integer("vcpus", "", 1, 1),
                   integer("vcpu_signature", "EAX of CPUID 1", 0, UINT32_MAX),
                   hex("launch_digest", "As it is computed of them, and no machine asked", 48)},
       .refusals = {},
       .run = [](const Input& in) -> Result<json::Value> {
         const auto launch = vm_launch(product_of(in));
         CLOISTER_TRY(digest, measure::snp_launch_digest(launch));
         return json::Value{json::Object{{"firmware", codec::to_base64(launch.firmware)},
                                         {"vcpus", launch.vcpus},
                                         {"vcpu_signature", launch.vcpu_signature},
                                         {"launch_digest", codec::to_hex(digest)}}};
       }});
  table.add({.method = Method::get,
             .pattern = "/vm/platform",
             .tag = "vms",
             .summary = "The machine of a product, and the TCBs that it runs, committed and reports",
             .takes = {product_field("")},
             .answers = {product_field("").stated(), hex("chip_id", "", 64), object("current", "Components of the TCB"),
                         object("committed", ""), object("reported", ""), integer("report_version", "", 2, 5)},
             .refusals = {},
             .run = [&s](const Input& in) -> Result<json::Value> {
               const auto product = product_of(in);
               const auto& platform = s.machine.snp(product).firmware.platform();
               return json::Value{json::Object{{"product", name_of(product)},
                                               {"chip_id", codec::to_hex(s.machine.authority.chip_id(product))},
                                               {"current", json_of(platform.current)},
                                               {"committed", json_of(platform.committed)},
                                               {"reported", json_of(platform.reported)},
                                               {"report_version", platform.report_version}}};
             }});
}

void add_management_routes(RouteTable& table, Service& s) {
  auto& vms = s.vms;
  table.add({.method = Method::post,
             .pattern = "/vm/decrypt",
             .tag = "vms",
             .summary = "Opens a page for the VM's owner: the one in memory, or the copy that a host gives back",
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
             .summary = "The next step of a launch; a VM whose step is refused is stopped",
             .takes = {},
             .answers = step_fields(),
             .refusals = {404, 409, 422},
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
                                                 {"len", std::uint64_t{page.size}},
                                                 {"mac", codec::to_hex(page.mac)}});
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
  add_machine_routes(table, service);
  add_management_routes(table, service);
}

}  // namespace cloister::lab_service
