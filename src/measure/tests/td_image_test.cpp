#include "cloister/measure/td_image.hpp"

#include <gtest/gtest.h>

#include <map>

#include "cloister/codec/text.hpp"

namespace cloister::measure {
namespace {

std::map<std::uint64_t, Bytes> pages_of(std::span<const TdFile> files) {
  std::map<std::uint64_t, Bytes> pages;
  const auto result = for_each_td_page(files, [&](std::uint64_t gpa, TdPage page) -> Result<void> {
    pages.emplace(gpa, to_bytes(page));
    return {};
  });
  EXPECT_TRUE(result.ok()) << result.error().text();
  return pages;
}

/// Errors of the layout; the first of several is enough.
Errc refusal(std::vector<TdFile> files) { return mrtd_of_td_image(files).error().code(); }

class TdImage : public ::testing::Test {
 protected:
  Bytes program_ = Bytes(5000, 0x11);
  Bytes library_ = Bytes(4096, 0x22);
  std::vector<TdFile> files_{{"cloister-guest", 0755, program_}, {"lib/libc.so.6", 0644, library_}};
};

TEST_F(TdImage, EachFileIsAHeaderPageAndItsPaddedContents) {
  const auto pages = pages_of(files_);
  ASSERT_EQ(pages.size(), 5U);
  EXPECT_EQ(pages.begin()->first, kTdImageBase);
  EXPECT_EQ(pages.rbegin()->first, kTdImageBase + 4 * kTdPageSize);
  // ["cloister/td-file/1", "cloister-guest", 493, 5000], then zeros
  Bytes header = codec::from_hex("8472636c6f69737465722f74642d66696c652f316e636c6f69737465722d67756573741901ed191388").value();
  header.resize(kTdPageSize);
  EXPECT_EQ(pages.at(0x100000), header);
  EXPECT_EQ(pages.at(0x101000), Bytes(kTdPageSize, 0x11));
  Bytes tail(kTdPageSize);
  std::fill_n(tail.begin(), 5000 - 4096, std::uint8_t{0x11});
  EXPECT_EQ(pages.at(0x102000), tail);
  EXPECT_EQ(pages.at(0x104000), library_);
}

TEST_F(TdImage, MrtdAddsAndExtendsEachPageInOrder) {
  TdMeasurement measurement;
  for (const auto& [gpa, page] : pages_of(files_)) measurement.add_and_extend(gpa, TdPage{page.data(), kTdPageSize});
  EXPECT_EQ(mrtd_of_td_image(files_).value(), measurement.finish());
}

TEST_F(TdImage, MrtdOfAFixedImageIsKnown) {
  EXPECT_EQ(codec::to_hex(mrtd_of_td_image(files_).value()), "0fccd6b0356b35e1e9b0ec9e40befc0fae4113ca88c307fedf7f421a76bac78dc40eb7bec7b1947d82eda0fe10514cca");
}

TEST_F(TdImage, EveryPartOfAFileIsMeasured) {
  const auto before = mrtd_of_td_image(files_).value();
  auto changed = files_;
  changed[1].path = "lib/libd.so.6";
  EXPECT_NE(mrtd_of_td_image(changed).value(), before);
  changed = files_;
  changed[0].mode = 0555;
  EXPECT_NE(mrtd_of_td_image(changed).value(), before);
  changed = files_;
  changed[0].contents = ByteView{program_}.first(4999);
  EXPECT_NE(mrtd_of_td_image(changed).value(), before);
  changed = files_;
  changed.pop_back();
  EXPECT_NE(mrtd_of_td_image(changed).value(), before);
  program_.back() ^= 1;
  EXPECT_NE(mrtd_of_td_image(files_).value(), before);
}

TEST_F(TdImage, TrailingZerosOfAFileAreNotItsPadding) {
  Bytes padded = program_;
  padded.resize(2 * kTdPageSize);
  auto changed = files_;
  changed[0].contents = padded;
  EXPECT_NE(mrtd_of_td_image(changed).value(), mrtd_of_td_image(files_).value());
}

TEST_F(TdImage, ErrorsOfTheSinkEndTheWalk) {
  int calls = 0;
  const auto result = for_each_td_page(files_, [&](std::uint64_t, TdPage) -> Result<void> {
    if (++calls == 2) return Error{Errc::cancelled, "enough"};
    return {};
  });
  EXPECT_EQ(result.error().code(), Errc::cancelled);
  EXPECT_EQ(calls, 2);
}

TEST_F(TdImage, RefusesPathsThatAreNotPlain) {
  for (const char* path : {"", "/bin/x", "a//b", "a/", "../x", "a/./b", "a b", "a\nb", "caf\xC3\xA9"}) {
    EXPECT_EQ(refusal({{path, 0755, program_}}), Errc::invalid_argument) << path;
  }
  EXPECT_EQ(refusal({{std::string(256, 'a'), 0755, program_}}), Errc::invalid_argument);
  EXPECT_TRUE(mrtd_of_td_image(std::vector<TdFile>{{std::string(255, 'a'), 0755, program_}}).ok());
}

TEST_F(TdImage, RefusesFilesOutOfOrder) {
  EXPECT_EQ(refusal({files_[0], {"b", 0644, library_}, {"a", 0644, library_}}), Errc::invalid_argument);
  EXPECT_EQ(refusal({files_[0], {"a", 0644, library_}, {"a", 0644, library_}}), Errc::invalid_argument);
  EXPECT_EQ(refusal({files_[0], {"cloister-guest", 0644, library_}}), Errc::invalid_argument);
  EXPECT_TRUE(mrtd_of_td_image(std::vector<TdFile>{files_[0], {"a", 0644, library_}}).ok());  // only after the first
}

TEST_F(TdImage, RefusesEmptyFilesModesAndImages) {
  EXPECT_EQ(refusal({}), Errc::invalid_argument);
  EXPECT_EQ(refusal({{"a", 0755, {}}}), Errc::invalid_argument);
  EXPECT_EQ(refusal({{"a", 01755, program_}}), Errc::invalid_argument);
}

TEST_F(TdImage, RefusesTooManyFiles) {
  std::vector<TdFile> many;
  for (int i = 0; i < 257; ++i) many.push_back({"f" + std::to_string(1000 + i), 0644, library_});
  EXPECT_EQ(refusal(many), Errc::limit_exceeded);
  many.pop_back();
  EXPECT_TRUE(mrtd_of_td_image(many).ok());
}

}  // namespace
}  // namespace cloister::measure
