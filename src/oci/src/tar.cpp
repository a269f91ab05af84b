#include "cloister/oci/tar.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace cloister::oci::tar {
namespace {

// POSIX.1-2017, pax, "ustar Interchange Format": offsets and sizes of the header's fields.
constexpr std::size_t kBlock = 512;
struct Field {
  std::size_t at;
  std::size_t size;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kTime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kType{156, 1};
constexpr Field kLink{157, 100};
constexpr Field kMagic{257, 8};
constexpr Field kPrefix{345, 155};

constexpr std::string_view kPosixMagic{"ustar\00000", 8};
constexpr std::string_view kGnuMagic{"ustar  \0", 8};
constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxComponents = 64;
constexpr std::size_t kMaxComponent = 255;

Error malformed(std::string detail) { return Error{Errc::malformed, "tar: " + std::move(detail)}; }

ByteView bytes_of(ByteView header, Field field) { return header.subspan(field.at, field.size); }

/// The field up to its first NUL.
std::string_view text_of(ByteView header, Field field) {
  const auto text = as_text(bytes_of(header, field));
  return text.substr(0, text.find('\0'));
}

/// Octal digits between optional spaces, up to a NUL; an empty field is zero.
Result<std::uint64_t> octal(ByteView header, Field field) {
  auto text = text_of(header, field);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return malformed("an octal number expected");
    value = value << 3U | static_cast<std::uint64_t>(c - '0');
  }
  return value;  // at most 12 digits: 36 bits
}

/// The sum of the header's bytes, those of the checksum itself counted as spaces.
std::uint64_t checksum(ByteView header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const bool inside = i >= kChecksum.at && i < kChecksum.at + kChecksum.size;
    sum += inside ? std::uint8_t{' '} : header[i];
  }
  return sum;
}

/// What extended headers say about the next entry.
struct Extended {
  std::optional<std::string> path;
  std::optional<std::string> link;
  std::optional<std::uint64_t> size;
};

Result<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return malformed("a decimal number expected");
  return value;
}

Result<void> read_record(std::string_view key, std::string_view value, Extended& out) {
  if (key == "path") {
    out.path = std::string{value};
  } else if (key == "linkpath") {
    out.link = std::string{value};
  } else if (key == "size") {
    CLOISTER_TRY(size, decimal(value));
    out.size = size;
  } else if (key.starts_with("GNU.sparse.")) {
    return Error{Errc::unsupported, "tar: sparse files are not supported"};
  }
  return {};
}

/// Records "LENGTH key=value\n", LENGTH counting the whole record.
Result<void> read_records(std::string_view text, Extended& out) {
  while (!text.empty()) {
    const auto space = text.find(' ');
    if (space == std::string_view::npos || space > 10) return malformed("a pax record has no length");
    CLOISTER_TRY(length, decimal(text.substr(0, space)));
    if (length > text.size() || length < space + 2 || text[length - 1] != '\n') {
      return malformed("a pax record has a wrong length");
    }
    const auto record = text.substr(space + 1, length - space - 2);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) return malformed("a pax record has no key");
    CLOISTER_CHECK(read_record(record.substr(0, equals), record.substr(equals + 1), out));
    text.remove_prefix(length);
  }
  return {};
}

/// Without leading "./" and trailing "/"; "" for the root itself.
std::string_view normal(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return path == "." ? std::string_view{} : path;
}

Result<std::string> clean(std::string_view path) {
  if (clean_path(path)) return std::string{path};
  return malformed("path '" + std::string{path.substr(0, 128)} + "' is not relative and clean");
}

std::string header_path(ByteView header) {
  const auto name = text_of(header, kName);
  const bool posix = as_text(bytes_of(header, kMagic)) == kPosixMagic;
  const auto prefix = posix ? text_of(header, kPrefix) : std::string_view{};
  if (prefix.empty()) return std::string{name};
  return std::string{prefix}.append("/").append(name);
}

Result<Kind> kind_of(char type) {
  switch (type) {
    case '\0':
    case '0':
      return Kind::file;
    case '1':
      return Kind::hardlink;
    case '2':
      return Kind::symlink;
    case '5':
      return Kind::directory;
    default:
      return Error{Errc::unsupported, "tar: only files, directories and links are supported"};
  }
}

/// The entry that a header and the extended headers before it describe, without contents.
Result<Entry> describe(ByteView header, const Extended& extended) {
  Entry entry;
  CLOISTER_TRY(kind, kind_of(static_cast<char>(header[kType.at])));
  entry.kind = kind;
  const auto raw = extended.path.value_or(header_path(header));
  if (kind != Kind::directory && raw.ends_with('/')) return malformed("a file's path ends in '/'");
  const auto path = normal(raw);
  if (!path.empty() || kind != Kind::directory || raw.empty() || raw.front() == '/') {
    CLOISTER_TRY(cleaned, clean(path));
    entry.path = std::move(cleaned);
  }
  CLOISTER_TRY(mode, octal(header, kMode));
  entry.mode = static_cast<std::uint32_t>(mode & 0777U);
  auto link = extended.link.value_or(std::string{text_of(header, kLink)});
  if (kind == Kind::hardlink) {
    CLOISTER_TRY(target, clean(normal(link)));
    entry.link = std::move(target);
  } else if (kind == Kind::symlink) {
    if (link.empty() || link.size() > kMaxPath || link.find('\0') != std::string::npos) {
      return malformed("a symbolic link without a proper target");
    }
    entry.link = std::move(link);
  }
  return entry;
}

}  // namespace

bool clean_path(std::string_view path) noexcept {
  if (path.empty() || path.size() > kMaxPath) return false;
  std::size_t components = 0;
  while (true) {
    const auto slash = path.find('/');
    const auto component = path.substr(0, slash);
    if (component.empty() || component == "." || component == ".." || component.size() > kMaxComponent ||
        component.find('\0') != std::string_view::npos || ++components > kMaxComponents) {
      return false;
    }
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

/// `size` bytes and the padding up to the next block, which is not looked at.
Result<ByteView> Reader::take(std::uint64_t size) {
  if (size > rest_.size()) return Error{Errc::truncated, "tar: the archive ends inside an entry"};
  const auto taken = rest_.first(static_cast<std::size_t>(size));
  const auto padding = (kBlock - taken.size() % kBlock) % kBlock;
  rest_ = rest_.subspan(taken.size());
  if (padding > rest_.size()) return Error{Errc::truncated, "tar: the archive ends inside an entry's padding"};
  rest_ = rest_.subspan(padding);
  return taken;
}

/// One block of zeros was read: a second one follows, and zeros to the end.
Result<std::optional<Entry>> Reader::end() {
  if (rest_.size() < kBlock) return Error{Errc::truncated, "tar: the end mark is cut"};
  if (!all_zero(rest_)) return Error{Errc::trailing_bytes, "tar: data behind the end mark"};
  ended_ = true;
  return std::optional<Entry>{};
}

Result<std::optional<Entry>> Reader::next() {
  if (ended_) return std::optional<Entry>{};
  Extended extended;
  bool pending = false;
  while (true) {
    CLOISTER_TRY(header, take(kBlock));
    if (all_zero(header)) {
      if (pending) return malformed("an extended header without an entry");
      return end();
    }
    const auto magic = as_text(bytes_of(header, kMagic));
    if (magic != kPosixMagic && magic != kGnuMagic) return malformed("not a ustar header");
    CLOISTER_TRY(sum, octal(header, kChecksum));
    if (sum != checksum(header)) return malformed("a header's checksum is wrong");
    CLOISTER_TRY(header_size, octal(header, kSize));
    const auto type = static_cast<char>(header[kType.at]);
    if (type == 'x' || type == 'g' || type == 'L' || type == 'K') {
      CLOISTER_TRY(contents, take(header_size));
      const auto text = as_text(contents);
      Extended global;
      switch (type) {
        case 'x':
          CLOISTER_CHECK(read_records(text, extended));
          break;
        case 'L':
          extended.path = std::string{text.substr(0, text.find('\0'))};
          break;
        case 'K':
          extended.link = std::string{text.substr(0, text.find('\0'))};
          break;
        default:
          CLOISTER_CHECK(read_records(text, global));
          if (global.path || global.link || global.size) return malformed("a global header gives path, link or size");
      }
      pending = pending || type != 'g';
      continue;
    }
    CLOISTER_TRY(entry, describe(header, extended));
    const auto size = extended.size.value_or(header_size);
    if (entry.kind != Kind::file && size != 0) return malformed("a directory or link with contents");
    CLOISTER_TRY(contents, take(size));
    entry.contents = contents;
    return std::optional<Entry>{std::move(entry)};
  }
}

namespace {

void put_text(std::array<std::uint8_t, kBlock>& header, Field field, std::string_view text) {
  CLOISTER_ASSERT(text.size() <= field.size);
  std::ranges::copy(as_bytes(text), header.begin() + static_cast<std::ptrdiff_t>(field.at));
}

/// Octal digits that leave room for a NUL.
void put_octal(std::array<std::uint8_t, kBlock>& header, Field field, std::uint64_t value) {
  CLOISTER_ASSERT(value >> (3 * (field.size - 1)) == 0);
  for (std::size_t i = field.size - 1; i-- > 0; value >>= 3U) {
    header[field.at + i] = static_cast<std::uint8_t>('0' + (value & 7U));
  }
}

void put_block(Bytes& out, std::string_view path, std::string_view link, char type, std::uint32_t mode,
               ByteView contents) {
  std::array<std::uint8_t, kBlock> header{};
  put_text(header, kName, path);
  put_octal(header, kMode, mode);
  put_octal(header, kUid, 0);
  put_octal(header, kGid, 0);
  put_octal(header, kSize, contents.size());
  put_octal(header, kTime, 0);
  header[kType.at] = static_cast<std::uint8_t>(type);
  put_text(header, kLink, link);
  put_text(header, kMagic, kPosixMagic);
  put_octal(header, {kChecksum.at, kChecksum.size - 1}, checksum(header));
  header[kChecksum.at + kChecksum.size - 1] = ' ';
  append(out, header);
  append(out, contents);
  out.resize((out.size() + kBlock - 1) / kBlock * kBlock);
}

/// "LENGTH key=value\n", where LENGTH counts its own digits.
std::string record(std::string_view key, std::string_view value) {
  const auto body = " " + std::string{key} + "=" + std::string{value} + "\n";
  auto length = body.size();
  while (std::to_string(length).size() + body.size() != length) length = std::to_string(length).size() + body.size();
  return std::to_string(length) + body;
}

char type_of(Kind kind) {
  switch (kind) {
    case Kind::file:
      return '0';
    case Kind::directory:
      return '5';
    case Kind::symlink:
      return '2';
    case Kind::hardlink:
      return '1';
  }
  CLOISTER_ASSERT(false);
  return '0';
}

}  // namespace

Bytes write(const std::vector<Entry>& entries) {
  Bytes out;
  for (const auto& entry : entries) {
    const bool directory = entry.kind == Kind::directory;
    const bool linked = entry.kind == Kind::symlink || entry.kind == Kind::hardlink;
    CLOISTER_ASSERT(clean_path(entry.path) || (directory && entry.path.empty()));
    CLOISTER_ASSERT(linked != entry.link.empty());
    const auto path = directory ? (entry.path.empty() ? "./" : entry.path + "/") : entry.path;
    std::string records;
    if (path.size() > kName.size) records += record("path", path);
    if (entry.link.size() > kLink.size) records += record("linkpath", entry.link);
    if (!records.empty()) put_block(out, "pax", "", 'x', 0644, as_bytes(records));
    put_block(out, std::string_view{path}.substr(0, kName.size), std::string_view{entry.link}.substr(0, kLink.size),
              type_of(entry.kind), entry.mode & 0777U, entry.kind == Kind::file ? entry.contents : ByteView{});
  }
  out.resize(out.size() + 2 * kBlock);
  return out;
}

}  // namespace cloister::oci::tar
