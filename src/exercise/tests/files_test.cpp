#include <gtest/gtest.h>

#include "attempt.hpp"
#include "hex_text.hpp"

namespace cloister::exercise {
namespace {

TEST(HexText, IsReadWithItsComments) {
  EXPECT_EQ(parse_hex_text("# nothing but this\n", 8).value(), Bytes{});
  EXPECT_EQ(parse_hex_text("01 02\t0aFf # 03\r\n\n  07", 8).value(), (Bytes{1, 2, 0x0A, 0xFF, 7}));
  const auto refusal = [](std::string_view text) { return parse_hex_text(text, 4).error().text(); };
  EXPECT_EQ(refusal("00\n1 2"), "malformed: line 2: bytes of two hex digits expected");
  EXPECT_EQ(refusal("0"), "malformed: line 1: bytes of two hex digits expected");
  EXPECT_EQ(refusal("0x01"), "malformed: line 1: bytes of two hex digits expected");
  EXPECT_EQ(refusal("01 02 03 04\n05"), "limit_exceeded: line 2: more than 4 bytes");
}

TEST(HexText, IsWrittenFieldByField) {
  HexText text;
  text.note("a file").field("one", Bytes{1}).field("many", Bytes(18, 0xAB));
  EXPECT_EQ(text.text(), "# a file\n# 0x0 one\n01\n# 0x1 many\nab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab\nab ab\n");
  EXPECT_EQ(parse_hex_text(text.text(), 64)->size(), 19U);
}

std::string problem(std::string_view attempt, std::uint64_t max = 0xFFFF) {
  EventLog log;
  const auto played = play_steps({{"attempt.json", std::string{attempt}}}, log, [&](const std::string& op, codec::json::Fields& f) -> Result<void> {
    if (op != "DO") return unknown_op(op, "DO");
    const auto at = number(f, "at", max);
    const auto who = one_of(f, "who", {"a", "b"});
    CLOISTER_CHECK(f.finish());
    log.add(who, op, {{"at", hex_number(at)}}, "success");
    return {};
  });
  if (!played) return played.error().text();
  std::string out;
  for (const auto& event : log.events()) out += to_text(event) + ";";
  return out;
}

TEST(Attempt, IsPlayedStepByStep) {
  EXPECT_EQ(problem(R"({"steps": []})"), "");
  EXPECT_EQ(problem(R"({"steps": [{"op":"DO","at":16,"who":"a"},{"op":"DO","at":"0x1F","who":"b"}]})"),
            "[1] a DO at=0x10 -> success;[2] b DO at=0x1f -> success;");
}

TEST(Attempt, ThatCannotBeReadSaysWhere) {
  EXPECT_NE(problem("{").find("attempt.json"), std::string::npos);
  EXPECT_NE(problem("{}").find("steps"), std::string::npos);
  EXPECT_NE(problem(R"({"steps": [], "more": 1})").find("more"), std::string::npos);
  EXPECT_NE(problem(R"({"steps": [7]})").find("step 1"), std::string::npos);
  EXPECT_EQ(problem(R"({"steps": [{"op":"LEAP"}]})"), "malformed: attempt.json, step 1: no such op: \"LEAP\"; there are DO");
  for (const auto* at : {"-1", "\"10\"", "\"0x\"", "\"0x1g\"", "\"0x10000000000000000\"", "1.5", "null", "65536"}) {
    const auto text = problem(R"({"steps": [{"op":"DO","at":)" + std::string{at} + R"(,"who":"a"}]})");
    EXPECT_NE(text.find("attempt.json, step 1"), std::string::npos) << text;
    EXPECT_NE(text.find("at"), std::string::npos) << text;
  }
  EXPECT_NE(problem(R"({"steps": [{"op":"DO","at":1,"who":"c"}]})").find("one of a, b expected"), std::string::npos);
  EXPECT_NE(problem(R"({"steps": [{"op":"DO","at":1,"who":"a","why":1}]})").find("why"), std::string::npos);
  std::string many = R"({"steps": [)";
  for (std::size_t i = 0; i <= kMaxSteps; ++i) many += std::string{i == 0 ? "" : ","} + R"({"op":"DO","at":1,"who":"a"})";
  EXPECT_EQ(problem(many + "]}"), "limit_exceeded: attempt.json: more than 64 steps");
}

}  // namespace
}  // namespace cloister::exercise
