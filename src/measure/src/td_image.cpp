#include "cloister/measure/td_image.hpp"

#include <algorithm>
#include <string_view>

#include "cloister/codec/cbor.hpp"

namespace cloister::measure {
namespace {

constexpr std::string_view kHeaderDomain = "cloister/td-file/1";

Error bad(const TdFile& file, std::string_view why) {
  return Error{Errc::invalid_argument, "TD image, \"" + file.path + "\": " + std::string{why}};
}

bool valid_component(std::string_view part) {
  constexpr std::string_view kMarks = "._+-";
  if (part.empty() || part == "." || part == "..") return false;
  return std::ranges::all_of(part, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool valid_path(std::string_view path) {
  if (path.size() > kMaxTdPath) return false;
  while (true) {
    const auto slash = path.find('/');
    if (!valid_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::uint64_t pages_of(const TdFile& file) { return 1 + (file.contents.size() + kTdPageSize - 1) / kTdPageSize; }

Result<void> check_files(std::span<const TdFile> files) {
  if (files.empty()) return Error{Errc::invalid_argument, "TD image: no file"};
  if (files.size() > kMaxTdFiles) {
    return Error{Errc::limit_exceeded, "TD image: at most 256 files expected, got " + std::to_string(files.size())};
  }
  std::uint64_t pages = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& file = files[i];
    if (!valid_path(file.path)) return bad(file, "a relative path of plain components expected");
    if (file.mode > 0777) return bad(file, "mode above 0777");
    if (file.contents.empty()) return bad(file, "empty file");
    if (i > 1 && file.path <= files[i - 1].path) return bad(file, "paths after the program's must ascend");
    if (i > 0 && file.path == files[0].path) return bad(file, "path of the program, again");
    pages += pages_of(file);
    if (pages > kMaxTdImageSize / kTdPageSize) return Error{Errc::limit_exceeded, "TD image: larger than 4 GiB"};
  }
  return {};
}

/// `bytes` (at most a page) and zeros behind it.
ByteArray<kTdPageSize> padded(ByteView bytes) {
  ByteArray<kTdPageSize> page{};
  std::ranges::copy(bytes, page.begin());
  return page;
}

Bytes header_of(const TdFile& file) {
  codec::cbor::Writer writer;
  writer.array(4).text(kHeaderDomain).text(file.path).uint(file.mode).uint(file.contents.size());
  return std::move(writer).take();
}

}  // namespace

Result<void> for_each_td_page(std::span<const TdFile> files, const TdPageSink& sink) {
  CLOISTER_CHECK(check_files(files));
  auto gpa = kTdImageBase;
  const auto put = [&](TdPage page) {
    auto result = sink(gpa, page);
    gpa += kTdPageSize;
    return result;
  };
  for (const auto& file : files) {
    CLOISTER_CHECK(put(padded(header_of(file))));
    auto rest = file.contents;
    for (; rest.size() >= kTdPageSize; rest = rest.subspan(kTdPageSize)) {
      CLOISTER_CHECK(put(rest.first<kTdPageSize>()));
    }
    if (!rest.empty()) CLOISTER_CHECK(put(padded(rest)));
  }
  return {};
}

Result<Digest48> mrtd_of_td_image(std::span<const TdFile> files) {
  TdMeasurement measurement;
  CLOISTER_CHECK(for_each_td_page(files, [&](std::uint64_t gpa, TdPage page) -> Result<void> {
    measurement.add_and_extend(gpa, page);
    return {};
  }));
  return measurement.finish();
}

}  // namespace cloister::measure
