#include "cloister/exercise/exercise.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "behaviour.hpp"

namespace cloister::exercise {

std::string_view Exercise::name() const noexcept { return entry_->name; }
std::string_view Exercise::title() const noexcept {
  auto line = entry_->goal.substr(0, entry_->goal.find('\n'));
  if (line.starts_with("# ")) line.remove_prefix(2);
  return line;
}
std::string_view Exercise::tee() const noexcept { return entry_->behaviour.tee; }
unsigned Exercise::level() const noexcept { return entry_->behaviour.level; }
unsigned Exercise::points() const noexcept {
  const auto& goals = entry_->behaviour.goals;
  return std::accumulate(goals.begin(), goals.end(), 0U, [](unsigned sum, const Goal& goal) { return sum + goal.points; });
}
std::string_view Exercise::goal() const noexcept { return entry_->goal; }
std::string_view Exercise::hints() const noexcept { return entry_->hints; }
std::string_view Exercise::explain() const noexcept { return entry_->explain; }

Files Exercise::start() const {
  auto out = entry_->behaviour.more_files != nullptr ? entry_->behaviour.more_files() : Files{};
  for (const auto& [name, text] : entry_->start) out.emplace(name, text);
  return out;
}

Result<Verdict> Exercise::check(const Files& files) const {
  for (const auto& [name, text] : start()) {
    const auto given = files.find(name);
    if (given == files.end()) return Error{Errc::not_found, name + " is missing"};
    if (given->second.size() > kMaxFileSize) return Error{Errc::limit_exceeded, name + " is larger than 256 KiB"};
  }
  Verdict out;
  CLOISTER_CHECK(entry_->behaviour.replay(files, out.log));
  out.points = points();
  for (const auto& goal : entry_->behaviour.goals) {
    const bool met = goal.met(out.log);
    out.goals.push_back({goal.name, goal.points, met, goal.next});
    if (met) out.score += goal.points;
  }
  return out;
}

const std::vector<Exercise>& all() {
  static const auto sorted = [] {
    std::vector<Exercise> out;
    for (const auto& entry : registry()) out.emplace_back(entry);
    std::ranges::sort(out, {}, [](const Exercise& e) { return std::tuple{e.tee(), e.level(), e.name()}; });
    return out;
  }();
  return sorted;
}

Result<Exercise> find(std::string_view name) {
  std::string names;
  for (const auto& one : all()) {
    if (one.name() == name) return one;
    names.append(names.empty() ? "" : ", ").append(one.name());
  }
  return Error{Errc::not_found, "no exercise of that name; there are " + names};
}

}  // namespace cloister::exercise
