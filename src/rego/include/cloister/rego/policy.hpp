#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// Rego policies (Open Policy Agent, v1 and v0 syntax), compiled once and evaluated many times.
namespace cloister::rego {

struct Question;

/// One source text; the name is for messages.
struct Module {
  std::string name;
  std::string text;
};

/// What a policy may use. Beyond: `limit_exceeded`, or `deadline_exceeded` for the time.
struct Limits {
  std::size_t policy_bytes = 256U << 10;  // of all modules; also in 10,000 lines of 1,024 columns a module
  std::size_t input_bytes = 4U << 20;     // of input, data and reference values together, as JSON
  std::size_t result_bytes = 1U << 20;    // of the results, as JSON
  std::chrono::microseconds time{250'000};  // wall clock, looked at between steps; see Isolation for what does not end

  friend bool operator==(const Limits&, const Limits&) = default;
};

/// Sets what all policies and evaluations of the process may hold together (256 MiB unless set); looked at between steps.
void set_memory_limit(std::uint64_t bytes);

/// An input that many evaluations share: it is read once. Immutable, thread-safe. Counts under `set_memory_limit`.
class KnownInput {
 public:
  /// `malformed` for what the engine cannot read; `limit_exceeded` for more than `limits.input_bytes`.
  [[nodiscard]] static Result<std::shared_ptr<const KnownInput>> of(const codec::json::Value& input, const Limits& limits = {});
  ~KnownInput();
  KnownInput(const KnownInput&) = delete;
  KnownInput& operator=(const KnownInput&) = delete;
  /// Bytes of its text; it takes some times as many.
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  friend class CompiledPolicy;
  struct Content;
  explicit KnownInput(std::unique_ptr<const Content> content);
  std::unique_ptr<const Content> content_;
};

/// What an evaluation is given. `data` and `reference_values` are objects, or null for none.
struct Given {
  codec::json::Value input;
  codec::json::Value data;
  codec::json::Value reference_values;  // query_reference_value(name): the member of that name, or null
  std::optional<std::chrono::microseconds> time{};  // less than the policy's limit, where several share one
  std::shared_ptr<const KnownInput> known_input{};  // where it is not null, in the place of `input`
};

/// A definition of a rule that held, or the default of a rule of which none did.
struct Rule {
  std::string module;
  std::string name;
  std::uint32_t line = 0;  // from 1
  bool is_default = false;
};

/// A condition that kept a definition of a rule from holding.
struct Condition {
  std::string module;
  std::string rule;
  std::uint32_t line = 0;  // from 1, as the column
  std::uint32_t column = 0;
  std::string text;  // as it stands there, at most 160 characters of it
};

struct Evaluation {
  std::vector<std::pair<std::string, codec::json::Value>> results;  // of the entrypoints that are defined
  std::optional<std::vector<Rule>> rules;  // when an explanation was asked for and could be found out
  std::vector<Condition> unmet;            // then: of definitions that were looked at and did not hold, at most 32

  /// The result of that entrypoint, or null when it is undefined.
  [[nodiscard]] const codec::json::Value* find(std::string_view entrypoint) const noexcept;
};

enum class Explain : std::uint8_t { no, yes };  // yes costs a second evaluation

/// Immutable; any number of threads may evaluate one at once.
class CompiledPolicy {
 public:
  /// Entrypoints are paths of rules, e.g. "data.policy.allow"; one that no module defines is undefined. A module is read
  /// as Rego v1 (no import needed), else as v0. `policy_invalid` with "module:line:column: what is wrong", also for calls of
  /// functions that do not exist, with a wrong number of arguments, and for rules and functions that need themselves. With
  /// an `Isolation` also `deadline_exceeded` for what takes longer than a second to compile, and `overloaded`.
  [[nodiscard]] static Result<std::shared_ptr<const CompiledPolicy>> compile(std::span<const Module> modules,
                                                                             std::span<const std::string> entrypoints,
                                                                             const Limits& limits = {});
  CompiledPolicy(const CompiledPolicy&) = delete;
  CompiledPolicy& operator=(const CompiledPolicy&) = delete;
  ~CompiledPolicy();

  /// `policy_evaluation_failed` (e.g. definitions that disagree), `deadline_exceeded`, `limit_exceeded`,
  /// `malformed` (data or reference values that are no objects). Policies that a limit stopped the last time are
  /// evaluated one at a time in the whole process: `overloaded` while another of them is. With an `Isolation` also
  /// `overloaded` when all its processes are taken, and `cancelled` when it was stopped.
  [[nodiscard]] Result<Evaluation> evaluate(const Given& given, Explain explain = Explain::no) const;

  /// Whether no step of it takes longer than a walk through what it is given and what stands in it: then looking at the
  /// clock between steps bounds it. Not all policies of which that is true are known to be plain.
  [[nodiscard]] bool is_plain() const noexcept;

 private:
  struct Content;
  explicit CompiledPolicy(std::unique_ptr<const Content> content);
  [[nodiscard]] Result<std::string> answer(const Question& question, std::size_t size) const;
  std::unique_ptr<const Content> content_;
};

/// SHA-256 of what was compiled: modules with their names, entrypoints, limits.
[[nodiscard]] Digest32 digest(std::span<const Module> modules, std::span<const std::string> entrypoints,
                              const Limits& limits);

}  // namespace cloister::rego
