#include "wire.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/beast/core.hpp>
#include <ctime>

namespace cloister::http {
namespace http = boost::beast::http;
namespace {

using boost::system::error_code;
constexpr std::size_t kReadSize = 16U << 10;

Error parse_error(const error_code& failure) {
  if (failure == http::error::body_limit) return Error{Errc::limit_exceeded, "the body is longer than allowed"};
  if (failure == http::error::header_limit) return Error{Errc::header_too_large, "the header is longer than allowed"};
  if (failure == http::error::partial_message) {
    return Error{Errc::peer_closed, "the connection ended in the middle of a message"};
  }
  return Error{Errc::malformed, "no HTTP message: " + failure.message()};
}

/// What one attempt to parse what is there came to.
enum class Step { progress, need_more };

template <class Parser>
Result<Step> parse_some(ReadBuffer& buffer, Parser& parser) {
  if (buffer.size() == 0) return Step::need_more;
  error_code failure;
  buffer.consume(parser.put(buffer.data(), failure));
  if (failure == http::error::need_more) return Step::need_more;
  if (failure && failure != http::error::need_buffer) return parse_error(failure);
  return Step::progress;
}

template <class Parser>
runtime::Task<Result<void>> receive(Transport& transport, ReadBuffer& buffer, Parser& parser) {
  const auto space = buffer.prepare(kReadSize);
  const std::span<std::uint8_t> target{static_cast<std::uint8_t*>(space.data()), space.size()};
  auto got = co_await transport.read_some(target);
  if (!got) co_return std::move(got).error();
  buffer.commit(*got);
  if (*got > 0) co_return Result<void>{};
  if (!parser.got_some()) co_return Error{Errc::peer_closed, "the peer closed the connection"};
  error_code failure;
  parser.put_eof(failure);
  if (failure) co_return parse_error(failure);
  co_return Result<void>{};
}

bool is_token(std::string_view text) noexcept {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view text) noexcept {
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7F;
  });
}

/// RFC 9110 section 5.6.7. Written once a second; valid until the thread's next call.
std::string_view http_date() {
  thread_local std::time_t written = -1;
  thread_local std::string date;
  const auto now = std::time(nullptr);
  if (now != written) {
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 40> text{};
    date.assign(text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts));
    written = now;
  }
  return date;
}

Result<std::string> response_head(const Response& response, std::uint64_t length, bool keep_alive) {
  const std::string reason{http::obsolete_reason(static_cast<http::status>(response.status))};
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + ' ' + reason + "\r\n";
  CLOISTER_CHECK(append_fields(out, response.headers));
  if (response.status != 204 && response.status != 304) out += "Content-Length: " + std::to_string(length) + "\r\n";
  if (!response.headers.find("Cache-Control")) out += "Cache-Control: no-store\r\n";
  out += "X-Content-Type-Options: nosniff\r\nDate: ";
  out += http_date();
  out += "\r\n";
  if (!keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
  return out;
}

/// An open file; closed at the end.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : fd_{::open(path.c_str(), O_RDONLY | O_CLOEXEC)} {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] bool ok() const noexcept { return fd_ >= 0; }
  /// Bytes from `offset` on, as many as fit; fewer only at the end of the file.
  [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> space, std::uint64_t offset) const {
    std::size_t done = 0;
    while (done < space.size()) {
      const auto got = ::pread(fd_, space.data() + done, space.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Error{Errc::io_error, "a file could not be read"};
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  int fd_;
};

/// Pieces are small and mostly cached, so they are read here and not in a pool.
runtime::Task<Result<void>> write_file(Transport& transport, const OpenFile& file, const FileSlice& slice,
                                       std::chrono::milliseconds step) {
  Bytes piece(kPiece);
  for (std::uint64_t done = 0; done < slice.length;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), slice.length - done));
    const std::span<std::uint8_t> space{piece.data(), want};
    auto got = file.read(space, slice.offset + done);
    if (!got) co_return std::move(got).error();
    if (*got != want) co_return Error{Errc::io_error, "a file is shorter than announced"};
    transport.expires_after(step);
    auto written = co_await transport.write(space);
    if (!written) co_return std::move(written).error();
    done += want;
  }
  co_return Result<void>{};
}

runtime::Task<Result<void>> write_pieces(Transport& transport, ByteView bytes, std::chrono::milliseconds step) {
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kPiece));
    transport.expires_after(step);
    auto written = co_await transport.write(piece);
    if (!written) co_return std::move(written).error();
    bytes = bytes.subspan(piece.size());
  }
  co_return Result<void>{};
}

}  // namespace

template <class Parser>
runtime::Task<Result<void>> read_header(Transport& transport, ReadBuffer& buffer, Parser& parser,
                                        std::size_t max_header) {
  parser.eager(false);
  parser.header_limit(static_cast<std::uint32_t>(max_header));
  parser.body_limit(boost::none);  // known once the route is
  std::size_t consumed = 0;
  while (true) {
    const auto before = buffer.size();
    auto step = parse_some(buffer, parser);
    if (!step) co_return std::move(step).error();
    consumed += before - buffer.size();
    if (consumed > max_header || (!parser.is_header_done() && consumed + buffer.size() > max_header)) {
      co_return Error{Errc::header_too_large, "at most " + std::to_string(max_header) + " bytes of header expected"};
    }
    if (parser.is_header_done()) co_return Result<void>{};
    if (*step == Step::progress) continue;
    auto more = co_await receive(transport, buffer, parser);
    if (!more) co_return std::move(more).error();
  }
}

template <class Parser>
runtime::Task<Result<void>> read_body(Transport& transport, ReadBuffer& buffer, Parser& parser, std::uint64_t max_body,
                                      std::function<Result<void>(ByteView)> sink) {
  const auto too_long = [max_body] {
    return Error{Errc::limit_exceeded, "a body of at most " + std::to_string(max_body) + " bytes expected"};
  };
  if (parser.content_length() && *parser.content_length() > max_body) co_return too_long();
  if (parser.is_done()) co_return Result<void>{};
  crypto::CleansedBytes piece(static_cast<std::size_t>(std::min<std::uint64_t>(parser.content_length().value_or(kPiece), kPiece)));
  std::uint64_t total = 0;
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    auto step = parse_some(buffer, parser);
    if (!step) co_return std::move(step).error();
    const auto got = piece.size() - parser.get().body().size;
    total += got;
    if (total > max_body) co_return too_long();
    if (got > 0) {
      auto taken = sink(ByteView{piece}.first(got));
      if (!taken) co_return std::move(taken).error();
    }
    if (*step == Step::progress) continue;
    auto more = co_await receive(transport, buffer, parser);
    if (!more) co_return std::move(more).error();
  }
  co_return Result<void>{};
}

template runtime::Task<Result<void>> read_header(Transport&, ReadBuffer&, RequestParser&, std::size_t);
template runtime::Task<Result<void>> read_header(Transport&, ReadBuffer&, ResponseParser&, std::size_t);
template runtime::Task<Result<void>> read_body(Transport&, ReadBuffer&, RequestParser&, std::uint64_t,
                                               std::function<Result<void>(ByteView)>);
template runtime::Task<Result<void>> read_body(Transport&, ReadBuffer&, ResponseParser&, std::uint64_t,
                                               std::function<Result<void>(ByteView)>);

Result<void> append_fields(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers.all()) {
    if (!is_token(name) || !is_field_value(value)) {
      return Error{Errc::invalid_argument, "header field without control characters expected"};
    }
    out += name + ": " + value + "\r\n";
  }
  return {};
}

Headers headers_of(const http::fields& fields) {
  Headers out;
  for (const auto& field : fields) out.add(std::string{field.name_string()}, std::string{field.value()});
  return out;
}

runtime::Task<Result<void>> write_response(Transport& transport, const Response& response, bool head, bool keep_alive,
                                           std::chrono::milliseconds step) {
  const auto length = response.file ? response.file->length : response.body.size();
  auto text = response_head(response, length, keep_alive);
  if (!text) co_return std::move(text).error();
  Bytes first = to_bytes(*text);
  if (!head && !response.file && response.body.size() <= kPiece) append(first, response.body);
  transport.expires_after(step);
  auto written = co_await transport.write(first);
  if (!written || head) co_return written;
  if (response.file) {
    const OpenFile file{response.file->path};
    if (!file.ok()) co_return Error{Errc::io_error, "a file to be sent is not there"};
    co_return co_await write_file(transport, file, *response.file, step);
  }
  if (response.body.size() <= kPiece) co_return Result<void>{};
  co_return co_await write_pieces(transport, response.body, step);
}

}  // namespace cloister::http
