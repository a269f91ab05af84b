#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/exercise/exercise.hpp"

/// What an exercise's directory defines, as `kBehaviour` in the namespace of its name.
namespace cloister::exercise {

struct Goal {
  std::string_view name;
  unsigned points;
  bool (*met)(const EventLog& log);
  std::string_view next;
};

struct Behaviour {
  std::string_view tee;
  unsigned level;
  /// Files beyond those of its folder `start`; may be null.
  Files (*more_files)();
  /// Plays the files on a new machine. An error only for files that cannot be read: what a defence says is an event.
  Result<void> (*replay)(const Files& files, EventLog& log);
  std::span<const Goal> goals;
};

struct Entry {
  std::string_view name;
  const Behaviour& behaviour;
  std::string_view goal;
  std::string_view hints;
  std::string_view explain;
  std::vector<std::pair<std::string_view, std::string_view>> start;
};

/// Generated from the directories.
[[nodiscard]] const std::vector<Entry>& registry();

}  // namespace cloister::exercise
