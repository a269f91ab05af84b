#include "cloister/exercise/exercise.hpp"

#include <iomanip>
#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
using exercise::Exercise;

struct Options {
  std::string name;
  std::optional<fs::path> dir;
  bool json = false;

  [[nodiscard]] fs::path folder() const { return dir.value_or(fs::path{name}); }
};

Error io_error(const fs::path& path, const std::error_code& problem) {
  return Error{Errc::io_error, path.string() + ": " + problem.message()};
}

void list(const Options& options, Context& context) {
  json::Array rows;
  for (const auto& one : exercise::all()) {
    if (options.json) {
      rows.emplace_back(json::Object{{"name", one.name()}, {"title", one.title()}, {"tee", one.tee()}, {"level", one.level()},
                                     {"points", one.points()}});
    } else {
      context.out << std::left << std::setw(24) << one.name() << std::setw(9) << one.tee() << std::setw(3) << one.level() << one.title()
                  << '\n';
    }
  }
  if (options.json) context.out << json::write_pretty(json::Value{std::move(rows)}) << '\n';
}

/// The texts and the files that a student begins with.
exercise::Files all_files(const Exercise& one) {
  auto files = one.start();
  files.emplace("goal.md", one.goal());
  files.emplace("hints.md", one.hints());
  return files;
}

Result<void> start(const Options& options, Context& context) {
  CLOISTER_TRY(one, exercise::find(options.name));
  const auto folder = options.folder();
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) return io_error(folder, problem);
  const bool empty = fs::is_empty(folder, problem);
  if (problem) return io_error(folder, problem);
  if (!empty) return Error{Errc::conflict, folder.string() + " is not empty"};
  for (const auto& [name, text] : all_files(one)) CLOISTER_CHECK(write_file(folder / name, text, Readers::everyone));
  context.out << one.goal() << "\nThe files are in " << folder.string() << ". When you have changed them: cloister lab exercise check "
              << one.name();
  if (options.dir) context.out << " --dir " << folder.string();
  context.out << '\n';
  return {};
}

Result<void> reset(const Options& options, Context& context) {
  CLOISTER_TRY(one, exercise::find(options.name));
  const auto folder = options.folder();
  if (!fs::is_directory(folder)) return Error{Errc::not_found, folder.string() + " is no directory"};
  for (const auto& [name, text] : all_files(one)) {
    const auto there = read_file(folder / name, exercise::kMaxFileSize);
    if (there && as_text(*there) == text) continue;
    CLOISTER_CHECK(write_file(folder / name, text, Readers::everyone));
    context.out << "restored " << name << '\n';
  }
  return {};
}

/// What the exercise names, and nothing else of the folder.
Result<exercise::Files> read_files(const Exercise& one, const fs::path& folder) {
  exercise::Files files;
  for (const auto& [name, text] : one.start()) {
    CLOISTER_TRY(bytes, read_file(folder / name, exercise::kMaxFileSize));
    files.emplace(name, as_text(bytes));
  }
  return files;
}

json::Value to_json(const Exercise& one, const exercise::Verdict& verdict) {
  json::Array goals;
  for (const auto& goal : verdict.goals) {
    json::Object row{{"name", goal.name}, {"points", goal.points}, {"met", goal.met}};
    if (!goal.met) row.emplace_back("next", goal.next);
    goals.emplace_back(std::move(row));
  }
  return json::Object{{"exercise", one.name()},  {"passed", verdict.passed()},    {"score", verdict.score},
                      {"points", verdict.points}, {"goals", std::move(goals)}, {"events", exercise::to_json(verdict.log)}};
}

void print(std::ostream& out, const Exercise& one, const exercise::Verdict& verdict) {
  for (const auto& event : verdict.log.events()) out << printable(exercise::to_text(event)) << '\n';
  out << '\n';
  for (const auto& goal : verdict.goals) {
    out << (goal.met ? "done  " : "open  ") << goal.points << (goal.points == 1 ? " point   " : " points  ") << goal.name << '\n';
    if (!goal.met) out << "      next: " << goal.next << '\n';
  }
  out << '\n' << verdict.score << " of " << verdict.points << " points";
  if (verdict.passed()) out << ". What defended, and what did not: cloister lab exercise explain " << one.name();
  out << '\n';
}

Result<void> check(const Options& options, Context& context) {
  CLOISTER_TRY(one, exercise::find(options.name));
  CLOISTER_TRY(files, read_files(one, options.folder()));
  CLOISTER_TRY(verdict, one.check(files));
  if (options.json) {
    context.out << json::write_pretty(to_json(one, verdict)) << '\n';
  } else {
    print(context.out, one, verdict);
  }
  context.exit_code = verdict.passed() ? kOk : kRejected;
  return {};
}

Result<void> explain(const Options& options, Context& context) {
  CLOISTER_TRY(one, exercise::find(options.name));
  context.out << one.explain();
  return {};
}

using Act = Result<void> (*)(const Options& options, Context& context);

struct Command {
  const char* name;
  const char* help;
  Act act;
  const char* remedy;
  bool in_folder;
  bool as_json;
};

constexpr Command kCommands[] = {
    {"start", "Write an exercise's files into a folder, and say its goal", start, "name another folder with --dir, or restore this one with reset",
     true, false},
    {"check", "Play what is in the folder on the lab's machine, and judge it", check,
     "`cloister lab exercise start` makes the folder, reset restores its files", true, true},
    {"explain", "What defended, what did not, and what is done about it", explain, "`cloister lab exercise list` has them", false, false},
    {"reset", "Restore the files that the exercise began with", reset, "`cloister lab exercise start` makes the folder", true, false},
};

}  // namespace

void add_exercise(CLI::App& lab, Context& context) {
  auto* family = lab.add_subcommand("exercise", "Attacks to try on the simulated TEEs, with a checker and an explanation");
  family->require_subcommand(1);
  const auto listing = std::make_shared<Options>();
  auto* listed = family->add_subcommand("list", "The exercises: name, TEE, level, title");
  listed->add_flag("--json", listing->json, "One JSON array");
  listed->callback([listing, &context] { list(*listing, context); });
  for (const auto& one : kCommands) {
    const auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
    auto* command = family->add_subcommand(one.name, one.help);
    command->add_option("name", options->name, "As `list` has it")->required();
    if (one.in_folder) command->add_option("--dir", options->dir, "The folder; by default the exercise's name here");
    if (one.as_json) command->add_flag("--json", options->json, "One JSON object: score, goals, events");
    command->callback([options, &one, &context] {
      if (const auto done = one.act(*options, context); !done) context.fail(done.error(), one.remedy);
    });
  }
}

}  // namespace cloister::cli
