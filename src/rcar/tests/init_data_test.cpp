#include "cloister/rcar/init_data.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr std::string_view kBody = R"(version = "0.1.0"
algorithm = "sha384"
[data]
"aa.toml" = '''
[token_configs.kbs]
url = "http://127.0.0.1:8080"
retries = 3
when = 2026-06-01
'''
"cdh.toml" = "this is no TOML"
"policy.rego" = '''
package agent_policy
default CreateContainerRequest := false
policy_data := {
  "containers": [{"OCI": {"Process": {"Args": ["/run"]}}}]
}
'''
other = "x"
)";

Result<MeasuredInitData> read(std::string_view body) { return read_init_data({"toml", std::string{body}}); }
Errc refused(std::string_view body) { return read(body).error().code(); }

TEST(InitData, IsMeasuredWholeAndClaimedInParts) {
  const auto out = read(kBody).value();
  const auto digest = crypto::sha384(as_bytes(kBody));
  EXPECT_TRUE(same_bytes(out.digest, digest));
  const auto claims = claims_of(out);
  EXPECT_EQ(json::write(*claims.find("aa.toml")),
            R"({"token_configs":{"kbs":{"retries":3,"url":"http://127.0.0.1:8080","when":"2026-06-01"}}})");
  EXPECT_EQ(*claims.find("cdh.toml"), json::Value{"this is no TOML"});
  EXPECT_EQ(*claims.find("other"), json::Value{"x"});
  EXPECT_EQ(claims.find("policy.rego"), nullptr);
  EXPECT_EQ(json::write(*claims.find("agent_policy_claims")), R"({"containers":[{"OCI":{"Process":{"Args":["/run"]}}}]})");
}

json::Value of_toml(std::string_view toml) {
  const auto out = read("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"cdh.toml\" = '''\n" + std::string{toml} + "'''\n");
  return out ? *claims_of(*out).find("cdh.toml") : json::Value{out.error().text()};
}

TEST(InitData, TakesApartTheTomlOfTheGuestComponents) {
  EXPECT_EQ(json::write(of_toml("a = 1\nb = -1.5\nc = true\nd = ['x', {y = 'z'}]\n[[e]]\nf = 'g'\n[[e]]\nf = 'h'\n")),
            R"({"a":1,"b":-1.5,"c":true,"d":["x",{"y":"z"}],"e":[{"f":"g"},{"f":"h"}]})");
  EXPECT_EQ(json::write(of_toml("t = 07:32:00\nm = 1979-05-27T07:32:00Z\n")), R"({"m":"1979-05-27T07:32:00Z","t":"07:32:00"})");
  EXPECT_EQ(json::write(of_toml("")), "{}");
}

TEST(InitData, LeavesAsTextWhatJsonCannotSay) {
  std::string deep = "a = ";
  for (int i = 0; i < 70; ++i) deep += '[';
  for (int i = 0; i < 70; ++i) deep += ']';
  std::string long_list = "a = [";
  for (int i = 0; i < 10'001; ++i) long_list += "1,";
  long_list += "]\n";
  for (const std::string& text : {std::string{"a = inf\n"}, std::string{"a = nan\n"}, std::string{"a = 1\na = 2\n"}, std::string{"[a"}, std::string{"[=1\n"}, std::string{"[[=\n"}, std::string{"a = [}\n"}, deep + "\n", long_list}) {
    EXPECT_EQ(of_toml(text), json::Value{text}) << text.substr(0, 40);
  }
}

// What a parser that recurses cannot be given: the stack of a server's thread ends far before.
TEST(InitData, LeavesAsTextWhatNestsWithoutEnd) {
  const auto repeated = [](std::string_view what) {
    std::string out;
    for (int i = 0; i < 100'000; ++i) out += what;
    return out;
  };
  for (const std::string& text : {repeated("a.") + "a = 1\n", "[" + repeated("a.") + "a]\n", "[[" + repeated("a.") + "a]]\n", "x = " + repeated("[") + "\n",
                                  "x = " + repeated("[") + repeated("]") + "\n", "x = " + repeated("{a=") + "1" + repeated("}") + "\n",
                                  "x = {" + repeated("a.") + "a=1}\n", repeated("[a]\n") + "\n"}) {
    EXPECT_EQ(of_toml(text), json::Value{text}) << text.substr(0, 40);
  }
  std::string names = "a";
  for (int i = 0; i < 63; ++i) names += ".a";
  EXPECT_NE(of_toml(names + " = 1\n").as_object(), nullptr);
  EXPECT_EQ(of_toml("a." + names + " = 1\n").as_object(), nullptr);
}

TEST(InitData, NamesItsAlgorithm) {
  const auto with = [](std::string_view name) {
    return "version = \"0.1.0\"\nalgorithm = \"" + std::string{name} + "\"\n[data]\n";
  };
  EXPECT_EQ(read(with("sha256"))->digest.size(), 32U);
  EXPECT_EQ(read(with("sha512"))->digest.size(), 64U);
  for (const auto* name : {"SHA256", "sha1", "sm3", ""}) EXPECT_EQ(refused(with(name)), Errc::unsupported) << name;
}

TEST(InitData, KeepsAPolicyThatEndsOtherwise) {
  for (const std::string_view policy : {"package agent_policy", "policy_data := {\\\"a\\\": 1,}", "policy_data := {}\\nx := 1", "my_policy_data := {}", "# policy_data := {}"}) {
    const auto out = read("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"policy.rego\" = \"" + std::string{policy} + "\"\n");
    ASSERT_TRUE(out.ok()) << out.error().text();
    const auto claims = claims_of(*out);
    EXPECT_NE(claims.find("policy.rego"), nullptr) << policy;
    EXPECT_EQ(claims.find("agent_policy_claims"), nullptr) << policy;
  }
}

TEST(InitData, RefusesWhatItIsNot) {
  EXPECT_EQ(read_init_data({"json", "{}"}).error().code(), Errc::unsupported);
  EXPECT_EQ(refused("version = "), Errc::malformed);
  EXPECT_EQ(refused(""), Errc::missing_member);
  EXPECT_EQ(refused("version = \"0.1.0\"\n[data]\n"), Errc::missing_member);
  EXPECT_EQ(refused("algorithm = \"sha256\"\n[data]\n"), Errc::missing_member);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\n"), Errc::missing_member);
  EXPECT_EQ(refused("version = 1\nalgorithm = \"sha256\"\n[data]\n"), Errc::malformed);
  EXPECT_EQ(refused("version = \"0.2.0\"\nalgorithm = \"sha256\"\n[data]\n"), Errc::unsupported);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\nmore = ''\n[data]\n"), Errc::unsupported);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\na = 1\n"), Errc::malformed);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\nagent_policy_claims = 'a'\n"), Errc::unsupported);
  const auto error = read("version = \"0.1.0\"\nalgorithm sha256").error();
  EXPECT_NE(error.detail().find("line 2"), std::string::npos) << error.detail();
}

std::string text_of(std::string_view written) {
  const auto out = read("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\nx = " + std::string{written} + "\n");
  if (!out) return "refused: " + out.error().text();
  return *claims_of(*out).find("x")->as_string();
}

// TOML 1.0, "String".
TEST(InitData, ReadsTextsInTheirFourForms) {
  EXPECT_EQ(text_of(R"("a\"\\\b\t\n\f\r\u00e9\U0001F600")"), "a\"\\\b\t\n\f\r\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(text_of(R"('a\"b')"), "a\\\"b");
  EXPECT_EQ(text_of("''"), "");
  EXPECT_EQ(text_of("\"\"\"\na\n b\"\"\""), "a\n b");
  EXPECT_EQ(text_of("\"\"\"a \\\n   b\"\"\""), "a b");
  EXPECT_EQ(text_of("\"\"\"a\"\"\"\"\""), "a\"\"");
  EXPECT_EQ(text_of("'''\r\na\r\nb''''"), "a\r\nb'");
  EXPECT_EQ(text_of("'a' # '"), "a");
  for (const auto* wrong :
       {"\"a", "'a", "'''a''", "\"\"\"a", "\"a\nb\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\U00110000\"", "'a' b", "'''a'''''' ", "1",
        "true", "[]", "{}", "07:32", "", "'a\x01'", "'''a\x01'''", "'a' # \x01", "\"\"\"a\r\"\"\""}) {
    EXPECT_TRUE(text_of(wrong).starts_with("refused: malformed")) << wrong;
  }
}

TEST(InitData, ReadsNamesAndNothingElse) {
  const auto with = [](std::string_view more) {
    return read("version = \"0.1.0\"\r\nalgorithm='sha256'\n# comment\n\n [ data ] # more\n" + std::string{more});
  };
  EXPECT_EQ(json::write(claims_of(with("a-b_1 = 'x'\n\"c.d\" = 'y'\n  'e' = 'z'").value())), R"({"a-b_1":"x","c.d":"y","e":"z"})");
  for (const auto* wrong : {"a.b = 'x'", "a", "= 'x'", "[", "[=", "[`", "[x", "a = 'x' b = 'y'", "\x01"}) {
    EXPECT_EQ(with(wrong).error().code(), Errc::malformed) << wrong;
  }
  EXPECT_EQ(with("a = 'x'\na = 'y'").error().code(), Errc::duplicate_member);
  for (const auto* again : {"[data]", "[[data]]", "[data.x]\n[data.x]"}) EXPECT_EQ(with(again).error().code(), Errc::duplicate_member) << again;
  for (const auto* other : {"[other]", "[[x]]"}) EXPECT_EQ(with(other).error().code(), Errc::unsupported) << other;
  std::string many;
  for (int i = 0; i < 257; ++i) many += 'k' + std::to_string(i) + " = ''\n";
  EXPECT_EQ(with(many).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(read("\xFF").error().code(), Errc::malformed);
}

TEST(Fitted, FillsARegister) {
  const Bytes digest{1, 2, 3};
  EXPECT_EQ(fitted(digest, 5), (Bytes{1, 2, 3, 0, 0}));
  EXPECT_EQ(fitted(digest, 2), (Bytes{1, 2}));
  EXPECT_EQ(fitted(digest, 3), digest);
}

}  // namespace
}  // namespace cloister::rcar
