#include <gtest/gtest.h>

#include "cloister/http/message.hpp"
#include "cloister/http/router.hpp"
#include "cloister/http/target.hpp"
#include "origin.hpp"
#include "routes.hpp"

namespace cloister::http {
namespace {

using Strings = std::vector<std::string>;

TEST(ParseTarget, SplitsAndDecodes) {
  const auto target = parse_target("/a/b%20c/%C3%A9?x=1&y=a+b%2B");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->segments, (Strings{"a", "b c", "\xC3\xA9"}));
  EXPECT_EQ(target->query.find("x"), "1");
  EXPECT_EQ(target->query.find("y"), "a b+");
  EXPECT_EQ(target->query.find("z"), std::nullopt);
}

TEST(ParseTarget, KeepsEmptySegments) {
  EXPECT_EQ(parse_target("/")->segments, Strings{""});
  EXPECT_EQ(parse_target("/a/")->segments, (Strings{"a", ""}));
  EXPECT_EQ(parse_target("//a")->segments, (Strings{"", "a"}));
}

TEST(ParseTarget, LeavesPlusInAPathAlone) { EXPECT_EQ(parse_target("/a+b")->segments, Strings{"a+b"}); }

TEST(ParseTarget, RefusesWhatCouldClimbOrHide) {
  for (const auto* text : {"", "a", "*", "http://x/", "/..", "/a/../b", "/a/%2e%2e", "/.", "/a%2Fb", "/a%5cb", "/a\\b",
                           "/%00", "/%0a", "/a\tb", "/%7f", "/%", "/%4", "/%zz", "/%ff", "/%C0%AF"}) {
    const auto target = parse_target(text);
    ASSERT_FALSE(target.ok()) << text;
    EXPECT_EQ(target.error().code(), Errc::malformed) << text;
  }
}

TEST(Query, RefusesRepeatedNames) {
  EXPECT_EQ(Query::parse("a=1&b=2&%61=3").error().code(), Errc::malformed);
}

TEST(Query, AllowsMissingValuesAndEmptyParts) {
  const auto query = Query::parse("a&b=&&c=d=e");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->all().size(), 3U);
  EXPECT_EQ(query->find("a"), "");
  EXPECT_EQ(query->find("c"), "d=e");
}

TEST(PercentEncode, IsUndoneByTheParser) {
  const std::string text = "a/b c?%&=+\xC3\xA9~";
  const auto query = Query::parse("v=" + percent_encode(text));
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->find("v"), text);
}

struct RangeCase {
  const char* field;
  std::uint64_t size;
  RangeKind kind;
  std::uint64_t offset;
  std::uint64_t length;
};

// The examples of RFC 9110 section 14.1.2, and the edges.
constexpr RangeCase kRanges[] = {
    {"bytes=0-499", 10000, RangeKind::satisfiable, 0, 500},
    {"bytes=500-999", 10000, RangeKind::satisfiable, 500, 500},
    {"bytes=-500", 10000, RangeKind::satisfiable, 9500, 500},
    {"bytes=9500-", 10000, RangeKind::satisfiable, 9500, 500},
    {"bytes=0-", 1, RangeKind::satisfiable, 0, 1},
    {"bytes=9999-99999", 10000, RangeKind::satisfiable, 9999, 1},
    {"bytes=-20000", 10000, RangeKind::satisfiable, 0, 10000},
    {"bytes=0-18446744073709551615", 10, RangeKind::satisfiable, 0, 10},
    {"bytes=10000-", 10000, RangeKind::unsatisfiable, 0, 0},
    {"bytes=-0", 10000, RangeKind::unsatisfiable, 0, 0},
    {"bytes=0-", 0, RangeKind::unsatisfiable, 0, 0},
    {"bytes=-5", 0, RangeKind::unsatisfiable, 0, 0},
    {"bytes=5-4", 10, RangeKind::none, 0, 0},
    {"bytes=0-1,3-4", 10, RangeKind::none, 0, 0},
    {"bytes=-", 10, RangeKind::none, 0, 0},
    {"bytes=", 10, RangeKind::none, 0, 0},
    {"bytes", 10, RangeKind::none, 0, 0},
    {"bytes=5", 10, RangeKind::none, 0, 0},
    {"bytes=a-b", 10, RangeKind::none, 0, 0},
    {"bytes=1-2-3", 10, RangeKind::none, 0, 0},
    {"bytes=+1-2", 10, RangeKind::none, 0, 0},
    {"bytes=18446744073709551616-", 10, RangeKind::none, 0, 0},
    {"lines=0-1", 10, RangeKind::none, 0, 0},
};

TEST(DecideRange, FollowsRfc9110) {
  for (const auto& c : kRanges) {
    const auto decision = decide_range(c.field, c.size);
    EXPECT_EQ(decision.kind, c.kind) << c.field;
    if (c.kind != RangeKind::satisfiable) continue;
    EXPECT_EQ(decision.range.offset, c.offset) << c.field;
    EXPECT_EQ(decision.range.length, c.length) << c.field;
  }
}

TEST(ParseOrigin, TakesHostAndPort) {
  const auto plain = parse_origin("http://127.0.0.1:8080/");
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->host, "127.0.0.1");
  EXPECT_EQ(plain->port, 8080);
  EXPECT_EQ(plain->authority, "127.0.0.1:8080");
  const auto six = parse_origin("https://[::1]");
  ASSERT_TRUE(six.ok());
  EXPECT_TRUE(six->tls);
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->port, 443);
  EXPECT_TRUE(parse_origin("wss://a.example:1")->tls);
}

TEST(ParseOrigin, RefusesAnythingElse) {
  for (const auto* text : {"", "a:80", "ftp://a", "http://", "http://:80", "http://a:0", "http://a:65536", "http://a:x",
                           "http://a:", "http://a/b", "http://u@a", "http://a b", "http://[::1", "http://[::1]x",
                           "http://a\r\nX: y"}) {
    EXPECT_FALSE(parse_origin(text).ok()) << text;
  }
}

// --- Router, AuthPolicy -----------------------------------------------------------------------------------------

Handler nothing() {
  return [](Request) -> runtime::Task<Response> { co_return no_content(); };
}

Router::Match find(const Router& router, std::string_view method, std::string_view path) {
  return router.match(method, parse_target(path)->segments);
}

TEST(Router, BindsParameters) {
  Router router;
  router.add(Method::get, "/jobs/{id}/attempts/{attempt}", kPublic, nothing());
  const auto match = find(router, "GET", "/jobs/j1/attempts/a%202");
  ASSERT_TRUE(match.route);
  EXPECT_EQ(match.params.at("id"), "j1");
  EXPECT_EQ(match.params.at("attempt"), "a 2");
  EXPECT_FALSE(find(router, "GET", "/jobs//attempts/a").route);
  EXPECT_FALSE(find(router, "GET", "/jobs/j1/attempts").route);
  EXPECT_FALSE(find(router, "GET", "/jobs/j1/attempts/a/").route);
}

TEST(Router, PrefersLiteralsThenParametersThenRests) {
  Router router;
  router.add(Method::get, "/{rest...}", kPublic, nothing());
  router.add(Method::get, "/a/{x}", kPublic, nothing());
  router.add(Method::get, "/a/b", kPublic, nothing());
  EXPECT_EQ(find(router, "GET", "/a/b").route->pattern, "/a/b");
  EXPECT_EQ(find(router, "GET", "/a/c").route->pattern, "/a/{x}");
  EXPECT_EQ(find(router, "GET", "/a/c/d").params.at("rest"), "a/c/d");
  EXPECT_EQ(find(router, "GET", "/").params.at("rest"), "");
}

TEST(Router, ARestFollowsWhatStandsBeforeIt) {
  Router router;
  router.add(Method::get, "/a/{x}/{rest...}", kPublic, nothing());
  EXPECT_FALSE(find(router, "GET", "/a/b").route);
  EXPECT_EQ(find(router, "GET", "/a/b/").params.at("rest"), "");
  EXPECT_EQ(find(router, "GET", "/a/b/c/d/e").params.at("rest"), "c/d/e");
  EXPECT_FALSE(find(router, "GET", "/b/b/c/d/e").route);
  EXPECT_FALSE(find(router, "GET", "/a//c").route);
}

TEST(Router, SaysWhichMethodsAPathHas) {
  Router router;
  router.add(Method::get, "/a", kPublic, nothing()).add(Method::del, "/a", kPublic, nothing());
  const auto wrong = find(router, "POST", "/a");
  EXPECT_EQ(wrong.error->code(), Errc::method_not_allowed);
  EXPECT_EQ(wrong.allow, "DELETE, GET, HEAD");
  EXPECT_EQ(find(router, "BREW", "/a").error->code(), Errc::method_not_allowed);
  EXPECT_EQ(find(router, "GET", "/b").error->code(), Errc::not_found);
  EXPECT_TRUE(find(router, "HEAD", "/a").route);
}

TEST(Router, DescribesItsRoutes) {
  Router router;
  router.add(Method::put, "/a/{x}", require({"admin"}), nothing());
  router.add_websocket("/ws", kPublic, {},
                       [](Request, std::shared_ptr<WebSocket>) -> runtime::Task<void> { co_return; });
  EXPECT_EQ(router.describe(), (Strings{"PUT /a/{x}", "WEBSOCKET /ws"}));
}

TEST(RouterDeathTest, RefusesTheSamePatternTwice) {
  Router router;
  router.add(Method::get, "/a/{x}", kPublic, nothing());
  EXPECT_DEATH(router.add(Method::get, "/a/{y}", kPublic, nothing()), "invariant");
}

TEST(AuthPolicy, WantsOneOfTheRoles) {
  Principal reader;
  reader.roles = {"reader"};
  EXPECT_TRUE(require({"admin", "reader"}).allows(reader).ok());
  EXPECT_TRUE(require({}).allows(reader).ok());
  EXPECT_EQ(require({"admin"}).allows(reader).error().code(), Errc::permission_denied);
  EXPECT_FALSE(require({}).is_public());
  EXPECT_TRUE(kPublic.is_public());
}

// --- messages ---------------------------------------------------------------------------------------------------

TEST(Headers, CompareNamesWithoutCase) {
  Headers headers{{"Content-Type", "a"}, {"X", "1"}, {"x", "2"}};
  EXPECT_EQ(headers.find("content-type"), "a");
  headers.set("X", "3");
  EXPECT_EQ(headers.all().size(), 2U);
  EXPECT_EQ(headers.find("x"), "3");
}

TEST(Problem, CarriesCodeAndRequestId) {
  const auto response = problem(Error{Errc::not_found, "no such job"}, "r-1");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.headers.find("Content-Type"), "application/problem+json");
  const auto document = codec::json::parse(as_text(response.body));
  ASSERT_TRUE(document.ok());
  EXPECT_EQ(*document->find("type")->as_string(), "urn:cloister:problem:not_found");
  EXPECT_EQ(*document->find("title")->as_string(), "Not found");
  EXPECT_EQ(document->find("status")->as_int(), 404);
  EXPECT_EQ(*document->find("detail")->as_string(), "no such job");
  EXPECT_EQ(*document->find("code")->as_string(), "not_found");
  EXPECT_EQ(*document->find("request_id")->as_string(), "r-1");
}

TEST(Problem, KeepsTheDetailOfOurFaultsBack) {
  const auto response = problem(Error{Errc::io_error, "/secret/path"}, "r-1");
  EXPECT_EQ(as_text(response.body).find("secret"), std::string_view::npos);
  EXPECT_EQ(response.cause->detail(), "/secret/path");
}

TEST(Problem, SaysHowToGoOn) {
  EXPECT_EQ(problem(Error{Errc::unauthenticated}, "r").headers.find("WWW-Authenticate"), "Bearer");
  EXPECT_EQ(problem(Error{Errc::overloaded}, "r").headers.find("Retry-After"), "1");
}

TEST(JsonBody, WantsAJsonType) {
  Request request;
  request.body = crypto::cleansed_copy(as_bytes("{}"));
  EXPECT_EQ(json_body(request).error().code(), Errc::unsupported_media_type);
  request.headers.set("Content-Type", "text/plain");
  EXPECT_EQ(json_body(request).error().code(), Errc::unsupported_media_type);
  for (const auto* type : {"application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"}) {
    request.headers.set("Content-Type", type);
    EXPECT_TRUE(json_body(request).ok()) << type;
  }
  for (const auto* type : {"application/json; charset=utf-16", "application/json;a=b; Charset=\"latin1\""}) {
    request.headers.set("Content-Type", type);
    EXPECT_EQ(json_body(request).error().code(), Errc::unsupported_media_type) << type;
  }
  request.headers.set("Content-Type", "application/json; charset=\"UTF-8\"");
  EXPECT_TRUE(json_body(request).ok());
  request.body = crypto::cleansed_copy(as_bytes("{"));
  EXPECT_FALSE(json_body(request).ok());
}

Response whole() {
  auto out = bytes_response("text/plain", to_bytes("0123456789"));
  out.headers.set("ETag", "\"v1\"");
  return out;
}

TEST(ApplyRange, CutsBodiesAndFiles) {
  Request request;
  request.headers.set("Range", "bytes=2-4");
  const auto part = apply_range(request, whole());
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(as_text(part.body), "234");
  EXPECT_EQ(part.headers.find("Content-Range"), "bytes 2-4/10");
  const auto file = apply_range(request, file_response("x/y", FileSlice{"/f", 100, 10}));
  EXPECT_EQ(file.file->offset, 102U);
  EXPECT_EQ(file.file->length, 3U);
}

TEST(ApplyRange, LeavesOtherRequestsWhole) {
  Request request;
  EXPECT_EQ(apply_range(request, whole()).status, 200);
  EXPECT_EQ(apply_range(request, whole()).headers.find("Accept-Ranges"), "bytes");
  request.headers.set("Range", "bytes=0-1");
  request.method = Method::head;
  EXPECT_EQ(apply_range(request, whole()).status, 200);
  EXPECT_EQ(apply_range(request, problem(Error{Errc::not_found}, "r")).status, 404);
}

TEST(ApplyRange, HonoursIfRange) {
  Request request;
  request.headers.set("Range", "bytes=0-1");
  request.headers.set("If-Range", "\"v0\"");
  EXPECT_EQ(apply_range(request, whole()).status, 200);
  request.headers.set("If-Range", "\"v1\"");
  EXPECT_EQ(apply_range(request, whole()).status, 206);
}

TEST(ApplyRange, RefusesWhatIsOutside) {
  Request request;
  request.headers.set("Range", "bytes=10-");
  const auto refused = apply_range(request, whole());
  EXPECT_EQ(refused.status, 416);
  EXPECT_EQ(refused.headers.find("Content-Range"), "bytes */10");
}

}  // namespace
}  // namespace cloister::http
