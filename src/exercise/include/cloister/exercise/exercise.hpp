#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/exercise/event_log.hpp"

/// LAB ONLY - NOT HARDWARE. Exercises: attacks that a person tries on the lab's models of SGX, SEV-SNP and TDX. What the
/// person writes into files is played on the real models, everything that happens goes into an event log, and the log
/// alone is judged.
namespace cloister::exercise {

/// A student's folder: names of files and their texts.
using Files = std::map<std::string, std::string, std::less<>>;
inline constexpr std::size_t kMaxFileSize = 256 * 1024;  // of each, bytes

/// A goal of an exercise, and whether the event log shows it.
struct GoalResult {
  std::string_view name;
  unsigned points = 0;
  bool met = false;
  std::string_view next;  // what to try while it is not met
};

struct Verdict {
  EventLog log;
  std::vector<GoalResult> goals;
  unsigned score = 0;
  unsigned points = 0;  // of all goals
  [[nodiscard]] bool passed() const noexcept { return score == points; }
};

struct Entry;

/// One exercise. Cheap to copy; immutable. Thread-safe.
class Exercise {
 public:
  explicit Exercise(const Entry& entry) : entry_{&entry} {}
  [[nodiscard]] std::string_view name() const noexcept;   // "epc-replay"
  [[nodiscard]] std::string_view title() const noexcept;  // first line of its goal
  [[nodiscard]] std::string_view tee() const noexcept;    // "SGX", "SEV-SNP", "TDX"
  [[nodiscard]] unsigned level() const noexcept;          // 1 (nothing needed) to 3
  [[nodiscard]] unsigned points() const noexcept;
  [[nodiscard]] std::string_view goal() const noexcept;     // Markdown, as the two below
  [[nodiscard]] std::string_view hints() const noexcept;
  [[nodiscard]] std::string_view explain() const noexcept;

  /// The files that a student begins with and changes; the same at each call, but for signatures in them.
  [[nodiscard]] Files start() const;
  /// Plays an attempt. `not_found` with the name of a file that is missing, `limit_exceeded`, `malformed` and the codes of
  /// the JSON parser with file and step for files that cannot be read: then nothing is judged. Files of other names are not
  /// looked at.
  [[nodiscard]] Result<Verdict> check(const Files& files) const;

 private:
  const Entry* entry_;
};

/// By TEE, level and name.
[[nodiscard]] const std::vector<Exercise>& all();
/// `not_found` with the names that there are.
[[nodiscard]] Result<Exercise> find(std::string_view name);

}  // namespace cloister::exercise
