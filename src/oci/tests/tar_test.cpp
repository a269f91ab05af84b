#include "cloister/oci/tar.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "support/support.hpp"

namespace cloister::oci::tar {
namespace {

std::string describe(const Entry& entry) {
  static constexpr std::string_view kKinds = "fdlh";
  std::string out{kKinds[static_cast<std::size_t>(entry.kind)]};
  out += ' ' + entry.path + ' ' + std::to_string(entry.mode);
  if (!entry.link.empty()) out += " -> " + entry.link;
  return out + " [" + std::to_string(entry.contents.size()) + "]";
}

Result<std::vector<std::string>> read(ByteView archive) {
  std::vector<std::string> out;
  Reader reader{archive};
  while (true) {
    CLOISTER_TRY(entry, reader.next());
    if (!entry) return out;
    out.push_back(describe(*entry));
  }
}

Bytes archive_of(std::string_view name) {
  return test::read_file(test::source_dir() / "src/oci/fuzz/corpus/oci_tar_fuzz" / name);
}

/// One file "name" with contents "abc", changed in its header (whose checksum is then made right again).
Bytes with_header(const std::function<void(Bytes&)>& change) {
  const Bytes contents{'a', 'b', 'c'};
  auto archive = write({Entry{"name", Kind::file, 0644, {}, contents}});
  change(archive);
  std::fill_n(archive.begin() + 148, 8, std::uint8_t{' '});
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += archive[i];
  for (std::size_t i = 0; i < 6; ++i) archive[148 + i] = static_cast<std::uint8_t>('0' + (sum >> (15 - 3 * i) & 7U));
  archive[154] = 0;
  return archive;
}

Errc refusal(ByteView archive) {
  const auto entries = read(archive);
  return entries ? Errc::internal : entries.error().code();
}

TEST(TarReader, ReadsArchivesOfAnotherProgram) {
  const std::string long_path = "long/" + std::string(90, 'd') + "/" + std::string(60, 'f');
  const auto p = std::string(100, 'p');
  std::vector<std::string> expected{"d  493 [0]",
                                    "d bin 493 [0]",
                                    "f bin/run 493 [7]",
                                    "l etc/alt 511 -> /bin/run [0]",
                                    "h bin/again 420 -> bin/run [0]",
                                    "f " + long_path + " 420 [4]",
                                    "f " + p + "/" + p + "/" + p + " 420 [600]",
                                    "l l 420 -> " + std::string(150, 't') + " [0]"};
  for (const auto* name : {"gnu.tar", "pax.tar"}) {
    const auto bytes = archive_of(name);
    const auto entries = read(bytes);
    ASSERT_TRUE(entries) << name << entries.error().text();
    EXPECT_EQ(*entries, expected) << name;
  }
  expected.resize(6);
  const auto bytes = archive_of("ustar.tar");
  const auto entries = read(bytes);
  ASSERT_TRUE(entries) << entries.error().text();
  EXPECT_EQ(*entries, expected);
}

TEST(TarReader, EndsOnceAndForAll) {
  const auto archive = write({});
  EXPECT_EQ(archive, Bytes(1024, 0));
  Reader reader{archive};
  for (int i = 0; i < 2; ++i) {
    const auto entry = reader.next();
    ASSERT_TRUE(entry);
    EXPECT_FALSE(*entry);
  }
}

TEST(TarReader, AcceptsTheUnchangedHeader) {
  EXPECT_EQ(*read(with_header([](Bytes&) {})), std::vector<std::string>{"f name 420 [3]"});
}

TEST(TarReader, RefusesDevicesPipesAndOtherKinds) {
  for (const char type : {'3', '4', '6', '7', 'S', 'D', 'M', 'V', 'Z'}) {
    EXPECT_EQ(refusal(with_header([type](Bytes& b) { b[156] = static_cast<std::uint8_t>(type); })), Errc::unsupported)
        << type;
  }
  EXPECT_EQ(refusal(archive_of("device.tar")), Errc::unsupported);
}

TEST(TarReader, RefusesPathsThatAreNotClean) {
  for (const std::string path : {"/abs", "../up", "a/../b", "a//b", "a/./b", "..", "a/..", "file/", "/", "./../x"}) {
    const auto archive = with_header([&path](Bytes& b) {
      std::fill_n(b.begin(), 100, std::uint8_t{0});
      std::copy(path.begin(), path.end(), b.begin());
    });
    EXPECT_EQ(refusal(archive), Errc::malformed) << path;
  }
  EXPECT_EQ(refusal(with_header([](Bytes& b) { std::fill_n(b.begin(), 100, std::uint8_t{0}); })), Errc::malformed);
}

TEST(TarReader, RefusesAWrongChecksum) {
  auto archive = with_header([](Bytes&) {});
  archive[0] ^= 1;
  EXPECT_EQ(refusal(archive), Errc::malformed);
}

TEST(TarReader, RefusesAHeaderThatIsNotUstar) {
  EXPECT_EQ(refusal(with_header([](Bytes& b) { b[257] = 'x'; })), Errc::malformed);
}

TEST(TarReader, RefusesNumbersThatAreNotOctal) {
  EXPECT_EQ(refusal(with_header([](Bytes& b) { b[124] = 0x80; })), Errc::malformed);
  EXPECT_EQ(refusal(with_header([](Bytes& b) { b[100] = '9'; })), Errc::malformed);
}

TEST(TarReader, RefusesADirectoryOrLinkWithContents) {
  EXPECT_EQ(refusal(with_header([](Bytes& b) { b[156] = '5'; })), Errc::malformed);
  EXPECT_EQ(refusal(with_header([](Bytes& b) { b[156] = '1', b[157] = 'x'; })), Errc::malformed);
}

TEST(TarReader, RefusesLinksWithoutTarget) {
  const auto no_target = [](char type) {
    return with_header([type](Bytes& b) {
      b[156] = static_cast<std::uint8_t>(type);
      b[134] = '0';  // size 0: the contents' block is then an entry that is no header, behind the refusal
    });
  };
  EXPECT_EQ(refusal(no_target('1')), Errc::malformed);
  EXPECT_EQ(refusal(no_target('2')), Errc::malformed);
}

TEST(TarReader, RefusesTruncationAndTrailingData) {
  const auto archive = with_header([](Bytes&) {});
  for (const std::size_t size : {0, 100, 512, 515, 1024, 1500, 1536, 2000}) {
    EXPECT_EQ(refusal(ByteView{archive}.first(size)), Errc::truncated) << size;
  }
  auto longer = archive;
  longer.resize(longer.size() + 700);
  EXPECT_EQ(refusal(longer), Errc::internal);
  longer.back() = 1;
  EXPECT_EQ(refusal(longer), Errc::trailing_bytes);
}

/// An extended header with these records, before one file.
Bytes with_records(char type, std::string_view records) {
  auto archive = write({Entry{"name", Kind::file, 0644, {}, as_bytes(records)}});
  archive.resize(1024);
  archive[156] = static_cast<std::uint8_t>(type);
  std::fill_n(archive.begin() + 148, 8, std::uint8_t{' '});
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += archive[i];
  for (std::size_t i = 0; i < 6; ++i) archive[148 + i] = static_cast<std::uint8_t>('0' + (sum >> (15 - 3 * i) & 7U));
  archive[154] = 0;
  append(archive, write({Entry{"file", Kind::file, 0644, {}, as_bytes("abc")}}));
  return archive;
}

TEST(TarReader, ExtendedHeadersChangeTheNextEntry) {
  EXPECT_EQ(*read(with_records('x', "14 path=other\n")), std::vector<std::string>{"f other 420 [3]"});
  EXPECT_EQ(*read(with_records('x', "9 size=2\n")), std::vector<std::string>{"f file 420 [2]"});
  EXPECT_EQ(*read(with_records('g', "13 comment=x\n")), std::vector<std::string>{"f file 420 [3]"});
  EXPECT_EQ(*read(with_records('L', "renamed")), std::vector<std::string>{"f renamed 420 [3]"});
}

TEST(TarReader, RefusesBrokenExtendedHeaders) {
  for (const auto* records : {"path=x\n", "8 path=x\n", "99 path=x\n", "10 path=xy", "4 a\n", "5 =a\n", "9 size=x\n",
                              "0 \n", "15 path=/other\n", "16 path=../othe\n"}) {
    EXPECT_EQ(refusal(with_records('x', records)), Errc::malformed) << records;
  }
  EXPECT_EQ(refusal(with_records('x', std::string_view{"12 path=a\0b\n", 12})), Errc::malformed);
  EXPECT_EQ(refusal(with_records('g', "14 path=other\n")), Errc::malformed);
  EXPECT_EQ(refusal(with_records('x', "22 GNU.sparse.major=1\n")), Errc::unsupported);
  EXPECT_EQ(refusal(with_records('x', "28 size=9223372036854775807\n")), Errc::truncated);
}

TEST(TarReader, RefusesAnExtendedHeaderWithoutEntry) {
  auto archive = with_records('x', "14 path=other\n");
  archive.resize(1024);
  archive.resize(2048);
  EXPECT_EQ(refusal(archive), Errc::malformed);
}

TEST(TarPath, CleanPaths) {
  for (const auto* path : {"a", "a/b", ".hidden", "..a", "a b", "\xC3\xBC"}) EXPECT_TRUE(clean_path(path)) << path;
  EXPECT_FALSE(clean_path(""));
  EXPECT_TRUE(clean_path(std::string(255, 'a')));
  EXPECT_FALSE(clean_path(std::string(256, 'a')));
  std::string deep = "a";
  for (int i = 1; i < 64; ++i) deep += "/a";
  EXPECT_TRUE(clean_path(deep));
  EXPECT_FALSE(clean_path(deep + "/a"));
}

TEST(TarWriter, IsReproducible) {
  const std::vector<Entry> entries{{"d", Kind::directory, 0755, {}, {}},
                                   {"d/f", Kind::file, 04644, {}, as_bytes("abc")}};
  EXPECT_EQ(write(entries), write(entries));
  EXPECT_EQ(*read(write(entries)), (std::vector<std::string>{"d d 493 [0]", "f d/f 420 [3]"}));
}

}  // namespace
}  // namespace cloister::oci::tar
