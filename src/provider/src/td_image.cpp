#include "cloister/provider/td_image.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <map>

#include "cloister/codec/cursor.hpp"
#include "cloister/process/child.hpp"

namespace cloister::provider {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxListing = 1U << 20;
constexpr std::uint32_t kExecutable = 0755;
constexpr std::uint32_t kReadable = 0644;

Result<ImageFile> image_file(std::string name, std::uint32_t mode, const fs::path& source) {
  CLOISTER_TRY(fd, process::open_file(source));
  auto memfd = process::sealed_copy(name, fd.get(), kMaxImageFileSize);
  if (!memfd) return memfd.error().in(source.string());
  CLOISTER_TRY(mapping, process::SealedMapping::of(memfd->get()));
  return ImageFile{.path = std::move(name), .mode = mode, .memfd = std::move(*memfd), .mapping = std::move(mapping)};
}

Result<std::string> read_to_end(int fd, Deadline deadline) {
  std::string out;
  char buffer[4096];
  for (;;) {
    CLOISTER_CHECK(process::wait_for(fd, POLLIN, deadline));
    const auto got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return process::errno_error("read");
    if (got == 0) return out;
    out.append(buffer, static_cast<std::size_t>(got));
    if (out.size() > kMaxListing) return Error{Errc::limit_exceeded, "loader listing: 1 MiB at most"};
  }
}

/// What `loader --list program` prints: one library a line (ld.so(8)).
Result<std::string> loader_listing(const fs::path& loader, const fs::path& program) {
  const Deadline deadline{std::chrono::steady_clock::now() + std::chrono::seconds{30}};
  CLOISTER_TRY(pipe, process::pipe_pair());
  CLOISTER_TRY(child, process::ChildProcess::start({.program = loader,
                                                    .arguments = {"--list", program.native()},
                                                    .environment = {},
                                                    .descriptors = {{.source = pipe.second.get(), .target = 1}},
                                                    .directory = "/",
                                                    .limits = {},
                                                    .user = {}}));
  pipe.second.reset();
  CLOISTER_TRY(listing, read_to_end(pipe.first.get(), deadline));
  CLOISTER_TRY(status, child.wait(deadline));
  if (!status.success()) {
    return Error{Errc::invalid_argument, "libraries of " + program.string() + ": loader ended with " + status.text()};
  }
  return listing;
}

/// Name in the image to file, from the lines "\tNAME => FILE (ADDRESS)"; other lines name the loader or the vDSO.
Result<std::map<std::string, fs::path>> libraries_of(std::string_view listing) {
  std::map<std::string, fs::path> out;
  while (!listing.empty()) {
    const auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    constexpr std::string_view kArrow = " => ";
    const auto arrow = line.find(kArrow);
    if (arrow == std::string_view::npos) continue;
    const auto name = line.substr(0, arrow).substr(line.find_first_not_of('\t'));
    const auto rest = line.substr(arrow + kArrow.size());
    const auto file = rest.substr(0, rest.rfind(" ("));
    if (!file.starts_with('/')) return Error{Errc::not_found, "library " + std::string{name} + " of this machine"};
    out.emplace(std::string{kLibraryFolder} + fs::path{name}.filename().native(), fs::path{file});
  }
  return out;
}

// ELF-64 file format (System V ABI, "Object Files"): the fields used here.
constexpr ByteArray<6> kElfMagic{0x7F, 'E', 'L', 'F', 2, 1};  // 64 bits, little-endian
constexpr std::uint32_t kInterpreterSegment = 3;
constexpr std::size_t kProgramHeaderSize = 56;
constexpr std::size_t kMaxProgramHeaders = 256;
constexpr std::size_t kMaxInterpreter = 4096;

struct Segment {
  std::uint32_t type;
  std::uint64_t offset;
  std::uint64_t size;
};

std::optional<Segment> read_segment(ByteView header) {
  codec::Reader in{header};
  const auto type = in.u32le();
  const auto flags = in.u32le();
  const auto offset = in.u64le();
  const auto addresses = in.take(16);
  const auto size = in.u64le();
  if (!type || !flags || !offset || !addresses || !size) return std::nullopt;
  return Segment{.type = *type, .offset = *offset, .size = *size};
}

std::optional<ByteView> slice(ByteView bytes, std::uint64_t offset, std::uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, size);
}

}  // namespace

Result<std::optional<fs::path>> elf_interpreter(ByteView program) {
  const Error malformed{Errc::malformed, "ELF: 64-bit little-endian program expected"};
  codec::Reader in{program};
  const auto magic = in.array<6>();
  if (!magic || *magic != kElfMagic) return malformed;
  const auto before_table = in.take(26);
  const auto table = in.u64le();
  const auto before_count = in.take(14);
  const auto entry_size = in.u16le();
  const auto count = in.u16le();
  if (!before_table || !table || !before_count || !entry_size || !count) return malformed;
  if (*entry_size != kProgramHeaderSize || *count > kMaxProgramHeaders) return malformed;
  const auto headers = slice(program, *table, std::uint64_t{*count} * kProgramHeaderSize);
  if (!headers) return malformed;
  for (std::size_t i = 0; i < *count; ++i) {
    const auto segment = read_segment(headers->subspan(i * kProgramHeaderSize, kProgramHeaderSize));
    if (!segment) return malformed;
    if (segment->type != kInterpreterSegment) continue;
    const auto name = slice(program, segment->offset, segment->size);
    if (!name || name->size() < 2 || name->size() > kMaxInterpreter || name->back() != 0) return malformed;
    const auto text = as_text(name->first(name->size() - 1));
    if (!text.starts_with('/') || text.find('\0') != std::string_view::npos) return malformed;
    return std::optional{fs::path{text}};
  }
  return std::optional<fs::path>{};
}

Result<TdImage> td_image_of_program(const fs::path& program) {
  std::error_code failed;
  const auto absolute = fs::absolute(program, failed);
  if (failed) return Error{Errc::io_error, program.string() + ": " + failed.message()};
  TdImage image;
  CLOISTER_TRY(first, image_file(absolute.filename().native(), kExecutable, absolute));
  image.push_back(std::move(first));
  auto loader = elf_interpreter(image.front().contents());
  if (!loader) return loader.error().in(program.string());
  if (!*loader) return image;

  CLOISTER_TRY(listing, loader_listing(**loader, absolute));
  CLOISTER_TRY(libraries, libraries_of(listing));
  const auto loader_name = std::string{kLibraryFolder} + (*loader)->filename().native();
  libraries.insert_or_assign(loader_name, **loader);
  for (const auto& [name, file] : libraries) {  // ascending, as images are ordered
    CLOISTER_TRY(next, image_file(name, name == loader_name ? kExecutable : kReadable, file));
    image.push_back(std::move(next));
  }
  return image;
}

}  // namespace cloister::provider
