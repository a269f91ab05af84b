#include "cloister/rego/policy.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "cloister/crypto/hash.hpp"
#include "cloister/rego/isolation.hpp"
#include "cloister_rust/rego.h"
#include "engine.hpp"
#include "pool.hpp"

namespace cloister::rego {
namespace {

namespace json = codec::json;

/// Where evaluations run beside each other, and, where no processes evaluate, one that is tried again alone: the memory limit is the process's, so that what
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

/// Policies that a limit stopped take turns, so that no number of them keeps the threads that others need.
class Turn {
 public:
  Turn() : taken_{!busy().exchange(true)} {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (taken_) busy() = false;
  }
  [[nodiscard]] bool taken() const noexcept { return taken_; }

 private:
  static std::atomic<bool>& busy() {
    static std::atomic<bool> out{false};
    return out;
  }
  bool taken_;
};

/// Bytes of a plain policy that is explained in the server itself.
constexpr std::size_t kExplainedHere = 16U << 10;

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

struct KnownInput::Content {
  std::string text;
  std::unique_ptr<const Document> document;
};

KnownInput::KnownInput(std::unique_ptr<const Content> content) : content_{std::move(content)} {}
KnownInput::~KnownInput() = default;
std::size_t KnownInput::size() const noexcept { return content_->text.size(); }

Result<std::shared_ptr<const KnownInput>> KnownInput::of(const json::Value& input, const Limits& limits) {
  auto text = json::write(input);
  if (text.size() > limits.input_bytes) return too_large(text.size(), limits);
  CLOISTER_TRY(document, Document::read(text));
  auto content = std::make_unique<const Content>(Content{std::move(text), std::move(document)});
  return std::shared_ptr<const KnownInput>{new KnownInput{std::move(content)}};
}

/// What a policy was made of, and how its evaluations go.
struct CompiledPolicy::Content {
  std::uint64_t number;  // for processes that evaluate it
  std::vector<Module> modules;
  std::vector<std::string> entrypoints;
  std::size_t size;  // of the modules' texts, in bytes
  Limits limits;
  std::unique_ptr<const Engine> engine;
  mutable std::atomic<bool> stopped{false};  // the last evaluation, by a limit
};

CompiledPolicy::CompiledPolicy(std::unique_ptr<const Content> content) : content_{std::move(content)} {}
CompiledPolicy::~CompiledPolicy() = default;

bool CompiledPolicy::is_plain() const noexcept { return content_->engine->is_plain(); }

void set_memory_limit(std::uint64_t bytes) { cr_set_memory_limit(bytes); }

const json::Value* Evaluation::find(std::string_view entrypoint) const noexcept {
  const auto found = std::ranges::find(results, entrypoint, [](const auto& result) { return std::string_view{result.first}; });
  return found == results.end() ? nullptr : &found->second;
}

Result<std::shared_ptr<const CompiledPolicy>> CompiledPolicy::compile(std::span<const Module> modules,
                                                                      std::span<const std::string> entrypoints,
                                                                      const Limits& limits) {
  std::size_t size = 0;
  for (const auto& module : modules) size += module.text.size();
  if (size > limits.policy_bytes) {
    return Error{Errc::limit_exceeded, "the policy has " + std::to_string(size) + " bytes, at most " +
                                           std::to_string(limits.policy_bytes) + " are allowed"};
  }
  static std::atomic<std::uint64_t> last{0};
  const auto number = ++last;
  // Where it takes too long, a process finds out.
  if (const auto pool = Isolation::current()) CLOISTER_CHECK(pool->load(number, modules, entrypoints));
  CLOISTER_TRY(engine, in_room([&] { return Engine::compile(modules, entrypoints); }));
  auto content = std::make_unique<Content>();
  content->number = number;
  content->modules.assign(modules.begin(), modules.end());
  content->entrypoints.assign(entrypoints.begin(), entrypoints.end());
  content->size = size;
  content->limits = limits;
  content->engine = std::move(engine);
  return std::shared_ptr<const CompiledPolicy>{new CompiledPolicy{std::move(content)}};
}

Result<std::string> CompiledPolicy::answer(const Question& question, std::size_t size) const {
  const auto here = [&] { return content_->engine->evaluate(question); };
  const auto pool = Isolation::current();
  if (!pool) return in_room(here);
  // What explains is compiled once more, with more in it.
  const bool large = question.explain == Explain::yes && content_->size > kExplainedHere;
  if (is_plain() && size <= Isolation::kPlainInput && !large && !content_->stopped) {
    // Memory is the process's: what does not do for it here may be what others hold.
    auto first = room().beside_others(here);
    if (first || first.error().code() != Errc::limit_exceeded) return first;
  }
  return pool->evaluate(content_->number, content_->modules, content_->entrypoints, question);
}

Result<Evaluation> CompiledPolicy::evaluate(const Given& given, Explain explain) const {
  const auto& limits = content_->limits;
  const auto* const known = given.known_input ? given.known_input->content_.get() : nullptr;
  const auto own_input = known == nullptr ? json::write(given.input) : std::string{};
  const auto data = text_of(given.data);
  const auto reference_values = text_of(given.reference_values);
  const std::string_view input = known == nullptr ? own_input : known->text;
  const auto size = input.size() + data.size() + reference_values.size();
  if (size > limits.input_bytes) return too_large(size, limits);
  const auto time = std::clamp(given.time.value_or(limits.time), std::chrono::microseconds{0}, limits.time);
  const Question question{known == nullptr ? nullptr : known->document.get(), input, data, reference_values, time, explain,
                          limits.result_bytes};
  std::optional<Turn> turn;
  if (content_->stopped && !turn.emplace().taken()) {
    return Error{Errc::overloaded, "the policy was stopped by a limit before: such policies are evaluated one at a time, and one is"};
  }
  auto text = answer(question, size);
  const auto code = text ? Errc::internal : text.error().code();
  const bool ended = code == Errc::limit_exceeded || (code == Errc::deadline_exceeded && time == limits.time);
  if (text || ended) content_->stopped = ended;
  if (!text) return std::move(text).error();
  return read_answer(*text, limits);
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
