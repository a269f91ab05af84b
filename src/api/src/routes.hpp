#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/http/router.hpp"

/// The table of routes: each with what it does, takes and answers, from which router and OpenAPI document both come.
namespace cloister::api {

/// What a route says of itself. Names of schemas are those of `schemas.cpp`.
class Doc {
 public:
  /// `summary`: one sentence without a full stop.
  explicit Doc(std::string_view summary) : summary_{summary} {}

  /// A query parameter; one that no route declares is refused.
  Doc query(std::string_view name, std::string_view schema, std::string_view what) &&;
  /// `limit` and `cursor`, and `next` in the answer.
  Doc paged() &&;
  /// A JSON body, or bytes.
  Doc takes(std::string_view schema) &&;
  Doc takes_bytes() &&;
  /// JSON, something of another media type, or nothing.
  Doc answers(int status, std::string_view schema) &&;
  Doc answers_as(int status, std::string_view media_type) &&;
  Doc answers(int status) &&;
  /// HEAD too is worth a word.
  Doc with_head() &&;
  /// For principals of the server's own tenant alone: what it is about belongs to no tenant.
  Doc of_the_server() &&;

 private:
  friend class Routes;
  struct QueryParameter {
    std::string name;
    std::string schema;
    std::string what;
  };
  struct Answer {
    int status;
    std::string schema;      // of JSON
    std::string media_type;  // empty: no body
  };
  std::string summary_;
  std::vector<QueryParameter> query_;
  std::string body_;  // schema; empty: none, or bytes
  bool body_bytes_ = false;
  bool head_ = false;
  bool of_the_server_ = false;
  std::vector<Answer> answers_;
};

class Routes {
 public:
  Routes& add(http::Method method, std::string pattern, http::AuthPolicy policy, Doc doc, http::Handler handler,
              http::RouteOptions options = {});
  Routes& add_websocket(std::string pattern, http::AuthPolicy policy, http::WebSocketLimits limits, Doc doc,
                        http::WebSocketHandler handler);

  /// The OpenAPI 3.1 document of what was added.
  [[nodiscard]] codec::json::Value document() const;
  [[nodiscard]] http::Router router() && { return std::move(router_); }

 private:
  struct Entry {
    http::Method method;
    std::string pattern;
    http::AuthPolicy policy;
    Doc doc;
    std::size_t max_body;
    bool websocket;
  };
  [[nodiscard]] static codec::json::Value operation(const Entry& entry, std::string_view method);
  http::Router router_;
  std::vector<Entry> entries_;
};

/// "components.schemas" of the document.
[[nodiscard]] codec::json::Value schemas();

}  // namespace cloister::api
