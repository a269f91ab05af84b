#include "search.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace keyword_search {
namespace {

using cloister::as_bytes;
using cloister::as_text;
using cloister::Errc;

class Recorder final : public cloister::sdk::JobContext {
 public:
  const std::string& id() const noexcept override { return id_; }
  void progress(unsigned percent) override { told.push_back(percent); }
  void log(cloister::sdk::LogLevel, std::string_view) override { ADD_FAILURE() << "logs leave the VM"; }
  bool stopped() const noexcept override { return stop; }
  std::vector<unsigned> told;
  bool stop = false;

 private:
  std::string id_ = "job-1";
};

TEST(CountWord, CountsWholeWordsWithoutCase) {
  EXPECT_EQ(count_word("cat", "The cat, the CAT; concatenate cats cat's cat"), 4U);
  EXPECT_EQ(count_word("CAT", "cat"), 1U);
  EXPECT_EQ(count_word("4", "4 44 4a a4 4-4"), 3U);
  EXPECT_EQ(count_word("cat", ""), 0U);
  EXPECT_EQ(count_word("cat", "  ...  "), 0U);
}

TEST(CountWord, CharactersBeyondAsciiAreLetters) {
  EXPECT_EQ(count_word("stra\xC3\x9F"
                       "e",
                       "Stra\xC3\x9F"
                       "e stra e"),
            1U);
  EXPECT_EQ(count_word("cat", "cat\xC3\xA9 cat"), 1U);
  EXPECT_EQ(count_word("\xC3\xA9", "\xC3\xA9 \xC3\x89"), 1U);
}

TEST(Search, GivesCountsAndTotal) {
  Recorder job;
  const auto output = search(
      as_bytes(R"({"keyword":"cat","documents":[{"name":"a.txt","text":"cat Cat"},{"name":"b","text":"dog"}]})"), job);
  ASSERT_TRUE(output) << output.error().text();
  EXPECT_EQ(as_text(*output),
            R"({"keyword":"cat","counts":[{"name":"a.txt","count":2},{"name":"b","count":0}],"total":2})");
  EXPECT_EQ(job.told, (std::vector<unsigned>{50, 100}));
}

TEST(Search, NoDocumentsNoCounts) {
  Recorder job;
  EXPECT_EQ(as_text(*search(as_bytes(R"({"keyword":"x","documents":[]})"), job)),
            R"({"keyword":"x","counts":[],"total":0})");
}

TEST(Search, RefusesOtherPayloads) {
  for (const auto* payload :
       {"", "[]", R"({"keyword":"a"})", R"({"documents":[]})", R"({"keyword":"","documents":[]})",
        R"({"keyword":"two words","documents":[]})", R"({"keyword":"a","documents":[],"more":1})",
        R"({"keyword":"a","documents":[{"name":"x"}]})", R"({"keyword":"a","documents":["x"]})"}) {
    Recorder job;
    EXPECT_FALSE(search(as_bytes(payload), job)) << payload;
  }
}

TEST(Search, EndsWhenStopped) {
  Recorder job;
  job.stop = true;
  EXPECT_EQ(search(as_bytes(R"({"keyword":"a","documents":[{"name":"x","text":"a"}]})"), job).error().code(),
            Errc::cancelled);
}

TEST(SearchChallenge, NeedsItsSecret) {
  Challenge challenge;
  EXPECT_TRUE(challenge.start(cloister::sdk::Secrets{{{"index-salt", {1}}}}));
  EXPECT_EQ(challenge.start(cloister::sdk::Secrets{{{"other", {1}}}}).error().text(),
            "not_found: secret 'index-salt' is missing");
  EXPECT_EQ(challenge.start(cloister::sdk::Secrets{{{"index-salt", {}}}}).error().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace keyword_search
