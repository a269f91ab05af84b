#include "cloister/rego/policy.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "cloister/crypto/hash.hpp"
#include "cloister_rust/rego.h"

namespace cloister::rego {
namespace {

namespace json = codec::json;

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

/// Where evaluations run beside each other, and one that is tried again alone: the memory limit is the process's, so that what
/// is refused beside one that takes all of it may be as small as it likes. Thread-safe.
class Room {
 public:
  template <class Work>
  [[nodiscard]] auto beside_others(Work work) {
    const Stay stay{*this, enter()};
    return work();
  }
  /// Nobody enters once it waits. `limit_exceeded` when others do not leave in time.
  template <class Work>
  [[nodiscard]] auto alone(Work work) -> decltype(work()) {
    if (!claim()) return Error{Errc::limit_exceeded, "policies hold more memory than they may, together"};
    const Stay stay{*this, &Room::give_up};
    return work();
  }

 private:
  using Leaving = void (Room::*)();
  /// Ends with the scope, also by an exception.
  struct Stay {
    Room& room;
    Leaving leaving;
    ~Stay() { (room.*leaving)(); }
  };
  static constexpr std::chrono::seconds kPatience{1};

  Leaving enter() {
    std::unique_lock held{mutex_};
    changed_.wait(held, [this] { return !claimed_; });
    ++inside_;
    return &Room::leave;
  }
  void leave() {
    {
      const std::lock_guard held{mutex_};
      --inside_;
    }
    changed_.notify_all();
  }
  [[nodiscard]] bool claim() {
    std::unique_lock held{mutex_};
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    if (!changed_.wait_until(held, limit, [this] { return !claimed_; })) return false;
    claimed_ = true;
    if (changed_.wait_until(held, limit, [this] { return inside_ == 0; })) return true;
    held.unlock();
    give_up();
    return false;
  }
  void give_up() {
    {
      const std::lock_guard held{mutex_};
      claimed_ = false;
    }
    changed_.notify_all();
  }

  std::mutex mutex_;  // guards the two below
  std::condition_variable changed_;
  std::size_t inside_ = 0;
  bool claimed_ = false;  // by somebody who is alone, or waits for it
};

Room& room() {
  static Room out;
  return out;
}

/// Beside others, and where memory did not do for it, alone.
template <class Work>
auto in_room(Work work) {
  auto first = room().beside_others(work);
  if (first || first.error().code() != Errc::limit_exceeded) return first;
  return room().alone(work);
}

Error too_large(std::size_t size, const Limits& limits) {
  return Error{Errc::limit_exceeded, "the policy's input has " + std::to_string(size) + " bytes, at most " +
                                         std::to_string(limits.input_bytes) + " are allowed"};
}

std::string text_of(const json::Value& value) { return value.is_null() ? std::string{} : json::write(value); }

Result<std::vector<Rule>> read_rules(const json::Array& rules) {
  std::vector<Rule> out;
  for (const auto& item : rules) {
    json::Fields fields{item, "rule"};
    Rule rule;
    rule.module = fields.string("module");
    rule.name = fields.string("rule");
    rule.line = static_cast<std::uint32_t>(fields.integer("line", 1, UINT32_MAX));
    rule.is_default = fields.boolean("default");
    CLOISTER_CHECK(fields.finish());
    out.push_back(std::move(rule));
  }
  return out;
}

Result<std::vector<Condition>> read_conditions(const json::Array& conditions) {
  std::vector<Condition> out;
  for (const auto& item : conditions) {
    json::Fields fields{item, "condition"};
    Condition condition;
    condition.module = fields.string("module");
    condition.rule = fields.string("rule");
    condition.line = static_cast<std::uint32_t>(fields.integer("line", 1, UINT32_MAX));
    condition.column = static_cast<std::uint32_t>(fields.integer("column", 1, UINT32_MAX));
    condition.text = fields.string("text");
    CLOISTER_CHECK(fields.finish());
    out.push_back(std::move(condition));
  }
  return out;
}

Result<Evaluation> read_answer(std::string_view text, const Limits& limits) {
  CLOISTER_TRY(answer, json::parse(text, {.bytes = limits.result_bytes, .depth = 64, .values = 1'000'000}));
  json::Fields fields{answer, "answer"};
  Evaluation out;
  if (const auto* results = fields.object("results").as_object()) out.results = *results;
  if (const auto* rules = fields.optional_any("rules")) {
    if (rules->as_array() == nullptr) return Error{Errc::internal, "rules: an array expected"};
    CLOISTER_TRY(read, read_rules(*rules->as_array()));
    out.rules = std::move(read);
  }
  CLOISTER_TRY(unmet, read_conditions(fields.optional_array("unmet")));
  out.unmet = std::move(unmet);
  CLOISTER_CHECK(fields.finish());
  return out;
}

void add(crypto::Sha256& hash, std::string_view text) {
  ByteArray<8> size{};
  for (std::size_t i = 0; i < size.size(); ++i) size[i] = static_cast<std::uint8_t>(text.size() >> (8 * i));
  hash.update(size);
  hash.update(as_bytes(text));
}

}  // namespace

struct KnownInput::Handle {
  explicit Handle(cr_rego_document* made) : document{made} {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { cr_rego_document_free(document); }
  cr_rego_document* document;
};

KnownInput::KnownInput(std::unique_ptr<Handle> handle, std::size_t size) : handle_{std::move(handle)}, size_{size} {}
KnownInput::~KnownInput() = default;

Result<std::shared_ptr<const KnownInput>> KnownInput::of(const json::Value& input, const Limits& limits) {
  const auto text = json::write(input);
  if (text.size() > limits.input_bytes) return too_large(text.size(), limits);
  Failure failure;
  cr_rego_document* document = nullptr;
  const auto status = cr_rego_document_read(view_of(text), &document, failure.out());
  if (status != CR_OK) return failure.error(status);
  auto handle = std::make_unique<Handle>(document);
  return std::shared_ptr<const KnownInput>{new KnownInput{std::move(handle), text.size()}};
}

struct CompiledPolicy::Handle {
  explicit Handle(cr_rego_policy* made) : policy{made} {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { cr_rego_free(policy); }
  cr_rego_policy* policy;
};

CompiledPolicy::CompiledPolicy(std::unique_ptr<Handle> handle, const Limits& limits)
    : handle_{std::move(handle)}, limits_{limits} {}
CompiledPolicy::~CompiledPolicy() = default;

void set_memory_limit(std::uint64_t bytes) { cr_set_memory_limit(bytes); }

const json::Value* Evaluation::find(std::string_view entrypoint) const noexcept {
  const auto found = std::ranges::find(results, entrypoint, [](const auto& result) { return std::string_view{result.first}; });
  return found == results.end() ? nullptr : &found->second;
}

Result<std::shared_ptr<const CompiledPolicy>> CompiledPolicy::compile(std::span<const Module> modules,
                                                                      std::span<const std::string> entrypoints,
                                                                      const Limits& limits) {
  std::size_t size = 0;
  std::vector<cr_rego_module> texts;
  for (const auto& module : modules) {
    size += module.text.size();
    texts.push_back({view_of(module.name), view_of(module.text)});
  }
  if (size > limits.policy_bytes) {
    return Error{Errc::limit_exceeded, "the policy has " + std::to_string(size) + " bytes, at most " +
                                           std::to_string(limits.policy_bytes) + " are allowed"};
  }
  std::vector<cr_view> rules;
  for (const auto& entrypoint : entrypoints) rules.push_back(view_of(entrypoint));
  const auto run = [&]() -> Result<std::shared_ptr<const CompiledPolicy>> {
    Failure failure;
    cr_rego_policy* policy = nullptr;
    const auto status = cr_rego_compile(texts.data(), texts.size(), rules.data(), rules.size(), &policy, failure.out());
    if (status != CR_OK) {
      const auto error = failure.error(status);
      return error.code() == Errc::malformed ? Error{Errc::policy_invalid, error.detail()} : error;
    }
    auto handle = std::make_unique<Handle>(policy);
    return std::shared_ptr<const CompiledPolicy>{new CompiledPolicy{std::move(handle), limits}};
  };
  return in_room(run);
}

Result<Evaluation> CompiledPolicy::evaluate(const Given& given, Explain explain) const {
  const auto* const known = given.known_input.get();
  const auto input = known == nullptr ? json::write(given.input) : std::string{};
  const auto data = text_of(given.data);
  const auto reference_values = text_of(given.reference_values);
  const auto size = (known == nullptr ? input.size() : known->size_) + data.size() + reference_values.size();
  if (size > limits_.input_bytes) return too_large(size, limits_);
  const auto time = std::clamp(given.time.value_or(limits_.time), std::chrono::microseconds{0}, limits_.time);
  const auto run = [&]() -> Result<Evaluation> {
    Failure failure;
    Buffer out;
    const auto status = cr_rego_evaluate(handle_->policy, known == nullptr ? nullptr : known->handle_->document, view_of(input), view_of(data), view_of(reference_values),
                                         static_cast<std::uint64_t>(time.count()), explain == Explain::yes ? 1 : 0,
                                         limits_.result_bytes, out.out(), failure.out());
    if (status != CR_OK) return failure.error(status);
    return read_answer(out.text(), limits_);
  };
  return in_room(run);
}

Digest32 digest(std::span<const Module> modules, std::span<const std::string> entrypoints, const Limits& limits) {
  crypto::Sha256 hash;
  add(hash, std::to_string(modules.size()));
  for (const auto& module : modules) {
    add(hash, module.name);
    add(hash, module.text);
  }
  add(hash, std::to_string(entrypoints.size()));
  for (const auto& entrypoint : entrypoints) add(hash, entrypoint);
  add(hash, std::to_string(limits.policy_bytes) + ' ' + std::to_string(limits.input_bytes) + ' ' +
                std::to_string(limits.result_bytes) + ' ' + std::to_string(limits.time.count()));
  return hash.finish();
}

}  // namespace cloister::rego
