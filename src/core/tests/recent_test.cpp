#include "cloister/core/recent.hpp"

#include <gtest/gtest.h>

#include <string>

namespace cloister {
namespace {

using Names = Recent<std::string, int>;

TEST(Recent, FindsWhatWasKept) {
  Names names{1600};
  EXPECT_EQ(names.find("one"), std::nullopt);
  names.keep("one", 1, 10);
  names.keep("two", 2, 20);
  EXPECT_EQ(names.find("one"), 1);
  EXPECT_EQ(names.find("two"), 2);
  EXPECT_EQ(names.bytes(), 30U);
}

TEST(Recent, TheNewerOfTwoStays) {
  Names names{1600};
  names.keep("one", 1, 10);
  names.keep("one", 7, 50);
  EXPECT_EQ(names.find("one"), 7);
  EXPECT_EQ(names.bytes(), 50U);
}

TEST(Recent, TheOldestGoes) {
  Names names{1600};
  for (int i = 0; i < 40; ++i) names.keep(std::to_string(i), i, 100);
  EXPECT_EQ(names.bytes(), 1600U);
  EXPECT_EQ(names.find("23"), std::nullopt);
  EXPECT_EQ(names.find("24"), 24);
  EXPECT_EQ(names.find("39"), 39);
}

TEST(Recent, WhatIsLargeIsNotKeptNorWhatItReplaces) {
  Names names{1600};
  names.keep("one", 1, 100);
  names.keep("one", 2, 101);
  EXPECT_EQ(names.find("one"), std::nullopt);
  EXPECT_EQ(names.bytes(), 0U);
}

TEST(Recent, WhatIsForgottenIsGone) {
  Names names{1600};
  names.keep("one", 1, 10);
  names.forget();
  EXPECT_EQ(names.find("one"), std::nullopt);
  EXPECT_EQ(names.bytes(), 0U);
}

TEST(Recent, WhatWasReadBeforeSomebodyForgotIsNotKept) {
  Names names{1600};
  const auto before = names.forgotten();
  names.forget();
  names.keep_unless_forgotten("one", 1, 10, before);
  EXPECT_EQ(names.find("one"), std::nullopt);
  names.keep_unless_forgotten("one", 1, 10, names.forgotten());
  EXPECT_EQ(names.find("one"), 1);
}

}  // namespace
}  // namespace cloister
