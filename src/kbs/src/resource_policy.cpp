#include "cloister/kbs/resource_policy.hpp"

#include <array>

namespace cloister::kbs {
namespace {

namespace json = codec::json;

const std::string kAllow = "data.policy.allow";
constexpr std::string_view kBuiltin =
#include "resource_policy.inc"
    ;

}  // namespace

Result<ResourcePolicy> ResourcePolicy::compile(std::string name, std::string text) {
  const std::array modules{rego::Module{std::move(name), std::move(text)}};
  const std::array entrypoints{kAllow};
  CLOISTER_TRY(compiled, rego::CompiledPolicy::compile(modules, entrypoints));
  return ResourcePolicy{std::move(compiled), rego::digest(modules, entrypoints, {})};
}

ResourcePolicy ResourcePolicy::builtin() {
  auto policy = compile("resource.rego", std::string{kBuiltin});
  CLOISTER_ASSERT(policy.ok());
  return std::move(policy).value();
}

Result<bool> ResourcePolicy::allows(const json::Value& token, const rcar::ResourcePath& path, json::Object query,
                                    json::Object labels) const {
  json::Value data{json::Object{{"plugin", "resource"},
                                {"resource-path", json::Array{path.repository(), path.type(), path.tag()}},
                                {"query", std::move(query)},
                                {"labels", std::move(labels)}}};
  CLOISTER_TRY(evaluation, compiled_->evaluate({token, std::move(data), {}}));
  const auto* allow = evaluation.find(kAllow);
  return allow != nullptr && *allow == json::Value{true};
}

}  // namespace cloister::kbs
