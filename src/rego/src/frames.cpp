#include "frames.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/cbor.hpp"

namespace cloister::rego {
namespace {

namespace cbor = codec::cbor;

constexpr std::uint64_t kLoad = 1;
constexpr std::uint64_t kAsk = 2;
constexpr std::uint64_t kAnswered = 3;
constexpr std::uint64_t kUnknown = 4;
constexpr std::uint64_t kRefused = 5;

constexpr std::size_t kMostModules = 64;
constexpr std::size_t kMostEntrypoints = 64;

/// What an evaluation can be refused for, by number.
constexpr std::array kCodes{Errc::internal,         Errc::malformed,      Errc::policy_invalid,
                            Errc::deadline_exceeded, Errc::limit_exceeded, Errc::policy_evaluation_failed};

std::string text_of(cbor::Reader& in) { return std::string{as_text(in.bytes())}; }

LoadPolicy read_load(cbor::Reader& in) {
  LoadPolicy out;
  out.policy = in.uint();
  const auto modules = in.array_up_to(kMostModules);
  for (std::size_t i = 0; i < modules && !in.failed(); ++i) {
    in.array(2);
    auto name = text_of(in);
    auto text = text_of(in);
    out.modules.push_back({std::move(name), std::move(text)});
  }
  const auto entrypoints = in.array_up_to(kMostEntrypoints);
  for (std::size_t i = 0; i < entrypoints && !in.failed(); ++i) out.entrypoints.push_back(text_of(in));
  return out;
}

AskPolicy read_ask(cbor::Reader& in) {
  AskPolicy out{};
  out.policy = in.uint();
  out.question.input = as_text(in.bytes());
  out.question.data = as_text(in.bytes());
  out.question.reference_values = as_text(in.bytes());
  const auto time = in.uint();
  if (time > std::uint64_t{INT64_MAX}) in.fail(Errc::malformed, "time");
  out.question.time = std::chrono::microseconds{static_cast<std::int64_t>(time)};
  out.question.explain = in.boolean() ? Explain::yes : Explain::no;
  out.question.result_bytes = in.uint();
  return out;
}

}  // namespace

Bytes write_load(std::uint64_t policy, std::span<const Module> modules, std::span<const std::string> entrypoints) {
  cbor::Writer out;
  out.array(2).uint(kLoad).array(3).uint(policy).array(modules.size());
  for (const auto& module : modules) out.array(2).bytes(as_bytes(module.name)).bytes(as_bytes(module.text));
  out.array(entrypoints.size());
  for (const auto& entrypoint : entrypoints) out.bytes(as_bytes(entrypoint));
  return out.take();
}

Bytes write_ask(std::uint64_t policy, const Question& question) {
  cbor::Writer out;
  out.reserve(question.input.size() + question.data.size() + question.reference_values.size() + 64);
  out.array(2).uint(kAsk).array(7).uint(policy);
  out.bytes(as_bytes(question.input)).bytes(as_bytes(question.data)).bytes(as_bytes(question.reference_values));
  out.uint(static_cast<std::uint64_t>(question.time.count())).boolean(question.explain == Explain::yes).uint(question.result_bytes);
  return out.take();
}

Result<Request> read_request(ByteView frame) {
  cbor::Reader in{frame};
  in.array(2);
  Request out;
  switch (in.uint()) {
    case kLoad:
      in.array(3);
      out = read_load(in);
      break;
    case kAsk:
      in.array(7);
      out = read_ask(in);
      break;
    default: in.fail(Errc::malformed, "no such request");
  }
  CLOISTER_CHECK(in.finish());
  return out;
}

Bytes write(const Answer& answer) {
  cbor::Writer out;
  out.array(3);
  if (const auto* answered = std::get_if<Answered>(&answer)) {
    out.uint(kAnswered).uint(0).bytes(as_bytes(answered->text));
  } else if (const auto* error = std::get_if<Error>(&answer)) {
    const auto code = std::ranges::find(kCodes, error->code());
    out.uint(kRefused).uint(code == kCodes.end() ? 0 : static_cast<std::uint64_t>(code - kCodes.begin()));
    out.bytes(as_bytes(error->detail()));
  } else {
    out.uint(kUnknown).uint(0).bytes({});
  }
  return out.take();
}

Result<Answer> read_answer_frame(ByteView frame) {
  cbor::Reader in{frame};
  in.array(3);
  const auto kind = in.uint();
  const auto code = in.uint();
  auto text = text_of(in);
  if (kind < kAnswered || kind > kRefused || code >= kCodes.size()) in.fail(Errc::malformed, "no such answer");
  CLOISTER_CHECK(in.finish());
  if (kind == kAnswered) return Answer{Answered{std::move(text)}};
  if (kind == kUnknown) return Answer{PolicyUnknown{}};
  return Answer{Error{kCodes[code], std::move(text)}};
}

}  // namespace cloister::rego
