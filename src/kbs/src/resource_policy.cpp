#include "cloister/kbs/resource_policy.hpp"

#include <array>

#include "cloister/crypto/hash.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;

const std::string kAllow = "data.policy.allow";
constexpr std::string_view kBuiltin =
#include "resource_policy.inc"
    ;

}  // namespace

Result<ResourcePolicy> ResourcePolicy::compile(std::string name, std::string text) {
  const std::array modules{rego::Module{std::move(name), text}};
  const std::array entrypoints{kAllow};
  CLOISTER_TRY(compiled, rego::CompiledPolicy::compile(modules, entrypoints));
  return ResourcePolicy{std::move(compiled), std::move(text)};
}

ResourcePolicy::ResourcePolicy(std::shared_ptr<const rego::CompiledPolicy> compiled, std::string text)
    : compiled_{std::move(compiled)},
      text_{std::make_shared<const std::string>(std::move(text))},
      digest_{crypto::sha256(as_bytes(*text_))} {}

ResourcePolicy ResourcePolicy::builtin() {
  auto policy = compile("resource.rego", std::string{kBuiltin});
  CLOISTER_ASSERT(policy.ok());
  return std::move(policy).value();
}

Result<ResourcePolicy::Explained> ResourcePolicy::ask(rego::Given given, const rcar::ResourcePath& path, json::Object query,
                                                      json::Object labels, rego::Explain explain) const {
  given.data = json::Value{json::Object{{"plugin", "resource"},
                                {"resource-path", json::Array{path.repository(), path.type(), path.tag()}},
                                {"query", std::move(query)},
                                {"labels", std::move(labels)}}};
  CLOISTER_TRY(evaluation, compiled_->evaluate(given, explain));
  const auto* allow = evaluation.find(kAllow);
  const bool allowed = allow != nullptr && *allow == json::Value{true};
  return Explained{allowed, std::move(evaluation)};
}

Result<bool> ResourcePolicy::allows(const json::Value& token, const rcar::ResourcePath& path, json::Object query,
                                    json::Object labels) const {
  CLOISTER_TRY(answer, ask({token, {}, {}}, path, std::move(query), std::move(labels), rego::Explain::no));
  return answer.allowed;
}

Result<bool> ResourcePolicy::allows(const std::shared_ptr<const rego::KnownInput>& token, const rcar::ResourcePath& path,
                                    json::Object query, json::Object labels) const {
  CLOISTER_TRY(answer, ask({{}, {}, {}, {}, token}, path, std::move(query), std::move(labels), rego::Explain::no));
  return answer.allowed;
}

Result<ResourcePolicy::Explained> ResourcePolicy::explain(const json::Value& token, const rcar::ResourcePath& path,
                                                          json::Object labels) const {
  return ask({token, {}, {}}, path, {}, std::move(labels), rego::Explain::yes);
}

}  // namespace cloister::kbs
