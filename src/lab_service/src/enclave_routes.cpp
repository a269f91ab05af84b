#include "cloister/codec/text.hpp"
#include "routes.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using http::Method;

constexpr std::size_t kMaxSealed = 64 << 10;  // bytes of JSON

json::Value info_of(const Enclave& enclave) {
  json::Object out{{"enclave_name", enclave.name},
                   {"state", to_string(enclave.state)},
                   {"created", to_rfc3339(enclave.created)},
                   {"mrenclave", codec::to_hex(enclave.mrenclave)},
                   {"signer", Enclaves::kSigner},
                   {"calls", enclave.calls},
                   {"steps_left", std::uint64_t{enclave.plan.left()}}};
  out.emplace_back("next", enclave.plan.done() ? json::Value{} : json::Value{enclave.plan.next()});
  return out;
}

std::vector<Field> info_fields() {
  return {text("enclave_name", "", kMaxName),
          choice("state", "", {"loading", "initialized", "stopped"}),
          text("created", "RFC 3339", 64),
          hex("mrenclave", "", 32),
          text("signer", "Whose key signed the SIGSTRUCT", kMaxName),
          integer("calls", "ECALLs so far", 0, INT64_MAX),
          integer("steps_left", "Steps of what was begun to be stepped", 0, kMaxSteps),
          any("next", "The next step, or null")};
}

Field enclave_name() { return text("enclave_name", "Loaded at its first use", kMaxName); }
Field nonce() {
  return hex("nonce", "The verifier's, which makes the evidence fresh; else one is made", 16).optional();
}

Result<json::Value> attest(Service& service, const std::string& name, const std::string& policy_version,
                           const std::optional<Nonce16>& nonce) {
  CLOISTER_TRY(made, service.enclaves.attest(name, policy_version, nonce));
  service.last_evidence = LastEvidence{.tee = "sgx", .subject = made.name, .bytes = made.quote};
  return json::Value{json::Object{{"mrenclave", codec::to_hex(made.mrenclave)},
                                  {"signer", Enclaves::kSigner},
                                  {"nonce", codec::to_hex(made.nonce)},
                                  {"policy_version", made.policy_version},
                                  {"mrsigner", codec::to_hex(made.mrsigner)},
                                  {"report_data", codec::to_hex(made.report_data)},
                                  {"quote", codec::to_base64(made.quote)}}};
}

std::vector<Field> attest_fields() {
  return {hex("mrenclave", "", 32),
          text("signer", "", kMaxName),
          hex("nonce", "", 16),
          text("policy_version", "", kMaxPolicyVersion),
          hex("mrsigner", "", 32),
          hex("report_data",
              "SHA-256 of the CBOR array [\"cloister/lab/1/enclave attest\", nonce, policy_version], then zeros", 64),
          base64("quote", "DCAP, version 3")};
}

std::vector<std::string_view> names_of(const std::vector<lab_workload::Workload>& workloads) {
  std::vector<std::string_view> out;
  for (const auto& workload : workloads) out.push_back(workload.name);
  return out;
}

void add_first_routes(RouteTable& table, Service& s) {
  auto& enclaves = s.enclaves;
  table.add({.method = Method::post,
             .pattern = "/enclave/compute",
             .tag = "enclaves",
             .summary = "Runs a workload in an enclave",
             .takes = {enclave_name(), choice("workload", "", names_of(enclaves.workloads())),
                       object("payload", "What the workload takes: see /workloads").or_else(json::Object{})},
             .answers = {hex("mrenclave", "", 32), object("result", "")},
             .refusals = {400, 409, 422},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(result, enclaves.ecall(in.text("enclave_name"), in.text("workload"), in.value("payload")));
               CLOISTER_TRY(enclave, enclaves.find(in.text("enclave_name")));
               return json::Value{
                   json::Object{{"mrenclave", codec::to_hex(enclave->mrenclave)}, {"result", std::move(result)}}};
             }});
  table.add({.method = Method::post,
             .pattern = "/enclave/attest",
             .tag = "enclaves",
             .summary = "A quote of the enclave that binds a nonce",
             .takes = {enclave_name(), text("policy_version", "", kMaxPolicyVersion).or_else("v1"), nonce()},
             .answers = attest_fields(),
             .refusals = {409, 422},
             .run = [&s](const Input& in) {
               return attest(s, in.text("enclave_name"), in.text("policy_version"), in.bytes<16>("nonce"));
             }});
  table.add({.method = Method::post,
             .pattern = "/enclave/seal",
             .tag = "enclaves",
             .summary = "Seals data to the enclave's measurement and an identity",
             .takes = {enclave_name(), text("identity", "Whose it is", kMaxName),
                       object("data", "At most 64 KiB").or_else(json::Object{})},
             .answers = {text("token", "base64url", kMaxBody)},
             .refusals = {400, 409, 422},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               const auto data = json::write(in.value("data"));
               if (data.size() > kMaxSealed)
                 return Error{Errc::invalid_argument, "data: at most 65536 bytes of JSON expected"};
               CLOISTER_TRY(token, enclaves.seal(in.text("enclave_name"), in.text("identity"), as_bytes(data)));
               return json::Value{json::Object{{"token", std::move(token)}}};
             }});
}

void add_call_routes(RouteTable& table, Service& s) {
  auto& enclaves = s.enclaves;
  table.add({.method = Method::post,
             .pattern = "/enclave/unseal",
             .tag = "enclaves",
             .summary = "Opens what this enclave sealed for this identity; refuses what a newer one replaced",
             .takes = {enclave_name(), text("identity", "", kMaxName), text("token", "", 256 << 10),
                       boolean("allow_stale", "Open older data, too, and tell").or_else(false)},
             .answers = {object("data", ""), integer("version", "Of this data", 0, INT64_MAX),
                         integer("current", "The newest", 0, INT64_MAX), boolean("stale", "")},
             .refusals = {400, 409, 422},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(opened, enclaves.unseal(in.text("enclave_name"), in.text("identity"), in.text("token"),
                                                    in.flag("allow_stale")));
               CLOISTER_TRY(data, json::parse(as_text(opened.plaintext.reveal())));
               return json::Value{json::Object{{"data", std::move(data)},
                                               {"version", opened.version},
                                               {"current", opened.current},
                                               {"stale", opened.version != opened.current}}};
             }});
  const std::vector<Field> begun{enclave_name(), any("result", "Null when it is to be stepped"),
                                 any("next", "The first step, or null")};
  table.add(
      {.method = Method::post,
       .pattern = "/enclave/ecall",
       .tag = "enclaves",
       .summary = "An ECALL by its name; with step, /enclaves/{name}/step goes on",
       .takes = {enclave_name(),
                 text("call", "A name that the enclave does not have is refused before it is entered", kMaxName),
                 object("payload", "").or_else(json::Object{}), boolean("step", "").or_else(false)},
       .answers = begun,
       .refusals = {404, 409, 422},
       .run = [&enclaves](const Input& in) -> Result<json::Value> {
         const auto& name = in.text("enclave_name");
         if (in.flag("step")) {
           CLOISTER_TRY(enclave, enclaves.begin_ecall(name, in.text("call"), in.value("payload")));
           return json::Value{
               json::Object{{"enclave_name", name}, {"result", nullptr}, {"next", enclave->plan.next()}}};
         }
         CLOISTER_TRY(result, enclaves.ecall(name, in.text("call"), in.value("payload")));
         return json::Value{json::Object{{"enclave_name", name}, {"result", std::move(result)}, {"next", nullptr}}};
       }});
  table.add({.method = Method::post,
             .pattern = "/enclave/ocall",
             .tag = "enclaves",
             .summary = "An OCALL: the enclave is left with the payload, the host echoes it, and the enclave goes on",
             .takes = {enclave_name(), text("ocall", "", kMaxName),
                       object("payload", "Leaves the enclave in the clear, at most 4 KiB").or_else(json::Object{}),
                       boolean("step", "").or_else(false)},
             .answers = {text("ocall", "", kMaxName), any("payload", "Null when it is to be stepped"),
                         any("next", "The first step, or null")},
             .refusals = {409, 422},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               const auto& name = in.text("enclave_name");
               if (json::write(in.value("payload")).size() > Enclaves::kMaxOcall)
                 return Error{Errc::invalid_argument, "payload: at most 4096 bytes of JSON expected"};
               if (in.flag("step")) {
                 CLOISTER_TRY(enclave, enclaves.begin_ocall(name, in.text("ocall"), in.value("payload")));
                 return json::Value{
                     json::Object{{"ocall", in.text("ocall")}, {"payload", nullptr}, {"next", enclave->plan.next()}}};
               }
               CLOISTER_TRY(answer, enclaves.ocall(name, in.text("ocall"), in.value("payload")));
               answer.set("next", nullptr);
               return answer;
             }});
}

void add_management_routes(RouteTable& table, Service& s) {
  auto& enclaves = s.enclaves;
  table.add({.method = Method::get,
             .pattern = "/enclaves",
             .tag = "enclaves",
             .summary = "The enclaves, by name",
             .takes = {},
             .answers = {array("enclaves", "")},
             .refusals = {},
             .run = [&enclaves](const Input&) -> Result<json::Value> {
               json::Array list;
               for (const auto* enclave : enclaves.all()) list.push_back(info_of(*enclave));
               return json::Value{json::Object{{"enclaves", std::move(list)}}};
             }});
  table.add({.method = Method::post,
             .pattern = "/enclaves",
             .tag = "enclaves",
             .summary = "Loads an enclave, whole or, with step, one instruction at a time",
             .takes = {enclave_name(), boolean("step", "").or_else(false)},
             .answers = info_fields(),
             .refusals = {409, 422},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(enclave, enclaves.load(in.text("enclave_name"), in.flag("step")));
               return info_of(*enclave);
             }});
  table.add({.method = Method::get,
             .pattern = "/enclaves/{name}",
             .tag = "enclaves",
             .summary = "One enclave",
             .takes = {},
             .answers = info_fields(),
             .refusals = {404},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(enclave, enclaves.find(in.text("name")));
               return info_of(*enclave);
             }});
  table.add({.method = Method::del,
             .pattern = "/enclaves/{name}",
             .tag = "enclaves",
             .summary = "Stops and forgets an enclave",
             .takes = {},
             .answers = {text("deleted", "", kMaxName)},
             .refusals = {404},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_CHECK(enclaves.remove(in.text("name")));
               return json::Value{json::Object{{"deleted", in.text("name")}}};
             }});
  table.add({.method = Method::post,
             .pattern = "/enclaves/{name}/stop",
             .tag = "enclaves",
             .summary = "EREMOVE of every page",
             .takes = {},
             .answers = info_fields(),
             .refusals = {404, 409},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(enclave, enclaves.stop(in.text("name")));
               return info_of(*enclave);
             },
             .in_query = true});
  table.add({.method = Method::post,
             .pattern = "/enclaves/{name}/step",
             .tag = "enclaves",
             .summary = "The next step of what was begun",
             .takes = {},
             .answers = step_fields(),
             .refusals = {404, 409, 422},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(step, enclaves.step(in.text("name")));
               return to_json(step);
             },
             .in_query = true});
  table.add({.method = Method::get,
             .pattern = "/enclaves/{name}/measurement",
             .tag = "enclaves",
             .summary = "MRENCLAVE, record by record: the digest as it would be if EINIT came then",
             .takes = {},
             .answers = {hex("mrenclave", "", 32), text("signer", "", kMaxName), array("records", "")},
             .refusals = {404},
             .run = [&enclaves](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(enclave, enclaves.find(in.text("name")));
               CLOISTER_TRY(records, enclaves.records(in.text("name")));
               json::Array list;
               for (const auto& one : records) {
                 list.emplace_back(
                     json::Object{{"leaf", one.leaf}, {"offset", one.offset}, {"digest", codec::to_hex(one.digest)}});
               }
               return json::Value{json::Object{{"mrenclave", codec::to_hex(enclave->mrenclave)},
                                               {"signer", Enclaves::kSigner},
                                               {"records", std::move(list)}}};
             }});
  table.add({.method = Method::get,
             .pattern = "/enclaves/{name}/quote",
             .tag = "enclaves",
             .summary = "As /enclave/attest, of an enclave that is there",
             .takes = {text("policy_version", "", kMaxPolicyVersion).or_else("v1"), nonce()},
             .answers = attest_fields(),
             .refusals = {404, 409, 422},
             .run = [&s](const Input& in) -> Result<json::Value> {
               CLOISTER_TRY(enclave, s.enclaves.find(in.text("name")));
               return attest(s, enclave->name, in.text("policy_version"), in.bytes<16>("nonce"));
             }});
}

}  // namespace

void add_enclave_routes(RouteTable& table, Service& service) {
  add_first_routes(table, service);
  add_call_routes(table, service);
  add_management_routes(table, service);
}

}  // namespace cloister::lab_service
