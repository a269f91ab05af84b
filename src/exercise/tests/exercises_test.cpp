#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cloister/codec/json.hpp"
#include "cloister/exercise/exercise.hpp"
#include "support/support.hpp"

/// Every exercise, whatever directories there are: its solution passes, its wrong attempt fails as it says, what a student
/// begins with fails, and what its texts show of the log is true.
namespace cloister::exercise {
namespace {

namespace json = codec::json;

std::filesystem::path folder_of(const Exercise& exercise) {
  return test::source_dir() / "src/exercise/exercises" / exercise.name();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) out.push_back(line + "\n");
  return out;
}

/// Drops one line, or exchanges two; lines are numbered from 1.
std::string with_lines(const std::string& text, const json::Value& edit) {
  auto lines = lines_of(text);
  const auto at = [&](const json::Value& number) { return static_cast<std::ptrdiff_t>(number.as_uint().value()) - 1; };
  if (const auto* drop = edit.find("drop_line")) lines.erase(lines.begin() + at(*drop));
  if (const auto* swap = edit.find("swap_lines")) {
    std::iter_swap(lines.begin() + at(swap->as_array()->at(0)), lines.begin() + at(swap->as_array()->at(1)));
  }
  std::string out;
  for (const auto& line : lines) out += line;
  return out;
}

/// The files after the edits of a solution.json or wrong.json: copies, whole contents, lines dropped or exchanged, and
/// replacements of a text.
Files edited(const Exercise& exercise, const json::Value& attempt) {
  auto files = exercise.start();
  for (const auto& edit : *attempt.find("edits")->as_array()) {
    if (const auto* from = edit.find("copy")) {
      files[*edit.find("to")->as_string()] = files.at(*from->as_string());
      continue;
    }
    auto& text = files.at(*edit.find("file")->as_string());
    if (const auto* content = edit.find("content")) {
      text = content->as_string() != nullptr ? *content->as_string() : json::write_pretty(*content);
      continue;
    }
    const auto* replaced = edit.find("replace");
    if (replaced == nullptr) {
      text = with_lines(text, edit);
      continue;
    }
    const auto& old = *replaced->as_string();
    const auto at = text.find(old);
    EXPECT_NE(at, std::string::npos) << old;
    if (at != std::string::npos) text.replace(at, old.size(), *edit.find("with")->as_string());
  }
  return files;
}

std::string shown(const Verdict& verdict) {
  std::string out;
  for (const auto& event : verdict.log.events()) out += to_text(event) + "\n";
  for (const auto& goal : verdict.goals) out += std::string{goal.met ? "done " : "open "} + std::string{goal.name} + "\n";
  return out;
}

json::Value read(const Exercise& exercise, const char* file) {
  auto parsed = json::parse(test::read_text(folder_of(exercise) / file));
  EXPECT_TRUE(parsed.ok()) << file << ": " << parsed.error().text();
  return parsed.ok() ? std::move(parsed).value() : json::Value{json::Object{}};
}

/// Each line of the blocks ```log begins a line of the log.
void expect_true(std::string_view text, const std::string& log) {
  bool inside = false;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with("```")) {
      inside = line == "```log";
    } else if (inside) {
      EXPECT_NE(("\n" + log).find("\n" + std::string{line}), std::string::npos) << line << "\nis not in\n" << log;
    }
  }
}

class Exercises : public ::testing::TestWithParam<Exercise> {};

TEST_P(Exercises, UntouchedStartFails) {
  const auto verdict = GetParam().check(GetParam().start());
  ASSERT_TRUE(verdict.ok()) << verdict.error().text();
  EXPECT_FALSE(verdict->passed());
  expect_true(GetParam().goal(), shown(*verdict));
}

TEST_P(Exercises, SolutionPasses) {
  const auto verdict = GetParam().check(edited(GetParam(), read(GetParam(), "solution.json")));
  ASSERT_TRUE(verdict.ok()) << verdict.error().text();
  EXPECT_TRUE(verdict->passed()) << shown(*verdict);
  expect_true(GetParam().explain(), shown(*verdict));
}

TEST_P(Exercises, WrongAttemptFailsForTheStatedReason) {
  const auto wrong = read(GetParam(), "wrong.json");
  const auto verdict = GetParam().check(edited(GetParam(), wrong));
  ASSERT_TRUE(verdict.ok()) << verdict.error().text();
  EXPECT_FALSE(verdict->passed());
  const auto* expected = wrong.find("expect")->as_string();
  ASSERT_NE(expected, nullptr);
  EXPECT_NE(shown(*verdict).find(*expected), std::string::npos) << *expected << "\nis not in\n" << shown(*verdict);
}

TEST_P(Exercises, AreComplete) {
  const auto& exercise = GetParam();
  EXPECT_EQ(exercise.points(), 10U);
  EXPECT_GE(exercise.level(), 1U);
  EXPECT_LE(exercise.level(), 3U);
  for (const auto text : {exercise.goal(), exercise.hints(), exercise.explain()}) {
    EXPECT_TRUE(text.starts_with("# "));
    EXPECT_TRUE(text.ends_with("\n"));
  }
  EXPECT_EQ(find(exercise.name())->title(), exercise.title());
  // Every file is missed, and none may be too large; one that cannot be read is named.
  std::size_t read = 0;
  for (const auto& [name, text] : exercise.start()) {
    auto files = exercise.start();
    files.erase(name);
    EXPECT_EQ(exercise.check(files).error().code(), Errc::not_found) << name;
    files[name] = std::string(kMaxFileSize + 1, ' ');
    EXPECT_EQ(exercise.check(files).error().code(), Errc::limit_exceeded) << name;
    files[name] = "{";
    const auto broken = exercise.check(files);
    if (broken.ok()) {  // a file to copy from, which is not read itself
      EXPECT_EQ(shown(*broken), shown(*exercise.check(exercise.start()))) << name;
      continue;
    }
    ++read;
    EXPECT_TRUE(broken.error().detail().starts_with(name)) << broken.error().text();
  }
  EXPECT_GT(read, 0U);
}

INSTANTIATE_TEST_SUITE_P(All, Exercises, ::testing::ValuesIn(all()), [](const auto& instance) {
  std::string name{instance.param.name()};
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(Registry, HasADirectoryForEachExercise) {
  std::size_t directories = 0;
  for (const auto& entry : std::filesystem::directory_iterator{test::source_dir() / "src/exercise/exercises"}) {
    directories += entry.is_directory() ? 1U : 0U;
    EXPECT_TRUE(find(entry.path().filename().string()).ok()) << entry.path();
  }
  EXPECT_EQ(all().size(), directories);
  EXPECT_EQ(find("nothing").error().code(), Errc::not_found);
}

}  // namespace
}  // namespace cloister::exercise
