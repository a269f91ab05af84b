#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/log_line.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error{Errc::invalid_argument, "odd"};
  return n / 2;
}

Result<int> quarter(int n) {
  CLOISTER_TRY(h, half(n));
  CLOISTER_TRY(q, half(h));
  return q;
}

TEST(Bytes, AllZeroLooksAtEachByte) {
  EXPECT_TRUE(all_zero({}));
  Bytes bytes(67);
  EXPECT_TRUE(all_zero(bytes));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = 1;
    EXPECT_FALSE(all_zero(bytes)) << i;
    bytes[i] = 0;
  }
  EXPECT_FALSE(all_zero(Bytes(3, 7)));
}

TEST(Result, CarriesValueOrError) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().code(), Errc::invalid_argument);
  EXPECT_EQ(quarter(6).error().in("n").text(), "invalid_argument: n: odd");
}

TEST(Errc, NamesRoundTripAndHaveErrorStatus) {
  for (const auto code : {Errc::internal, Errc::not_found, Errc::signature_invalid, Errc::database_newer}) {
    EXPECT_EQ(errc_from_string(to_string(code)), code);
    EXPECT_GE(http_status(code), 400);
  }
  EXPECT_EQ(errc_from_string("no_such_code"), std::nullopt);
}

TEST(Time, FormatsAndParsesRfc3339) {
  for (const auto* text : {"1970-01-01T00:00:00Z", "2026-03-17T22:34:05Z", "2024-02-29T23:59:59.000001Z"}) {
    auto time = parse_rfc3339(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(to_rfc3339(*time), text);
  }
  EXPECT_EQ(to_rfc3339(*parse_rfc3339("2026-01-01T01:30:00+01:30")), "2026-01-01T00:00:00Z");
}

TEST(Time, RefusesWhatIsNotATime) {
  for (const auto* text : {"", "2026", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01 00:00:00Z",
                           "2026-01-01T00:00:00", "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00.Z",
                           "2026-01-01T00:00:00.1234567Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:60Z"}) {
    EXPECT_FALSE(parse_rfc3339(text)) << text;
  }
}

TEST(Ids, AreValidatedAndRandom) {
  SystemRandom random;
  const auto a = JobId::make(random);
  EXPECT_TRUE(valid_id(a.str()));
  EXPECT_NE(a, JobId::make(random));
  EXPECT_EQ(*JobId::parse(a.str()), a);
  for (const auto* text : {"", "-a", "A", "a/b", "a b", "..", "a\n"}) EXPECT_FALSE(JobId::parse(text)) << text;
  EXPECT_FALSE(JobId::parse(std::string(65, 'a')));
}

TEST(Ids, MayStandInTheOrderOfTheirTimes) {
  SystemRandom random;
  std::string before;
  // A millisecond, a carry into each of the characters, and the largest time that there is room for.
  for (const std::int64_t millis : {0LL, 1LL, 31LL, 32LL, 1'023LL, 1'024LL, 1'764'000'000'000LL, (1LL << 50) - 1}) {
    const auto id = ordered_id("tok", UnixTime{std::chrono::milliseconds{millis}}, random);
    EXPECT_TRUE(valid_id(id));
    EXPECT_EQ(id.size(), 4U + 26U);
    EXPECT_TRUE(id.starts_with("tok-"));
    EXPECT_LT(before, id);
    before = id;
  }
  const UnixTime now{std::chrono::milliseconds{1'764'000'000'000}};
  const auto one = ordered_id("tok", now, random);
  const auto other = ordered_id("tok", now, random);
  EXPECT_EQ(one.substr(0, 14), other.substr(0, 14));
  EXPECT_NE(one.substr(14), other.substr(14));
  EXPECT_EQ(ordered_id("x", UnixTime{std::chrono::milliseconds{1}}, random).substr(0, 12), "x-0000000001");
}

TEST(StderrLogger, WritesOneJsonLineAnEvent) {
  testing::internal::CaptureStderr();
  log::StderrLogger logger{"test", log::Level::info};
  logger.debug("dropped");
  logger.info("thing.happened", {{"text", "a\"b\nc"}, {"n", 3}, {"yes", true}});
  const auto out = testing::internal::GetCapturedStderr();
  EXPECT_EQ(out.find("dropped"), std::string::npos);
  EXPECT_NE(out.find(R"("event":"thing.happened","text":"a\"b\u000ac","n":3,"yes":true})"), std::string::npos) << out;
  EXPECT_EQ(std::ranges::count(out, '\n'), 1);
}

/// One line of each format with that text as a value.
std::string line_of(log::Format format, std::string_view value) {
  return log::format_line(format, UnixTime{}, log::Level::warn, "c", "e", {{"v", value}});
}

TEST(LogLine, IsReadableOnATerminal) {
  EXPECT_EQ(log::format_line(log::Format::text, UnixTime{}, log::Level::warn, "cloisterd", "job.leased",
                             {{"job", "job-1"}, {"n", 3}, {"text", "two words"}, {"none", ""}}),
            "1970-01-01T00:00:00Z warn cloisterd job.leased job=job-1 n=3 text=\"two words\" none=\"\"\n");
}

TEST(LogLine, HoldsNoValueThatForgesALineOrAField) {
  for (const auto format : {log::Format::text, log::Format::json}) {
    const auto line = line_of(format, "x\n{\"level\":\"error\"}\r\nlevel=error");
    EXPECT_EQ(std::ranges::count(line, '\n'), 1);
    EXPECT_EQ(line.find('\r'), std::string::npos);
  }
  EXPECT_EQ(line_of(log::Format::text, "x y=z"), "1970-01-01T00:00:00Z warn c e v=\"x y=z\"\n");
  EXPECT_EQ(line_of(log::Format::text, "x=z"), "1970-01-01T00:00:00Z warn c e v=\"x=z\"\n");
  EXPECT_NE(line_of(log::Format::json, R"(","level":"error)").find(R"("v":"\",\"level\":\"error"})"), std::string::npos);
}

TEST(LogLine, HoldsNothingThatSteersATerminal) {
  // Escape, backspace, DEL, C1 as UTF-8, a raw C1 byte, a line separator, a direction override.
  for (const std::string text : {"\x1b[2J", "\b", "\x7f", "\xc2\x9b", "\x9b", "\xe2\x80\xa8", "\xe2\x80\xae"}) {
    for (const auto format : {log::Format::text, log::Format::json}) {
      const auto line = line_of(format, text);
      EXPECT_EQ(line.find(text.substr(0, text[0] == '\x1b' ? 1 : text.size())), std::string::npos) << line;
      EXPECT_NE(line.find("\\u"), std::string::npos) << line;
    }
  }
}

TEST(LogLine, IsValidUtf8WhateverItIsGiven) {
  EXPECT_NE(line_of(log::Format::json, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x92").find("gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x92"),
            std::string::npos);
  // A stray byte, a cut sequence, an overlong slash, a surrogate, beyond Unicode.
  for (const auto* text : {"\xff", "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    const auto line = line_of(log::Format::json, text);
    EXPECT_TRUE(std::ranges::all_of(line, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) << line;
    EXPECT_NE(line.find("\\ufffd"), std::string::npos) << line;
  }
  EXPECT_NE(log::format_line(log::Format::json, UnixTime{}, log::Level::info, "c", "e",
                             {{"v", std::numeric_limits<double>::infinity()}}).find("\"v\":null"), std::string::npos);
}

}  // namespace
}  // namespace cloister
