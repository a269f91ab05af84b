#pragma once

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <string>

#include "cloister/crypto/cleansed.hpp"
#include "transport.hpp"

/// HTTP/1.1 messages over a Transport, both directions of both sides.
namespace cloister::http {

/// Received, not yet parsed; belongs to one connection. Overwrites what it frees, since bodies may be secrets.
using ReadBuffer = boost::beast::basic_flat_buffer<crypto::CleansingAllocator<char>>;
using RequestParser = boost::beast::http::request_parser<boost::beast::http::buffer_body>;
using ResponseParser = boost::beast::http::response_parser<boost::beast::http::buffer_body>;

/// Reads until the header is complete. `peer_closed` when the connection ended before a first byte (and detail says
/// when it was later), `header_too_large`, `malformed`.
template <class Parser>
[[nodiscard]] runtime::Task<Result<void>> read_header(Transport& transport, ReadBuffer& buffer, Parser& parser,
                                                      std::size_t max_header);

/// Gives the body to `sink`, in order. `limit_exceeded` above `max_body`, what the sink refuses, or as `read_header`.
template <class Parser>
[[nodiscard]] runtime::Task<Result<void>> read_body(Transport& transport, ReadBuffer& buffer, Parser& parser,
                                                    std::uint64_t max_body,
                                                    std::function<Result<void>(ByteView)> sink);

/// "Name: value" lines; `invalid_argument` when a name is no token, or a value has control characters.
[[nodiscard]] Result<void> append_fields(std::string& out, const Headers& headers);

/// The fields of a parsed message.
[[nodiscard]] Headers headers_of(const boost::beast::http::fields& fields);

/// Writes header and body, at most `step` for every 64 KiB. Content-Length and Date are added; the body is left out
/// after HEAD.
[[nodiscard]] runtime::Task<Result<void>> write_response(Transport& transport, const Response& response, bool head,
                                                         bool keep_alive, std::chrono::milliseconds step);

inline constexpr std::size_t kPiece = 64U << 10;

}  // namespace cloister::http
