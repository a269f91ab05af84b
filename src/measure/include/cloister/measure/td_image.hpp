#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/measure/tdx.hpp"

/// The image of a `process` TD: the files that the platform executes, laid out as pages of guest memory
/// (docs/protocol/launch.md, "TD image and MRTD"). Platform, builder and clients measure with these functions alone.
namespace cloister::measure {

/// One file of a TD image. The first is the program; the others are what it loads, in ascending order of path.
struct TdFile {
  std::string path;        // relative: components of [A-Za-z0-9._+-], joined by "/", none of them "." or ".."
  std::uint32_t mode = 0;  // permission bits, at most 0777
  ByteView contents;       // not empty; a view, which outlives this (a mapped file, for instance)
};

inline constexpr std::uint64_t kTdImageBase = 0x100000;
inline constexpr std::size_t kMaxTdFiles = 256;
inline constexpr std::size_t kMaxTdPath = 255;
inline constexpr std::uint64_t kMaxTdImageSize = std::uint64_t{1} << 32;  // bytes, pages of headers included

/// Takes one page of the image; an error ends the walk.
using TdPageSink = std::function<Result<void>(std::uint64_t gpa, TdPage page)>;

/// The pages of the image in launch order: for each file a header page, then its contents, padded with zeros to whole
/// pages. No page is held longer than its call. Refused with `invalid_argument`: no file, a bad, misplaced or repeated
/// path, an empty file, a mode above 0777; with `limit_exceeded`: too many files or bytes. Also what `sink` refuses.
[[nodiscard]] Result<void> for_each_td_page(std::span<const TdFile> files, const TdPageSink& sink);

/// MRTD of a TD that is built from the image: each page is added and its 16 chunks extended. Errors as above.
[[nodiscard]] Result<Digest48> mrtd_of_td_image(std::span<const TdFile> files);

}  // namespace cloister::measure
