#include "frames.hpp"

#include <gtest/gtest.h>

#include <array>

namespace cloister::rego {
namespace {

TEST(RegoFrames, APolicyArrivesAsItIs) {
  const std::array modules{Module{"a.rego", "package a"}, Module{"b.rego", std::string{"\xff\0", 2}}};
  const auto frame = write_load(7, modules, std::array{std::string{"data.a.x"}});
  const auto read = read_request(frame).value();
  const auto& load = std::get<LoadPolicy>(read);
  EXPECT_EQ(load.policy, 7U);
  ASSERT_EQ(load.modules.size(), 2U);
  EXPECT_EQ(load.modules[1].name, "b.rego");
  EXPECT_EQ(load.modules[1].text, modules[1].text);
  EXPECT_EQ(load.entrypoints, std::vector<std::string>{"data.a.x"});
}

TEST(RegoFrames, AQuestionArrivesAsItIs) {
  const auto frame = write_ask(9, {nullptr, "{\"a\":1}", "{}", "", std::chrono::milliseconds{250}, Explain::yes, 1000});
  const auto read = read_request(frame).value();
  const auto& asked = std::get<AskPolicy>(read);
  EXPECT_EQ(asked.policy, 9U);
  EXPECT_EQ(asked.question.input, "{\"a\":1}");
  EXPECT_EQ(asked.question.data, "{}");
  EXPECT_EQ(asked.question.reference_values, "");
  EXPECT_EQ(asked.question.time, std::chrono::milliseconds{250});
  EXPECT_EQ(asked.question.explain, Explain::yes);
  EXPECT_EQ(asked.question.result_bytes, 1000U);
}

TEST(RegoFrames, AnswersArriveAsTheyAre) {
  EXPECT_EQ(std::get<Answered>(read_answer_frame(write(Answered{"x"})).value()).text, "x");
  EXPECT_TRUE(std::holds_alternative<PolicyUnknown>(read_answer_frame(write(PolicyUnknown{})).value()));
  for (const auto code : {Errc::internal, Errc::malformed, Errc::policy_invalid, Errc::deadline_exceeded, Errc::limit_exceeded,
                          Errc::policy_evaluation_failed}) {
    const auto error = std::get<Error>(read_answer_frame(write(Error{code, "why"})).value());
    EXPECT_EQ(error.code(), code);
    EXPECT_EQ(error.detail(), "why");
  }
  EXPECT_EQ(std::get<Error>(read_answer_frame(write(Error{Errc::conflict, "why"})).value()).code(), Errc::internal);
}

TEST(RegoFrames, RefuseWhatIsCutOrLongerOrUnknown) {
  const auto whole = write_ask(9, {nullptr, "{}", "{}", "", std::chrono::milliseconds{250}, Explain::no, 1000});
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(read_request(ByteView{whole}.first(size)).ok()) << size;
  auto longer = whole;
  longer.push_back(0);
  EXPECT_EQ(read_request(longer).error().code(), Errc::trailing_bytes);
  auto other = whole;
  other[1] = 9;  // no such request
  EXPECT_EQ(read_request(other).error().code(), Errc::malformed);
  EXPECT_FALSE(read_answer_frame(Bytes{0x83, 0x09, 0x00, 0x40}).ok());  // no such answer
  EXPECT_FALSE(read_answer_frame(Bytes{0x83, 0x05, 0x17, 0x40}).ok());  // no such code
}

}  // namespace
}  // namespace cloister::rego
