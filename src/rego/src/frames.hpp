#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "engine.hpp"

/// What the server and the process that evaluates for it say to each other: CBOR arrays, one a frame. Views of what was
/// read point into the frame.
namespace cloister::rego {

/// Numbers of policies are the server's own, and never used twice.
struct LoadPolicy {
  std::uint64_t policy;
  std::vector<Module> modules;
  std::vector<std::string> entrypoints;
};

struct AskPolicy {
  std::uint64_t policy;
  Question question;  // without known_input
};

struct Answered {
  std::string text;  // of an evaluation; empty for a policy that was loaded
};
struct PolicyUnknown {};

using Request = std::variant<LoadPolicy, AskPolicy>;
using Answer = std::variant<Answered, PolicyUnknown, Error>;

[[nodiscard]] Bytes write_load(std::uint64_t policy, std::span<const Module> modules, std::span<const std::string> entrypoints);
[[nodiscard]] Bytes write_ask(std::uint64_t policy, const Question& question);
[[nodiscard]] Result<Request> read_request(ByteView frame);

[[nodiscard]] Bytes write(const Answer& answer);
[[nodiscard]] Result<Answer> read_answer_frame(ByteView frame);

}  // namespace cloister::rego
