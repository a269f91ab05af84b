#include "cloister/lab_workload/workload.hpp"

#include <gmock/gmock.h>

#include "cloister/lab_workload/payload.hpp"
#include "plain_enclave.hpp"

namespace cloister::lab_workload {
std::vector<Workload> workloads_with_more();
namespace {

namespace json = codec::json;

Result<Output> run(const std::vector<Workload>& all, std::string_view name, std::string_view payload) {
  test::PlainEnclave enclave;
  const auto parsed = json::parse(payload).value();
  for (const auto& workload : all) {
    if (workload.name == name) return workload.run(parsed, enclave);
  }
  return Error{Errc::not_found, std::string{name}};
}

std::string result(std::string_view name, std::string_view payload) {
  const auto output = run(built_in_workloads(), name, payload);
  return output ? json::write(output->result) : output.error().text();
}

TEST(Workloads, AreTheFolders) {
  std::vector<std::string_view> names;
  for (const auto& workload : built_in_workloads()) {
    names.push_back(workload.name);
    EXPECT_FALSE(workload.summary.empty() || workload.summary.ends_with('.')) << workload.name;
    EXPECT_TRUE(json::parse(workload.payload_schema).ok()) << workload.name;
  }
  EXPECT_THAT(names, testing::ElementsAre("counter", "inference", "keyword_search", "sealed_secret"));
}

TEST(Workloads, AreAddedByAFolderAlone) {
  const auto output = run(workloads_with_more(), "reverse", R"({"numbers":[1,2,3]})");
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(json::write(output->result), R"({"numbers":[3,2,1],"host":{"ocall":"progress","payload":{"done":3}}})");
}

TEST(KeywordSearch, CountsExactWordsInEachDocument) {
  EXPECT_EQ(result("keyword_search", R"({"documents":["alpha beta","ALPHA alpha, alpha","gamma"],"keyword":"Alpha"})"),
            R"({"0":1,"1":2,"2":0})");
  EXPECT_EQ(result("keyword_search", R"({"keyword":"a"})"), "{}");
  EXPECT_EQ(result("keyword_search",
                   "{\"documents\":[\"\\u00c4pfel\\u00a0\\u00e4pfel\\u2003\\u041c\\u0418\\u0420\"],\"keyword\":"
                   "\"\\u00c4PFEL\"}"),
            R"({"0":2})");
}

TEST(KeywordSearch, RefusesOtherPayloads) {
  for (const auto* payload : {R"({"documents":"x","keyword":"a"})", R"({"documents":[1],"keyword":"a"})",
                              R"({"documents":null,"keyword":"a"})"}) {
    EXPECT_EQ(result("keyword_search", payload), "invalid_argument: documents must be a list of strings") << payload;
  }
  for (const auto* payload : {R"({"documents":[]})", R"({"keyword":""})", R"({"keyword":7})"}) {
    EXPECT_EQ(result("keyword_search", payload), "invalid_argument: keyword must be a non-empty string") << payload;
  }
  EXPECT_EQ(result("keyword_search", R"({"keyword":"a","document":[]})"),
            "invalid_argument: payload has no member document");
  EXPECT_EQ(result("keyword_search", R"({"keyword":")" + std::string(257, 'a') + "\"}"),
            "invalid_argument: keyword must have at most 256 bytes");
  std::string many = R"({"keyword":"a","documents":[""])";
  many.pop_back();
  for (int i = 0; i < 1024; ++i) many += ",\"\"";
  EXPECT_EQ(result("keyword_search", many + "]}"), "invalid_argument: documents must be at most 1024");
}

TEST(KeywordSearch, LogsNoKeyword) {
  const auto output =
      run(built_in_workloads(), "keyword_search", R"({"documents":["planted secret"],"keyword":"planted"})");
  ASSERT_TRUE(output.ok());
  const auto logged = json::write(output->logged);
  EXPECT_EQ(logged.find("planted"), std::string::npos) << logged;
  EXPECT_NE(logged.find("\"counts\":1"), std::string::npos) << logged;
}

TEST(SealedSecret, RecoversWhatItSealed) {
  const auto output = run(built_in_workloads(), "sealed_secret", R"({"secret":"s3","identity":"alice"})");
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(*output->result.find("recovered")->as_string(), "s3");
  EXPECT_FALSE(output->result.find("token")->as_string()->empty());
  EXPECT_EQ(json::write(output->logged), R"({"identity":"alice"})");
  for (const auto* payload : {R"({"secret":"a"})", R"({"secret":1,"identity":"a"})"}) {
    EXPECT_EQ(result("sealed_secret", payload), "invalid_argument: secret and identity must be strings") << payload;
  }
  EXPECT_EQ(result("sealed_secret", R"({"secret":"","identity":"a"})"),
            "invalid_argument: secret and identity cannot be empty");
  EXPECT_EQ(result("sealed_secret", R"({"secret":"a","identity":")" + std::string(129, 'i') + "\"}"),
            "invalid_argument: identity must have at most 128 bytes");
  EXPECT_EQ(result("sealed_secret", R"({"identity":"a","secret":")" + std::string(65537, 's') + "\"}"),
            "invalid_argument: secret must have at most 65536 bytes");
}

TEST(Inference, GivesNormAndCommitment) {
  // Python: hashlib.sha256(json.dumps([3.0, 4.0]).encode()).hexdigest()
  EXPECT_EQ(result("inference", R"({"vector":[3,4]})"),
            R"({"norm":5.0,"commitment":"19474cf63e5f7ec42ed7644167568f0ee4f8550150c26be7158c13532aaf62ef"})");
  // json.dumps([1e16, -1e-05, 0.0001, 1.5, 123456789.125])
  EXPECT_NE(result("inference", R"({"vector":[1e16,-0.00001,0.0001,1.5,123456789.125]})")
                .find("2abc585762ce3e8ee018de4ef8a3a538013b555aa8bf29e82253e548796eab8d"),
            std::string::npos);
  EXPECT_NE(result("inference", "{}").find("\"norm\":0.0"), std::string::npos);
}

TEST(Inference, RefusesOtherPayloads) {
  for (const auto* payload :
       {R"({"vector":"x"})", R"({"vector":["1"]})", R"({"vector":[true]})", R"({"vector":[null]})"}) {
    EXPECT_EQ(result("inference", payload), "invalid_argument: vector must be a list of numbers") << payload;
  }
  EXPECT_EQ(result("inference", R"({"vector":[1e308,1e308]})"),
            "invalid_argument: vector must have a norm that a double can hold");
  std::string many = R"({"vector":[0)";
  for (int i = 0; i < 4096; ++i) many += ",0";
  EXPECT_EQ(result("inference", many + "]}"), "invalid_argument: vector must have at most 4096 numbers");
}

TEST(PythonFloat, WritesAsPythonDoes) {
  const std::pair<double, std::string_view> cases[] = {{0, "0.0"},         {-0.0, "-0.0"},
                                                       {1, "1.0"},         {-2.5, "-2.5"},
                                                       {0.1, "0.1"},       {1e15, "1000000000000000.0"},
                                                       {1e16, "1e+16"},    {123456.789, "123456.789"},
                                                       {0.0001, "0.0001"}, {0.00012, "0.00012"},
                                                       {1e-5, "1e-05"},    {1.5e300, "1.5e+300"},
                                                       {5e-324, "5e-324"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(python_float(value), text);
}

TEST(Counter, AddsInOneStep) {
  EXPECT_THAT(result("counter", "{}"), testing::StartsWith(R"({"counter":1,)"));
  EXPECT_THAT(result("counter", R"({"initial":-5,"increments":2})"), testing::StartsWith(R"({"counter":-3,)"));
  // A loop over the increments would not end.
  EXPECT_THAT(result("counter", R"({"initial":7,"increments":9000000000000000000})"),
              testing::StartsWith(R"({"counter":9000000000000000007,)"));
}

TEST(Counter, RefusesBooleansAndOverflow) {
  for (const auto* payload : {R"({"initial":true})", R"({"increments":false})", R"({"initial":"1"})",
                              R"({"initial":1.0})", R"({"initial":null})", R"({"initial":18446744073709551615})"}) {
    EXPECT_EQ(result("counter", payload), "invalid_argument: initial and increments must be integers") << payload;
  }
  EXPECT_EQ(result("counter", R"({"increments":-1})"), "invalid_argument: increments must be non-negative");
  EXPECT_EQ(result("counter", R"({"initial":9223372036854775807})"),
            "invalid_argument: initial and increments must have a sum below 2^63");
}

TEST(Counter, MacIsKeyed) {
  // Whoever knows the numbers alone cannot make it: it is not their SHA-256.
  const auto output = run(built_in_workloads(), "counter", "{}");
  EXPECT_NE(*output->result.find("mac")->as_string(), codec::to_hex(crypto::sha256(as_bytes("1:1"))));
  EXPECT_EQ(*output->result.find("mac")->as_string(),
            codec::to_hex(crypto::hmac_sha256(as_bytes("counter"), as_bytes("1:1"))));
}

TEST(Words, StandBetweenWhiteSpace) {
  std::vector<std::string> words;
  for_each_word(
      "\t a\xC2\xA0"
      "b\x1C"
      "c\xE2\x80\x89"
      "d\xE3\x80\x80\xE2\x80",
      [&](std::string_view word) { words.emplace_back(word); });
  EXPECT_THAT(words, testing::ElementsAre("a", "b", "c", "d", "\xE2\x80"));
}

TEST(LowerCase, IsUnicodesWhereItSaysSo) {
  EXPECT_EQ(lower_case("AZ[\xC3\x80\xC3\x97\xC3\x9E\xC5\xB8"), "az[\xC3\xA0\xC3\x97\xC3\xBE\xC3\xBF");
  EXPECT_EQ(lower_case("\xCE\x86\xCE\xA9\xD0\x81\xD0\x96\xC4\x80\xC5\xBD"),
            "\xCE\xAC\xCF\x89\xD1\x91\xD0\xB6\xC4\x81\xC5\xBE");
  EXPECT_EQ(lower_case("\xE1\xBA\x9E\xC3"), "\xE1\xBA\x9E\xC3");
}

}  // namespace
}  // namespace cloister::lab_workload
