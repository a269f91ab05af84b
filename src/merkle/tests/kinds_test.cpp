#include "cloister/merkle/kinds.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>

#include "support/support.hpp"

namespace cloister::merkle {
namespace {

TEST(LeafKinds, AreFoundByName) {
  for (const auto& kind : leaf_kinds()) EXPECT_EQ(find_leaf_kind(kind.name), &kind);
  EXPECT_EQ(find_leaf_kind("token"), nullptr);
  EXPECT_EQ(find_leaf_kind("zzz"), nullptr);
}

/// Whoever writes leaves names their kinds as constants.
TEST(LeafKinds, AreAllThatTheSourcesName) {
  namespace fs = std::filesystem;
  const auto* root = std::getenv("CLOISTER_SOURCE_DIR");
  ASSERT_NE(root, nullptr);
  const std::regex constant{R"re(string_view (k\w+) = "([a-z_]+\.[a-z_]+)";)re"};
  std::size_t found = 0;
  for (const auto* folder : {"src/session", "src/keybroker", "src/kbs", "src/revocation", "src/keyring", "src/challenge", "src/scheduler",
                             "src/fleet", "src/api", "src/audit", "apps/cloisterd"}) {
    for (const auto& entry : fs::recursive_directory_iterator{fs::path{root} / folder}) {
      if (entry.path().extension() != ".cpp" && entry.path().extension() != ".hpp") continue;
      const std::string text{as_text(test::read_file(entry.path()))};
      for (std::sregex_iterator at{text.begin(), text.end(), constant}, end; at != end; ++at) {
        if ((*at)[1].str().ends_with("File")) continue;  // names of files have a dot too
        EXPECT_NE(find_leaf_kind((*at)[2].str()), nullptr) << entry.path() << ": " << (*at)[2] << " is not in leaf_kinds()";
        ++found;
      }
    }
  }
  EXPECT_GE(found, 20U);
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
