#include <algorithm>
#include <list>

#include "cloister/process/frame_socket.hpp"
#include "cloister/process/private_memory.hpp"
#include "cloister/rego/isolation.hpp"
#include "engine.hpp"
#include "frames.hpp"

namespace cloister::rego {
namespace {

/// Policies that are kept, and bytes of their texts together: compiled they take up to 140 times as much.
constexpr std::size_t kMostPolicies = 16;
constexpr std::size_t kMostText = 512U << 10;
constexpr process::FrameLimits kFrames{.bytes = 16U << 20, .descriptors = 0};

/// Policies by number, the most recently used first.
class Loaded {
 public:
  [[nodiscard]] Answer answer(Request request) {
    if (auto* load = std::get_if<LoadPolicy>(&request)) return take(*load);
    return ask(std::get<AskPolicy>(request));
  }

 private:
  struct Entry {
    std::uint64_t policy;
    std::size_t size;
    std::unique_ptr<const Engine> engine;
  };
  [[nodiscard]] Answer take(const LoadPolicy& load) {
    std::size_t size = 0;
    for (const auto& module : load.modules) size += module.text.size();
    while (!entries_.empty() && (entries_.size() >= kMostPolicies || size_ + size > kMostText)) {
      size_ -= entries_.back().size;
      entries_.pop_back();
    }
    auto engine = Engine::compile(load.modules, load.entrypoints);
    if (!engine) return std::move(engine).error();
    entries_.push_front({load.policy, size, *std::move(engine)});
    size_ += size;
    return Answered{};
  }
  [[nodiscard]] Answer ask(const AskPolicy& asked) {
    const auto found = std::ranges::find(entries_, asked.policy, &Entry::policy);
    if (found == entries_.end()) return PolicyUnknown{};
    entries_.splice(entries_.begin(), entries_, found);
    auto text = found->engine->evaluate(asked.question);
    if (!text) return std::move(text).error();
    return Answered{*std::move(text)};
  }
  std::list<Entry> entries_;
  std::size_t size_ = 0;  // of all
};

}  // namespace

int serve_evaluations(int descriptor) {
  process::keep_memory_private();
  process::FrameSocket socket{process::UniqueFd{descriptor}, kFrames};
  Loaded loaded;
  for (;;) {
    const Deadline far{std::chrono::steady_clock::now() + std::chrono::hours{1}};
    auto frame = socket.receive(far);
    if (!frame && frame.error().code() == Errc::deadline_exceeded) continue;
    if (!frame) return frame.error().code() == Errc::peer_closed ? 0 : 1;
    auto request = read_request(frame->payload);
    if (!request) return 1;
    const auto answer = loaded.answer(*std::move(request));
    const Deadline soon{std::chrono::steady_clock::now() + std::chrono::seconds{10}};
    if (!socket.send(write(answer), {}, soon)) return 1;
  }
}

}  // namespace cloister::rego
