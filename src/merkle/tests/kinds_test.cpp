#include "cloister/merkle/kinds.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/support.hpp"

namespace cloister::merkle {
namespace {

TEST(LeafKinds, AreFoundByName) {
  for (const auto& kind : leaf_kinds()) EXPECT_EQ(find_leaf_kind(kind.name), &kind);
  EXPECT_EQ(find_leaf_kind("token"), nullptr);
  EXPECT_EQ(find_leaf_kind("zzz"), nullptr);
}

TEST(LeafKinds, AreAllInTheDocumentation) {
  const auto* root = std::getenv("CLOISTER_SOURCE_DIR");
  ASSERT_NE(root, nullptr);
  const auto bytes = test::read_file(std::filesystem::path{root} / "docs" / "audit.md");
  const std::string text{as_text(bytes)};
  for (const auto& kind : leaf_kinds()) {
    EXPECT_NE(text.find("| `" + std::string{kind.name} + "` |"), std::string::npos) << kind.name;
  }
}

}  // namespace
}  // namespace cloister::merkle
