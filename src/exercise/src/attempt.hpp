#pragma once

#include <functional>
#include <initializer_list>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/exercise/exercise.hpp"

/// Reading what a student wrote, and asking an event log: what the exercises share.
namespace cloister::exercise {

inline constexpr std::size_t kMaxSteps = 64;  // of an attempt

/// `attempt.json`: {"steps": [{"op": "…", …}, …]}. Calls `play` with each step's op and its other members, which `play` asks
/// for and then finishes; the log says which step it is. Errors say file and step.
using Play = std::function<Result<void>(const std::string& op, codec::json::Fields& fields)>;
[[nodiscard]] Result<void> play_steps(const Files& files, EventLog& log, const Play& play);
/// For `play`: an op that there is not.
[[nodiscard]] Error unknown_op(std::string_view op, std::string_view known);

/// A number, or a text like "0x1000"; 0 and a failure of `fields` for anything else, and beyond `max`.
[[nodiscard]] std::uint64_t number(codec::json::Fields& fields, std::string_view name, std::uint64_t max = UINT64_MAX);
/// One of these texts.
[[nodiscard]] std::string one_of(codec::json::Fields& fields, std::string_view name, std::initializer_list<std::string_view> words);

/// The bytes of a student's .hex file.
[[nodiscard]] Result<Bytes> hex_file(const Files& files, std::string_view name, std::size_t max);

/// Whether some event fits.
[[nodiscard]] bool any(const EventLog& log, const std::function<bool(const Event&)>& fits);
/// Whether some event has this op, an outcome that begins so, and these details.
[[nodiscard]] bool happened(const EventLog& log, std::string_view op, std::string_view outcome,
                            std::initializer_list<std::pair<std::string_view, std::string_view>> details = {});
/// The position of the first such event from `from` on; that of the end of the log when there is none.
[[nodiscard]] std::size_t first(const EventLog& log, std::size_t from, std::string_view op, std::string_view outcome);

}  // namespace cloister::exercise
