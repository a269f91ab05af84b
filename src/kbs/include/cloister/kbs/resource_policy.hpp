#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/rcar/resource.hpp"
#include "cloister/rego/policy.hpp"

namespace cloister::kbs {

/// Who may have which resource: a Rego policy in Trustee's form, `data.policy.allow` of the token as input. Compiled once;
/// immutable, for any number of threads; cheap to copy.
class ResourcePolicy {
 public:
  /// `policy_invalid` with line and column. `name` is for messages.
  [[nodiscard]] static Result<ResourcePolicy> compile(std::string name, std::string text);
  /// policies/resource.rego.
  [[nodiscard]] static ResourcePolicy builtin();
  [[nodiscard]] const std::string& text() const noexcept { return *text_; }
  /// SHA-256 of its text.
  [[nodiscard]] const Digest32& digest() const noexcept { return digest_; }

  /// `allow` is true: nothing else that it could be is. `query` is that of the request, `labels` are those of the resource, if
  /// there is one. `policy_evaluation_failed`, `deadline_exceeded`, `limit_exceeded`.
  [[nodiscard]] Result<bool> allows(const codec::json::Value& token, const rcar::ResourcePath& path, codec::json::Object query = {},
                                    codec::json::Object labels = {}) const;
  /// The same, by claims that are a policy's input already.
  [[nodiscard]] Result<bool> allows(const std::shared_ptr<const rego::KnownInput>& token, const rcar::ResourcePath& path,
                                    codec::json::Object query = {}, codec::json::Object labels = {}) const;

  struct Explained {
    bool allowed = false;
    rego::Evaluation why;  // its rules are absent where they could not be found out
  };
  /// The same, of a request without a query, with what decided it; costs twice as much.
  [[nodiscard]] Result<Explained> explain(const codec::json::Value& token, const rcar::ResourcePath& path,
                                          codec::json::Object labels = {}) const;

 private:
  ResourcePolicy(std::shared_ptr<const rego::CompiledPolicy> compiled, std::string text);
  [[nodiscard]] Result<Explained> ask(rego::Given given, const rcar::ResourcePath& path, codec::json::Object query,
                                      codec::json::Object labels, rego::Explain explain) const;
  std::shared_ptr<const rego::CompiledPolicy> compiled_;
  std::shared_ptr<const std::string> text_;
  Digest32 digest_;
};

}  // namespace cloister::kbs
