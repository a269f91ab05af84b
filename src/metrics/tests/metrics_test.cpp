#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "cloister/metrics/families.hpp"
#include "cloister/metrics/process.hpp"
#include "support/support.hpp"

namespace cloister::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

template <class F>
std::string text_of(const F& family) {
  TextWriter out;
  family.write(out);
  return out.text();
}

/// The value of a sample, by everything before it.
double value_of(const std::string& text, const std::string& series) {
  const auto at = ("\n" + text).find("\n" + series + " ");
  if (at == std::string::npos) return std::numeric_limits<double>::quiet_NaN();
  return std::stod(text.substr(at + series.size()));
}

TEST(TextWriter, WritesHelpTypeAndSamples) {
  TextWriter out;
  out.family("jobs", Type::gauge, "Jobs \\ by\nstate.");
  out.sample("jobs", {{"state", "queued"}}, 3);
  out.sample("jobs", {{"state", "a\"b\\c\nd"}}, 0.5);
  EXPECT_EQ(out.text(),
            "# HELP jobs Jobs \\\\ by\\nstate.\n# TYPE jobs gauge\njobs{state=\"queued\"} 3\n"
            "jobs{state=\"a\\\"b\\\\c\\nd\"} 0.5\n");
}

TEST(TextWriter, WritesWhatIsNoFiniteNumberAsTheFormatDoes) {
  TextWriter out;
  out.sample("x", {}, std::numeric_limits<double>::quiet_NaN());
  out.sample("x", {}, std::numeric_limits<double>::infinity());
  out.sample("x", {}, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(out.text(), "x NaN\nx +Inf\nx -Inf\n");
}

TEST(TextWriter, KnowsWhichNamesTheFormatAllows) {
  EXPECT_TRUE(valid_metric_name("a_b:c9"));
  EXPECT_FALSE(valid_metric_name("9a"));
  EXPECT_FALSE(valid_metric_name("a-b"));
  EXPECT_FALSE(valid_metric_name(""));
  EXPECT_TRUE(valid_label_name("route"));
  EXPECT_FALSE(valid_label_name("__name__"));
  EXPECT_FALSE(valid_label_name("a:b"));
}

TEST(Family, KeepsOneSeriesForEachCombination) {
  Counters family{"refusals_total", "Refusals.", {"role", "code"}};
  family.with({"instance", "tcb"}).add();
  family.with({"instance", "tcb"}).add(2);
  family.with({"validator", "tcb"}).add();
  const auto text = text_of(family);
  EXPECT_THAT(text, HasSubstr("# TYPE refusals_total counter\n"));
  EXPECT_EQ(value_of(text, R"(refusals_total{role="instance",code="tcb"})"), 3);
  EXPECT_EQ(value_of(text, R"(refusals_total{role="validator",code="tcb"})"), 1);
}

TEST(Family, CountsWhatExceedsItsBoundAsOther) {
  Counters family{"requests_total", "Requests.", {"route"}};
  for (std::size_t i = 0; i < Counters::kMaxSeries + 10; ++i) family.with({std::to_string(i)}).add();
  const auto text = text_of(family);
  EXPECT_EQ(value_of(text, R"(requests_total{route="other"})"), 10);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), static_cast<std::ptrdiff_t>(2 + Counters::kMaxSeries + 1));
}

TEST(Presence, CountsForAsLongAsItIsThere) {
  Gauges family{"channels", "Channels."};
  {
    const Presence one{*family};
    const Presence two{*family};
    EXPECT_EQ(family->value(), 2);
  }
  EXPECT_EQ(family->value(), 0);
}

TEST(Histogram, CountsEachObservationUpToItsBound) {
  Histograms family{"took_seconds", "Took.", {"outcome"}};
  auto& histogram = family.with({"ok"});
  histogram.observe(0.001);  // a bound belongs to its bucket
  histogram.observe(0.3);
  histogram.observe(std::chrono::hours{1});
  histogram.observe(-5.0);
  const auto text = text_of(family);
  EXPECT_THAT(text, HasSubstr("# TYPE took_seconds histogram\n"));
  EXPECT_EQ(value_of(text, R"(took_seconds_bucket{outcome="ok",le="0.001"})"), 2);
  EXPECT_EQ(value_of(text, R"(took_seconds_bucket{outcome="ok",le="0.25"})"), 2);
  EXPECT_EQ(value_of(text, R"(took_seconds_bucket{outcome="ok",le="0.5"})"), 3);
  EXPECT_EQ(value_of(text, R"(took_seconds_bucket{outcome="ok",le="600"})"), 3);
  EXPECT_EQ(value_of(text, R"(took_seconds_bucket{outcome="ok",le="+Inf"})"), 4);
  EXPECT_EQ(value_of(text, R"(took_seconds_count{outcome="ok"})"), 4);
  EXPECT_DOUBLE_EQ(value_of(text, R"(took_seconds_sum{outcome="ok"})"), 3600.301);
}

TEST(Histogram, LosesNothingBetweenThreads) {
  Histograms family{"took_seconds", "Took.", {"thread"}};
  constexpr int kEach = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&family] {
      for (int i = 0; i < kEach; ++i) family.with({i % 2 == 0 ? "even" : "odd"}).observe(0.01);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(family.with({"even"}).count() + family.with({"odd"}).count(), 4U * kEach);
}

TEST(Stopwatch, TellsSteadyTime) {
  test::FakeClock clock{UnixTime{}};
  const Stopwatch watch{clock};
  clock.advance(std::chrono::milliseconds{1500});
  EXPECT_EQ(watch.elapsed(), std::chrono::milliseconds{1500});
}

class Process : public testing::Test {
 protected:
  static std::string text() {
    TextWriter out;
    const auto written = write_process(out);
    EXPECT_TRUE(written.ok());
    return out.text();
  }
};

TEST_F(Process, TellsOfMemoryThatIsInUse) {
  const auto before = value_of(text(), "process_resident_memory_bytes");
  constexpr std::size_t kSize = 64U << 20;
  std::vector<char> memory(kSize, 'x');
  const auto after = value_of(text(), "process_resident_memory_bytes");
  EXPECT_EQ(memory[kSize / 2], 'x');
  EXPECT_GT(after - before, 0.9 * kSize);
}

TEST_F(Process, TellsOfDescriptorsThatAreOpen) {
  const auto before = value_of(text(), "process_open_fds");
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(value_of(text(), "process_open_fds"), before + 1);
  ::close(fd);
}

TEST_F(Process, StartedBeforeNow) {
  const auto start = value_of(text(), "process_start_time_seconds");
  const auto now = static_cast<double>(std::chrono::duration_cast<std::chrono::seconds>(
      SystemClock{}.now().time_since_epoch()).count());
  EXPECT_GT(start, now - 3600);
  EXPECT_LE(start, now + 2);
}

TEST_F(Process, WritesOnlyNamesOfTheFormat) {
  const auto all = text();
  EXPECT_THAT(all, HasSubstr("# TYPE process_cpu_seconds_total counter\n"));
  EXPECT_THAT(all, Not(HasSubstr("nan")));
  EXPECT_GE(value_of(all, "process_threads"), 1);
  EXPECT_GE(value_of(all, "process_max_fds"), value_of(all, "process_open_fds"));
}

}  // namespace
}  // namespace cloister::metrics
