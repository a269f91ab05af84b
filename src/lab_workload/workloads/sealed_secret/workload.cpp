#include "cloister/lab_workload/workload.hpp"

#include "cloister/lab_workload/payload.hpp"

/// Seals a secret for an identity, and opens it again.
namespace cloister::lab_workload::sealed_secret {
namespace {

namespace json = codec::json;
constexpr std::size_t kMaxSecret = 64 << 10;  // bytes
constexpr std::size_t kMaxIdentity = 128;

Result<Output> run(const json::Value& payload, Enclave& enclave) {
  CLOISTER_CHECK(known_members(payload, {"secret", "identity"}));
  const auto text = [&payload](std::string_view name) {
    const auto* member = payload.find(name);
    return member == nullptr ? nullptr : member->as_string();
  };
  const auto* secret = text("secret");
  const auto* identity = text("identity");
  if (secret == nullptr || identity == nullptr)
    return Error{Errc::invalid_argument, "secret and identity must be strings"};
  if (secret->empty() || identity->empty()) return Error{Errc::invalid_argument, "secret and identity cannot be empty"};
  if (secret->size() > kMaxSecret) return Error{Errc::invalid_argument, "secret must have at most 65536 bytes"};
  if (identity->size() > kMaxIdentity) return Error{Errc::invalid_argument, "identity must have at most 128 bytes"};
  const auto sealed = json::write(json::Object{{"secret", *secret}});
  CLOISTER_TRY(token, enclave.seal(*identity, as_bytes(sealed)));
  CLOISTER_TRY(opened, enclave.unseal(*identity, token));
  CLOISTER_TRY(parsed, json::parse(as_text(opened.reveal())));
  const auto* recovered = parsed.find("secret");
  CLOISTER_ASSERT(recovered != nullptr);  // it was written above, and authenticated since
  return Output{json::Object{{"token", token}, {"recovered", *recovered}}, {{"identity", *identity}}};
}

}  // namespace

Workload workload();
Workload workload() {
  return {.name = "sealed_secret",
          .summary = "Seals a secret for an identity, and opens it again",
          .payload_schema = R"json({"type": "object", "additionalProperties": false, "required": ["secret", "identity"],
            "properties": {"secret": {"type": "string", "minLength": 1, "maxLength": 65536},
                           "identity": {"type": "string", "minLength": 1, "maxLength": 128}}})json",
          .run = run};
}

}  // namespace cloister::lab_workload::sealed_secret
