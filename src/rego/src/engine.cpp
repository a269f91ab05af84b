#include "engine.hpp"

#include "cloister_rust/rego.h"

#ifdef __SANITIZE_THREAD__
/// The thread sanitizer sees nothing of the Rust library and its allocator but calls of memcpy and memset, and so takes memory that is
/// handed from one thread to another for shared. Names of Rust begin with _R (third_party/rust/.cargo/config.toml).
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:^_R\nrace:^_mi_\nrace:^mi_\n"; }
#endif

namespace cloister::rego {
namespace {

cr_view view_of(std::string_view text) {
  const auto bytes = as_bytes(text);
  return {bytes.data(), bytes.size()};
}

/// What the library allocated, released here.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cr_buffer_free(&raw_); }
  [[nodiscard]] cr_buffer* out() noexcept { return &raw_; }
  [[nodiscard]] std::string_view text() const noexcept { return as_text({raw_.data, raw_.size}); }

 private:
  cr_buffer raw_{};
};

class Failure {
 public:
  Failure() = default;
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  ~Failure() { cr_rego_error_free(&raw_); }
  [[nodiscard]] cr_rego_error* out() noexcept { return &raw_; }

  [[nodiscard]] Error error(std::int32_t status) const {
    std::string detail;
    if (raw_.line != 0) {
      detail = std::string{as_text({raw_.module.data, raw_.module.size})} + ':' + std::to_string(raw_.line) + ':' +
               std::to_string(raw_.column) + ": ";
    }
    return Error{code_of(status), detail.append(as_text({raw_.message.data, raw_.message.size}))};
  }

 private:
  static Errc code_of(std::int32_t status) {
    switch (status) {
      case CR_INVALID_ARGUMENT:
      case CR_INPUT_INVALID: return Errc::malformed;
      case CR_POLICY_INVALID: return Errc::policy_invalid;
      case CR_TIME_EXCEEDED: return Errc::deadline_exceeded;
      case CR_MEMORY_EXCEEDED:
      case CR_RESULT_TOO_LARGE: return Errc::limit_exceeded;
      case CR_EVALUATION_FAILED: return Errc::policy_evaluation_failed;
      default: return Errc::internal;
    }
  }
  cr_rego_error raw_{};
};

}  // namespace

Result<std::unique_ptr<const Document>> Document::read(std::string_view json) {
  Failure failure;
  cr_rego_document* raw = nullptr;
  const auto status = cr_rego_document_read(view_of(json), &raw, failure.out());
  if (status != CR_OK) return failure.error(status);
  return std::unique_ptr<const Document>{new Document{raw}};
}

Document::~Document() { cr_rego_document_free(static_cast<cr_rego_document*>(raw_)); }

Result<std::unique_ptr<const Engine>> Engine::compile(std::span<const Module> modules, std::span<const std::string> entrypoints) {
  std::vector<cr_rego_module> texts;
  for (const auto& module : modules) texts.push_back({view_of(module.name), view_of(module.text)});
  std::vector<cr_view> rules;
  for (const auto& entrypoint : entrypoints) rules.push_back(view_of(entrypoint));
  Failure failure;
  cr_rego_policy* raw = nullptr;
  const auto status = cr_rego_compile(texts.data(), texts.size(), rules.data(), rules.size(), &raw, failure.out());
  if (status == CR_OK) return std::unique_ptr<const Engine>{new Engine{raw}};
  const auto error = failure.error(status);
  return error.code() == Errc::malformed ? Error{Errc::policy_invalid, error.detail()} : error;
}

Engine::Engine(void* raw) noexcept : raw_{raw}, plain_{cr_rego_is_plain(static_cast<cr_rego_policy*>(raw)) != 0} {}
Engine::~Engine() { cr_rego_free(static_cast<cr_rego_policy*>(raw_)); }

Result<std::string> Engine::evaluate(const Question& question) const {
  const auto* const known = question.known_input == nullptr ? nullptr : static_cast<const cr_rego_document*>(question.known_input->raw_);
  Failure failure;
  Buffer out;
  const auto status = cr_rego_evaluate(static_cast<const cr_rego_policy*>(raw_), known, view_of(question.input), view_of(question.data),
                                       view_of(question.reference_values), static_cast<std::uint64_t>(question.time.count()),
                                       question.explain == Explain::yes ? 1 : 0, question.result_bytes, out.out(), failure.out());
  if (status != CR_OK) return failure.error(status);
  return std::string{out.text()};
}

}  // namespace cloister::rego
