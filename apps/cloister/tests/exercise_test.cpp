#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "support/support.hpp"

namespace cloister::cli {
namespace {

struct Ran {
  int code;
  std::string out;
  std::string err;
};

Ran exercise(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const test::FakeClock clock{from_civil(2026, 3, 1, 0, 0, 0).value()};
  arguments.insert(arguments.begin(), {"lab", "exercise"});
  const int code = run(std::move(arguments), out, err, clock);
  return {code, out.str(), err.str()};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

struct ExerciseCommand : ::testing::Test {
  test::TempDir temporary;
  std::filesystem::path folder = temporary.path() / "mine";
  Ran in_folder(std::string command, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{std::move(command), "sealed-rollback", "--dir", folder.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return exercise(std::move(arguments));
  }
};

TEST_F(ExerciseCommand, IsStartedAttemptedCheckedAndReset) {
  const auto started = in_folder("start");
  ASSERT_EQ(started.code, kOk) << started.err;
  EXPECT_TRUE(has(started.out, "# Sealed rollback")) << started.out;
  EXPECT_TRUE(std::filesystem::exists(folder / "goal.md"));
  const auto untouched = in_folder("check");
  EXPECT_EQ(untouched.code, kRejected);
  EXPECT_TRUE(has(untouched.out, "\n0 of 10 points\n")) << untouched.out;
  EXPECT_TRUE(has(untouched.out, "next: ")) << untouched.out;

  std::filesystem::copy_file(folder / "plain-yesterday.hex", folder / "plain.hex", std::filesystem::copy_options::overwrite_existing);
  const auto tried = in_folder("check");
  EXPECT_EQ(tried.code, kRejected);
  EXPECT_TRUE(has(tried.out, "-> opened: balance=100 EUR\n")) << tried.out;
  EXPECT_TRUE(has(tried.out, "\n3 of 10 points\n")) << tried.out;

  std::ofstream{folder / "notes.txt"} << "mine";
  EXPECT_EQ(in_folder("reset").out, "restored plain.hex\n");
  EXPECT_TRUE(has(in_folder("check").out, "\n0 of 10 points\n"));
  EXPECT_TRUE(std::filesystem::exists(folder / "notes.txt"));
}

TEST_F(ExerciseCommand, SaysItsVerdictAsJson) {
  ASSERT_EQ(in_folder("start").code, kOk);
  const auto checked = in_folder("check", {"--json"});
  EXPECT_EQ(checked.code, kRejected);
  const auto verdict = codec::json::parse(checked.out).value();
  EXPECT_FALSE(*verdict.find("passed")->as_bool());
  EXPECT_EQ(verdict.find("points")->as_int(), 10);
  EXPECT_EQ(verdict.find("goals")->as_array()->size(), 3U);
  EXPECT_EQ(*verdict.find("events")->as_array()->front().find("op")->as_string(), "ECREATE");
  const auto list = codec::json::parse(exercise({"list", "--json"}).out).value();
  for (const auto& row : *list.as_array()) {
    const bool rollback = *row.find("name")->as_string() == "sealed-rollback";
    EXPECT_TRUE(!rollback || *row.find("tee")->as_string() == "SGX");
    EXPECT_EQ(row.find("points")->as_int(), 10);
  }
}

TEST_F(ExerciseCommand, ThatCannotDoItsWorkSaysWhy) {
  EXPECT_EQ(in_folder("check").code, kFailed);
  EXPECT_TRUE(has(in_folder("reset").err, "not_found"));
  ASSERT_EQ(in_folder("start").code, kOk);
  const auto again = in_folder("start");
  EXPECT_EQ(again.code, kFailed);
  EXPECT_TRUE(has(again.err, "conflict: ") && has(again.err, "--dir")) << again.err;
  std::ofstream{folder / "plain.hex"} << "zz";
  const auto broken = in_folder("check");
  EXPECT_EQ(broken.code, kFailed);
  EXPECT_TRUE(has(broken.err, "plain.hex: line 1")) << broken.err;
  const auto unknown = exercise({"explain", "nothing"});
  EXPECT_EQ(unknown.code, kFailed);
  EXPECT_TRUE(has(unknown.err, "sealed-rollback")) << unknown.err;
  EXPECT_TRUE(has(exercise({"explain", "sealed-rollback"}).out, "In the real world"));
}

}  // namespace
}  // namespace cloister::cli
