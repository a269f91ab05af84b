#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/cleansed.hpp"
#include "cloister/http/target.hpp"

/// HTTP/1.1 (RFC 9110, RFC 9112): what requests and responses are, on both sides.
namespace cloister::http {

enum class Method { get, head, post, put, patch, del, options };
/// "GET", "DELETE", …
[[nodiscard]] std::string_view to_string(Method method) noexcept;

/// Header fields in order; names compare without case.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;
  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_{fields} {}

  void add(std::string name, std::string value);
  /// Replaces every field of that name.
  void set(std::string name, std::string value);
  /// The first value of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
  [[nodiscard]] const std::vector<Field>& all() const noexcept { return fields_; }

 private:
  std::vector<Field> fields_;
};

/// Whom the authenticator found behind a bearer token.
struct Principal {
  std::string subject;
  std::string tenant;
  std::vector<std::string> roles;
  std::string token_id;

  [[nodiscard]] bool has_role(std::string_view role) const noexcept;
};

/// A request body that was written to a file as it came; the file goes away with the last reference.
class BodyFile {
 public:
  /// Takes over the file at `path`.
  BodyFile(std::filesystem::path path, std::uint64_t size) : path_{std::move(path)}, size_{size} {}
  ~BodyFile();
  BodyFile(const BodyFile&) = delete;
  BodyFile& operator=(const BodyFile&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  std::filesystem::path path_;
  std::uint64_t size_;
};

/// What a handler gets. Header, target and body are within the limits of the server and of the route.
struct Request {
  Method method = Method::get;
  std::string path;                                         // decoded, for logs; handlers use `params`
  std::map<std::string, std::string, std::less<>> params;   // decoded path parameters, never empty except a tail
  Query query;
  Headers headers;
  crypto::CleansedBytes body;                               // empty where the route wants a file
  std::shared_ptr<const BodyFile> body_file;                // only where the route wants a file
  std::optional<Principal> principal;                       // always there unless the route is kPublic
  std::string remote_address;                               // of the TCP peer, without port
  std::string request_id;
  std::string route;                                        // the pattern that matched
  Deadline deadline{SteadyTime{}};                          // when the response must be there

  /// The path parameter of that name, which the route's pattern must have (asserted).
  [[nodiscard]] const std::string& param(std::string_view name) const;
};

/// A part of a file, sent as it is read.
struct FileSlice {
  std::filesystem::path path;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct Response {
  int status = 200;
  Headers headers;
  Bytes body;
  std::optional<FileSlice> file;  // instead of `body`
  /// Why this is a failure: logged by the server beside the request id, never sent.
  std::optional<Error> cause;
};

[[nodiscard]] Response json_response(const codec::json::Value& value, int status = 200);
[[nodiscard]] Response bytes_response(std::string content_type, Bytes body, int status = 200);
[[nodiscard]] Response file_response(std::string content_type, FileSlice file);
[[nodiscard]] Response no_content();

/// RFC 9457: application/problem+json with `type`, `title`, `status`, `detail`, `code` and `request_id`. The detail of
/// a fault of ours (500) stays in the log. 401 carries `WWW-Authenticate: Bearer`, 503 `Retry-After`.
[[nodiscard]] Response problem(const Error& error, std::string_view request_id);

/// The body as JSON: `unsupported_media_type` unless the content type is application/json or ends in "+json";
/// else what `json::parse` refuses.
[[nodiscard]] Result<codec::json::Value> json_body(const Request& request, const codec::json::Limits& limits = {});

/// Makes a complete 200 response of a GET or HEAD the answer to the request's Range header (RFC 9110 section 14):
/// 206 for one satisfiable range (under If-Range: of the same ETag), 416 for one that is not, otherwise the response with `Accept-Ranges: bytes` added.
/// Several ranges are answered with the whole, as section 14.2 allows.
[[nodiscard]] Response apply_range(const Request& request, Response whole);

}  // namespace cloister::http
