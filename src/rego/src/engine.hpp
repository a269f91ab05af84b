#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"
#include "cloister/rego/policy.hpp"

namespace cloister::rego {

/// A value that the engine has read, for any number of evaluations. Immutable, thread-safe.
class Document {
 public:
  /// `malformed` for what the engine cannot read.
  [[nodiscard]] static Result<std::unique_ptr<const Document>> read(std::string_view json);
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  ~Document();

 private:
  friend class Engine;
  explicit Document(void* raw) noexcept : raw_{raw} {}
  void* raw_;  // cr_rego_document
};

/// What an evaluation is asked, as JSON texts. Views are the caller's.
struct Question {
  const Document* known_input = nullptr;  // where it is not null, in the place of `input`
  std::string_view input;
  std::string_view data;              // empty: none
  std::string_view reference_values;  // empty: none
  std::chrono::microseconds time{};
  Explain explain = Explain::no;
  std::size_t result_bytes = 0;
};

/// Modules that the Rust library compiled in this process. Immutable; any number of threads may evaluate one at once.
class Engine {
 public:
  [[nodiscard]] static Result<std::unique_ptr<const Engine>> compile(std::span<const Module> modules,
                                                                     std::span<const std::string> entrypoints);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  /// The answer as the library writes it (cr_rego_evaluate). Only of a plain policy does it end near its time.
  [[nodiscard]] Result<std::string> evaluate(const Question& question) const;
  /// Whether each step of its evaluations takes no longer than a walk through what it is given and what stands in it.
  [[nodiscard]] bool is_plain() const noexcept { return plain_; }

 private:
  explicit Engine(void* raw) noexcept;
  void* raw_;  // cr_rego_policy
  bool plain_;
};

}  // namespace cloister::rego
