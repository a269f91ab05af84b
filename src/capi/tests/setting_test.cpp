#include "setting.hpp"

#include <gtest/gtest.h>

namespace cloister::capi {
namespace {

Part document(const Bytes& content) { return {Member::collateral, "one", content}; }

SettingPtr parsed(const Part& part) { return *Setting::parse({&part, 1}); }

TEST(Settings, FindsOnlyWhatIsTheSameInEveryPart) {
  Settings settings;
  const Bytes content{1, 2, 3};
  const auto part = document(content);
  EXPECT_EQ(settings.find({&part, 1}), nullptr);
  const auto setting = parsed(part);
  settings.keep(setting);
  EXPECT_EQ(settings.find({&part, 1}), setting);
  const Bytes changed{1, 2, 4};
  for (const auto& other : {document(changed), Part{Member::collateral, "two", content}, Part{Member::policy, "one", content},
                            Part{Member::collateral, "one", ByteView{content}.first(2)}}) {
    EXPECT_EQ(settings.find({&other, 1}), nullptr);
  }
  const std::array twice{part, part};
  EXPECT_EQ(settings.find(twice), nullptr);
  EXPECT_EQ(settings.find({}), nullptr);
}

TEST(Settings, ForgetWhatWasLongestUnused) {
  Settings settings;
  std::vector<Bytes> contents;
  for (std::size_t i = 0; i <= Settings::kMost; ++i) contents.emplace_back(8, static_cast<std::uint8_t>(i));
  const auto known = [&](std::size_t i) {
    const auto part = document(contents[i]);
    return settings.find({&part, 1}) != nullptr;
  };
  for (std::size_t i = 0; i < Settings::kMost; ++i) settings.keep(parsed(document(contents[i])));
  EXPECT_TRUE(known(0));  // so the second is the one
  settings.keep(parsed(document(contents.back())));
  EXPECT_TRUE(known(0));
  EXPECT_FALSE(known(1));
  EXPECT_TRUE(known(2));
  EXPECT_TRUE(known(Settings::kMost));
}

TEST(Settings, StayWithinTheirBytes) {
  Settings settings;
  const Bytes half(Settings::kMostBytes / 2, 1);
  const Bytes other(Settings::kMostBytes / 2, 2);
  const Bytes all(Settings::kMostBytes + 1, 3);
  const auto known = [&](const Bytes& content) {
    const auto part = document(content);
    return settings.find({&part, 1}) != nullptr;
  };
  settings.keep(parsed(document(half)));
  settings.keep(parsed(document(other)));  // with the names it is more than there is room for
  EXPECT_FALSE(known(half));
  EXPECT_TRUE(known(other));
  settings.keep(parsed(document(all)));
  EXPECT_FALSE(known(all));
  EXPECT_TRUE(known(other));
}

}  // namespace
}  // namespace cloister::capi
