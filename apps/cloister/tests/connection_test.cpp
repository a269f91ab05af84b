#include "connection.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "files.hpp"
#include "profile.hpp"
#include "support/support.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr const char* kVariables[] = {"CLOISTER_SERVER", "CLOISTER_TOKEN_FILE", "CLOISTER_CA", "CLOISTER_TRUST_FILE",
                                      "CLOISTER_PROFILE"};

/// A configuration folder of its own, and no variables but those of the test.
class AccessTest : public testing::Test {
 protected:
  AccessTest() {
    ::setenv("XDG_CONFIG_HOME", dir_.path().c_str(), 1);
    for (const auto* name : kVariables) ::unsetenv(name);
  }
  ~AccessTest() override {
    ::unsetenv("XDG_CONFIG_HOME");
    for (const auto* name : kVariables) ::unsetenv(name);
  }
  fs::path token_file(const std::string& token) const {
    const auto path = dir_.path() / (token + ".token");
    EXPECT_TRUE(write_file(path, token + "\n", Readers::owner));
    return path;
  }
  void keep(Profile profile, bool in_use = true) const {
    auto profiles = Profiles::load();
    ASSERT_TRUE(profiles) << profiles.error().text();
    const auto name = profile.name;
    profiles->put(std::move(profile));
    if (in_use) {
      ASSERT_TRUE(profiles->use(name));
    }
    ASSERT_TRUE(profiles->save());
  }
  /// "SERVER TOKEN", or the error.
  std::string found(const ConnectionOptions& options = {}) const {
    const auto access = find_access(options);
    return access ? access->server + " " + access->token : access.error().text();
  }
  [[nodiscard]] fs::path profiles_file() const { return dir_.path() / "cloister" / "profiles.json"; }

  test::TempDir dir_;
};

TEST_F(AccessTest, NeedsAServerAndAToken) {
  EXPECT_NE(found().find("cloister login"), std::string::npos);
  ConnectionOptions options;
  options.server = "http://a";
  EXPECT_NE(found(options).find("no token for http://a"), std::string::npos);
  options.token_file = token_file("one");
  EXPECT_EQ(found(options), "http://a one");
}

TEST_F(AccessTest, IsFoundWithoutATokenWhereNoneIsSent) {
  EXPECT_NE(find_server({}).error().text().find("cloister login"), std::string::npos);
  keep({"home", "http://a", "of-profile", "ca.pem", "trust.json"});
  const auto mine = find_server({});
  ASSERT_TRUE(mine) << mine.error().text();
  EXPECT_EQ(mine->server + ' ' + mine->token + ' ' + mine->trust_file->string(), "http://a  trust.json");
  ConnectionOptions options;
  options.server = "http://b";  // whose authority and trust the profile says nothing of
  const auto other = find_server(options);
  ASSERT_TRUE(other) << other.error().text();
  EXPECT_EQ(other->server, "http://b");
  EXPECT_FALSE(other->ca_file);
  EXPECT_FALSE(other->trust_file);
}

TEST_F(AccessTest, IsLookedForInOneOrder) {
  keep({"home", "http://profile", "of-profile", {}, {}});
  EXPECT_EQ(found(), "http://profile of-profile");
  ::setenv("CLOISTER_SERVER", "http://environment", 1);
  ::setenv("CLOISTER_TOKEN_FILE", token_file("of-environment").c_str(), 1);
  EXPECT_EQ(found(), "http://environment of-environment");
  ConnectionOptions options;
  options.server = "http://given";
  options.token_file = token_file("given");
  EXPECT_EQ(found(options), "http://given given");
}

TEST_F(AccessTest, MayTakeItsTokenFromAnEarlierPlaceThanItsServer) {
  keep({"home", "http://profile", "of-profile", {}, {}});
  ConnectionOptions options;
  options.token_file = token_file("given");
  EXPECT_EQ(found(options), "http://profile given");
}

TEST_F(AccessTest, SendsNoTokenToAnotherServerThanItsOwn) {
  keep({"home", "http://profile", "of-profile", {}, {}});
  ConnectionOptions options;
  options.server = "http://stranger";
  EXPECT_NE(found(options).find("the token of profile home is for http://profile and stays there"), std::string::npos);
  options.server = "http://profile";
  EXPECT_EQ(found(options), "http://profile of-profile");
  ::setenv("CLOISTER_SERVER", "http://environment", 1);
  EXPECT_NE(found().find("stays there"), std::string::npos);
  ::setenv("CLOISTER_TOKEN_FILE", token_file("of-environment").c_str(), 1);
  EXPECT_NE(found(options).find("the token of the environment is for http://environment"), std::string::npos);
  // A token that no server was named with is for the one that is.
  ::unsetenv("CLOISTER_SERVER");
  EXPECT_EQ(found(options), "http://profile of-environment");
}

TEST_F(AccessTest, UsesTheProfileThatIsNamed) {
  keep({"one", "http://one", "first", {}, {}});
  keep({"two", "http://two", "second", {}, {}}, false);
  EXPECT_EQ(found(), "http://one first");
  ::setenv("CLOISTER_PROFILE", "two", 1);
  EXPECT_EQ(found(), "http://two second");
  ConnectionOptions options;
  options.profile = "one";
  EXPECT_EQ(found(options), "http://one first");
  options.profile = "three";
  EXPECT_NE(found(options).find("no profile 'three'; there are: one, two"), std::string::npos);
}

TEST_F(AccessTest, TakesFilesOfItsOwnServerAlone) {
  keep({"home", "http://profile", "of-profile", "/ca.pem", "/trust.json"});
  auto access = find_access({});
  ASSERT_TRUE(access);
  EXPECT_EQ(access->ca_file, "/ca.pem");
  EXPECT_EQ(access->trust_file, "/trust.json");
  ConnectionOptions options;
  options.profile = "home";
  options.server = "http://other";
  options.token_file = token_file("given");
  access = find_access(options);
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_FALSE(access->ca_file);
  EXPECT_FALSE(access->trust_file);
  ::setenv("CLOISTER_TRUST_FILE", "/environment.json", 1);
  access = find_access({});
  ASSERT_TRUE(access);
  EXPECT_EQ(access->trust_file, "/environment.json");
}

TEST_F(AccessTest, DoesNotLookAtProfilesThatHaveNoSay) {
  keep({"home", "http://profile", "of-profile", {}, {}});
  ASSERT_EQ(::chmod(profiles_file().c_str(), 0644), 0);
  EXPECT_NE(found().find("chmod 600"), std::string::npos);
  ConnectionOptions options;
  options.server = "http://given";
  options.token_file = token_file("given");
  EXPECT_EQ(found(options), "http://given given");
}

TEST_F(AccessTest, RefusesEmptyTokenFiles) {
  ConnectionOptions options;
  options.server = "http://given";
  options.token_file = dir_.path() / "empty";
  ASSERT_TRUE(write_file(*options.token_file, "\n", Readers::owner));
  EXPECT_NE(found(options).find("a token in its first line expected"), std::string::npos);
}

TEST_F(AccessTest, KeepsProfilesAsTheyWereWritten) {
  keep({"b", "http://b", "second", "/ca.pem", "/trust.json"});
  keep({"a", "http://a", "first", {}, {}}, false);
  keep({"b", "http://c", "third", {}, {}}, false);
  auto profiles = Profiles::load();
  ASSERT_TRUE(profiles) << profiles.error().text();
  ASSERT_EQ(profiles->all().size(), 2U);
  EXPECT_EQ(profiles->current(), "b");
  EXPECT_EQ(profiles->find("b")->server, "http://c");
  EXPECT_EQ(profiles->find("b")->token, "third");
  EXPECT_FALSE(profiles->find("b")->trust_file);
  ASSERT_TRUE(profiles->remove("b"));
  EXPECT_EQ(profiles->current(), "");
  EXPECT_FALSE(profiles->use("b"));
  EXPECT_FALSE(profiles->remove("b"));
}

TEST_F(AccessTest, RefusesProfileFilesThatItDidNotWrite) {
  fs::create_directories(profiles_file().parent_path());
  for (const auto* text : {"", "{}", "[]", R"({"version":2,"current":"","profiles":[]})",
                           R"({"version":1,"current":"","profiles":[{"name":"No Id","server":"s","token":"t"}]})",
                           R"({"version":1,"current":"","profiles":[{"name":"a","server":"s"}]})",
                           R"({"version":1,"current":"","profiles":[],"surprise":1})"}) {
    ASSERT_TRUE(write_file(profiles_file(), text, Readers::owner));
    const auto profiles = Profiles::load();
    ASSERT_FALSE(profiles) << text;
    EXPECT_EQ(profiles.error().code(), Errc::configuration_invalid);
  }
}

TEST(Table, AlignsItsColumnsAndShowsTimesToTheSecond) {
  const json::Array rows = {json::Object{{"id", "job-a"}, {"done", true}, {"at", "2026-06-01T12:00:00.123456Z"}},
                            json::Object{{"id", "b"}, {"done", false}, {"spec", json::Object{{"size", 7}}}}};
  EXPECT_EQ(table(rows, {"id", "done", "spec.size", "at"}),
            "id     done  size  at\n"
            "job-a  yes   -     2026-06-01T12:00:00Z\n"
            "b      no    7     -\n");
}

TEST(Table, KeepsControlCharactersFromTheTerminal) {
  const json::Array rows = {json::Object{{"id", "a\x1b[2Jb\n"}}};
  EXPECT_EQ(table(rows, {"id"}).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace cloister::cli
