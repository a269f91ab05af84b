#include "cloister/rego/recent_inputs.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace cloister::rego {
namespace {

namespace json = codec::json;

const json::Value kSmall{json::Object{{"who", "me"}}};

std::shared_ptr<const CompiledPolicy> policy() {
  const std::array modules{Module{"test.rego", "package policy\nimport rego.v1\nanswer := input.who"}};
  const std::array<std::string, 1> entrypoints{"data.policy.answer"};
  return CompiledPolicy::compile(modules, entrypoints).value();
}

TEST(RecentInputs, AnswerAsTheInputItself) {
  RecentInputs recent{1U << 20};
  RecentInputs::Slot slot;
  const auto known = recent.get(slot, kSmall);
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->size(), std::string{R"({"who":"me"})"}.size());
  const auto by_known = policy()->evaluate({{}, {}, {}, {}, known});
  EXPECT_EQ(*by_known.value().find("data.policy.answer"), json::Value{"me"});
  // It goes before the other one, and is the same at the next time.
  const auto both = policy()->evaluate({json::Object{{"who", "you"}}, {}, {}, {}, known});
  EXPECT_EQ(*both.value().find("data.policy.answer"), json::Value{"me"});
  EXPECT_EQ(recent.get(slot, json::Value{}), known);
}

TEST(RecentInputs, TheOldestGoes) {
  RecentInputs recent{400};
  std::array<RecentInputs::Slot, 40> slots;
  for (auto& slot : slots) ASSERT_NE(recent.get(slot, kSmall), nullptr);
  EXPECT_TRUE(slots.front().expired());
  EXPECT_FALSE(slots.back().expired());
  EXPECT_NE(recent.get(slots.front(), kSmall), nullptr);
}

TEST(RecentInputs, WhatIsLargeIsNotKept) {
  RecentInputs recent{160};
  RecentInputs::Slot slot;
  EXPECT_EQ(recent.get(slot, kSmall), nullptr);
  EXPECT_TRUE(slot.expired());
}

TEST(KnownInput, CountsForTheLimitOfAPolicy) {
  const auto large = KnownInput::of(json::Value{std::string(100, 'x')}).value();
  const std::array modules{Module{"test.rego", "package policy\nimport rego.v1\nanswer := 1"}};
  const std::array<std::string, 1> entrypoints{"data.policy.answer"};
  const auto modest = CompiledPolicy::compile(modules, entrypoints, {.input_bytes = 100}).value();
  EXPECT_EQ(modest->evaluate({{}, {}, {}, {}, large}).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::rego
