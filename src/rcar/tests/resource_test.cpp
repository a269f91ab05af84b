#include "cloister/rcar/resource.hpp"

#include <gtest/gtest.h>

namespace cloister::rcar {
namespace {

TEST(ResourcePath, HasThreeSegments) {
  const auto path = ResourcePath::parse("default/Key_1-x/tag.v2").value();
  EXPECT_EQ(path.repository(), "default");
  EXPECT_EQ(path.type(), "Key_1-x");
  EXPECT_EQ(path.tag(), "tag.v2");
  EXPECT_EQ(path.str(), "default/Key_1-x/tag.v2");
  EXPECT_EQ(ResourcePath::make("default", "Key_1-x", "tag.v2").value(), path);
  EXPECT_TRUE(ResourcePath::parse("-/_/" + std::string(253, 'z')).ok());
}

TEST(ResourcePath, RefusesEveryOtherForm) {
  for (const std::string& text :
       {std::string{}, std::string{"a"}, std::string{"a/b"}, std::string{"a/b/c/d"}, std::string{"/a/b"}, std::string{"a//b"}, std::string{"a/b/"},
        std::string{"../b/c"}, std::string{"a/../c"}, std::string{"a/b/.."}, std::string{".a/b/c"}, std::string{"a/b/c d"}, std::string{"a/b/\xC3\xA9"},
        std::string{"a/b/c%2F"}, std::string{"a/b/c\\d"}, "a/b/" + std::string(254, 'z'), std::string("a/b/\0", 5)}) {
    EXPECT_EQ(ResourcePath::parse(text).error().code(), Errc::invalid_argument) << text;
  }
  EXPECT_FALSE(ResourcePath::make("a/b", "c", "d").ok());
}

TEST(ResourceScope, IsOneToThreeWholeSegments) {
  for (const auto* good : {"a", "a/b", "a/b/c", "A-1_x.y/b", "_"}) EXPECT_TRUE(is_scope(good)) << good;
  for (const auto* bad : {"", "/", "a/", "/a", "a//b", "a/b/", "a/b/c/", "a/b/c/d", ".a", "a/.b", "..", "a b", "a/%2e"}) {
    EXPECT_FALSE(is_scope(bad)) << bad;
  }
  EXPECT_TRUE(is_scope(std::string(253, 'a')));
  EXPECT_FALSE(is_scope(std::string(254, 'a')));
}

}  // namespace
}  // namespace cloister::rcar
