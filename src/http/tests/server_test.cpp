#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "fixture.hpp"

namespace cloister::http::test {
namespace {

struct HttpServer : Running {};

TEST_F(HttpServer, AnswersWithParametersQueryAndRequestId) {
  router.add(Method::get, "/jobs/{id}", kPublic, [](Request request) {
    return say(request.param("id") + ' ' + std::string{*request.query.find("q")} + ' ' + request.remote_address + ' ' +
               request.route + ' ' + request.path);
  });
  serve();
  const auto response = get("/jobs/j%201?q=a+b", "X-Request-Id: my.id-1\r\n");
  EXPECT_EQ(status_of(response), 200);
  EXPECT_EQ(body_of(response), "j 1 a b 127.0.0.1 /jobs/{id} /jobs/j 1");
  EXPECT_EQ(field_of(response, "X-Request-Id"), "my.id-1");
  EXPECT_EQ(field_of(response, "Cache-Control"), "no-store");
  std::tm date{};
  ASSERT_NE(::strptime(std::string{field_of(response, "Date")}.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date), nullptr);
  EXPECT_NEAR(static_cast<double>(::timegm(&date)), static_cast<double>(std::time(nullptr)), 5);
}

TEST_F(HttpServer, MakesARequestIdWhereNoneOrABadOneIsGiven) {
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  EXPECT_TRUE(field_of(get("/"), "X-Request-Id").starts_with("req-"));
  EXPECT_TRUE(field_of(get("/", "X-Request-Id: a b\r\n"), "X-Request-Id").starts_with("req-"));
}

TEST_F(HttpServer, RefusesUnknownPathsAndMethods) {
  router.add(Method::get, "/a", kPublic, [](Request) { return say("x"); });
  serve();
  EXPECT_EQ(code_of(get("/b")), "not_found");
  const auto wrong = exchange("DELETE /a HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(wrong), 405);
  EXPECT_EQ(field_of(wrong, "Allow"), "GET, HEAD");
  EXPECT_EQ(field_of(wrong, "Content-Type"), "application/problem+json");
}

TEST_F(HttpServer, LetsPagesOfAllowedOriginsReadItsAnswers) {
  options.allowed_origins = {"https://pages.example"};
  router.add(Method::get, "/a", kPublic, [](Request) { return say("x"); });
  serve();
  const auto allowed = get("/a", "Origin: https://pages.example\r\n");
  EXPECT_EQ(field_of(allowed, "Access-Control-Allow-Origin"), "https://pages.example");
  EXPECT_EQ(field_of(allowed, "Access-Control-Allow-Credentials"), "");
  EXPECT_EQ(field_of(allowed, "Vary"), "Origin");
  EXPECT_EQ(field_of(get("/none", "Origin: https://pages.example\r\n"), "Access-Control-Allow-Origin"), "https://pages.example");
  for (const auto* other : {"Origin: http://pages.example\r\n", "Origin: https://pages.example:443\r\n",
                            "Origin: https://pages.example.evil\r\n", "Origin: null\r\n", ""}) {
    const auto answer = get("/a", other);
    EXPECT_EQ(field_of(answer, "Access-Control-Allow-Origin"), "") << other;
    EXPECT_EQ(field_of(answer, "Vary"), "Origin") << other;
  }
}

TEST_F(HttpServer, AnswersPreflightsOfAllowedOriginsAlone) {
  options.allowed_origins = {"https://pages.example"};
  router.add(Method::post, "/a", kPublic, [](Request) { return say("x"); });
  serve();
  const std::string ask = "OPTIONS /a HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Method: POST\r\nOrigin: ";
  const auto allowed = exchange(ask + "https://pages.example\r\n\r\n");
  EXPECT_EQ(status_of(allowed), 204);
  EXPECT_EQ(field_of(allowed, "Access-Control-Allow-Origin"), "https://pages.example");
  EXPECT_NE(field_of(allowed, "Access-Control-Allow-Methods").find("POST"), std::string::npos);
  EXPECT_EQ(field_of(allowed, "Access-Control-Allow-Headers"), "Authorization, Content-Type");
  const auto refused = exchange(ask + "https://evil.example\r\n\r\n");
  EXPECT_EQ(status_of(refused), 405);
  EXPECT_EQ(field_of(refused, "Access-Control-Allow-Origin"), "");
}

TEST_F(HttpServer, AsksForAuthenticationUnlessTheRouteIsPublic) {
  std::atomic<int> reached = 0;
  router.add(Method::get, "/admin", require({"admin"}), [&reached](Request request) {
    ++reached;
    return say(request.principal->subject + ' ' + request.principal->tenant);
  });
  serve();
  const auto anonymous = get("/admin");
  EXPECT_EQ(status_of(anonymous), 401);
  EXPECT_EQ(field_of(anonymous, "WWW-Authenticate"), "Bearer");
  for (const auto* field : {"Authorization: Basic YTpi\r\n", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n",
                            "Authorization: Bearer bad\r\n", "Authorization: Bearer good x\r\n"}) {
    EXPECT_EQ(status_of(get("/admin", field)), 401) << field;
  }
  EXPECT_EQ(status_of(get("/admin", "Authorization: Bearer good\r\n")), 403);
  EXPECT_EQ(reached, 0);
  EXPECT_EQ(body_of(get("/admin", "Authorization: bearer admin\r\n")), "admin ten-a");
}

TEST_F(HttpServer, LetsNobodyInWhenTheAuthenticatorFails) {
  RouteOptions quick;
  quick.handler_timeout = milliseconds{20};
  std::atomic<int> reached = 0;
  router.add(Method::get, "/", require({}), [&reached](Request) {
    ++reached;
    return say("x");
  }, quick);
  serve();
  EXPECT_EQ(code_of(get("/", "Authorization: Bearer throw\r\n")), "internal");
  EXPECT_EQ(code_of(get("/", "Authorization: Bearer hang\r\n")), "deadline_exceeded");
  EXPECT_EQ(reached, 0);
}

TEST_F(HttpServer, KnowsNobodyByDefault) {
  router.add(Method::get, "/", require({}), [](Request) { return say("x"); });
  auto made = Server::listen(io, ServerOptions{}, router, logger);
  ASSERT_TRUE(made.ok());
  server = std::move(*made);
  EXPECT_EQ(status_of(get("/", "Authorization: Bearer good\r\n")), 401);
}

TEST_F(HttpServer, AuthenticatesBeforeItReadsTheBody) {
  router.add(Method::post, "/", require({}), echo);
  serve();
  // The body never comes: an answer shows that nobody waited for it.
  EXPECT_EQ(status_of(exchange("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")), 401);
}

TEST_F(HttpServer, AnswersHeadByTheGetRoute) {
  router.add(Method::get, "/", kPublic, [](Request) { return say("0123456789"); });
  serve();
  RawPeer peer{server->port()};
  peer.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto response = peer.read_all();
  EXPECT_EQ(status_of(response), 200);
  EXPECT_EQ(field_of(response, "Content-Length"), "10");
  EXPECT_EQ(body_of(response), "");
}

TEST_F(HttpServer, KeepsConnectionsAndServesPipelinedRequests) {
  router.add(Method::post, "/", kPublic, echo);
  serve();
  RawPeer peer{server->port()};
  const std::string request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab";
  peer.send(request + "1" + request + "2");
  EXPECT_EQ(body_of(peer.read_response()), "ab1");
  EXPECT_EQ(body_of(peer.read_response()), "ab2");
  peer.send(request + "3");
  EXPECT_EQ(body_of(peer.read_response()), "ab3");
}

TEST_F(HttpServer, ClosesWhenAsked) {
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto response = peer.read_all();
  EXPECT_EQ(body_of(response), "x");
  EXPECT_EQ(field_of(response, "Connection"), "close");
}

TEST_F(HttpServer, ReadsChunkedBodiesAndContinues) {
  router.add(Method::post, "/", kPublic, echo);
  serve();
  RawPeer peer{server->port()};
  peer.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(peer.read_response(), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.send("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(body_of(peer.read_response()), "abcde");
}

TEST_F(HttpServer, RefusesMalformedRequests) {
  router.add(Method::post, "/", kPublic, echo);
  serve();
  for (const std::string text : {
           "nonsense\r\n\r\n",
           "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.1\r\n\r\n",                                    // no Host
           "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
           "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /?a=1&a=2 HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
       }) {
    RawPeer peer{server->port()};
    peer.send(text);
    const auto response = peer.read_all();
    EXPECT_EQ(status_of(response), 400) << text << " -> " << response;
    EXPECT_EQ(field_of(response, "Connection"), "close") << text;
  }
}

TEST_F(HttpServer, LimitsHeaderTargetAndBody) {
  options.limits.max_header = 1024;
  options.limits.max_target = 64;
  RouteOptions small;
  small.max_body = 10;
  router.add(Method::post, "/", kPublic, echo, small);
  serve();
  const std::string begin = "POST / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(code_of(exchange(begin + "X: " + std::string(2000, 'a') + "\r\n\r\n")), "header_too_large");
  EXPECT_EQ(code_of(exchange(begin + "X: " + std::string(2000, 'a'))), "header_too_large");  // endless
  EXPECT_EQ(status_of(exchange("GET /" + std::string(100, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n")), 414);
  EXPECT_EQ(body_of(exchange(begin + "Content-Length: 10\r\n\r\n0123456789")), "0123456789");
  EXPECT_EQ(status_of(exchange(begin + "Content-Length: 11\r\n\r\n01234567890")), 413);
  EXPECT_EQ(status_of(exchange(begin + "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n")), 413);
  EXPECT_EQ(status_of(exchange(begin + "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n")), 413);
}

TEST_F(HttpServer, AnswersARefusedUploadThatKeepsComing) {
  RouteOptions small;
  small.max_body = 10;
  router.add(Method::post, "/", kPublic, echo, small);
  serve();
  RawPeer peer{server->port()};
  peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n" + std::string(600000, 'a'));
  EXPECT_EQ(status_of(peer.read_all()), 413);
}

TEST_F(HttpServer, TimesASlowHeaderOut) {
  options.limits.header_timeout = milliseconds{50};
  serve();
  RawPeer silent{server->port()};
  EXPECT_EQ(silent.read_all(), "");
  RawPeer slow{server->port()};
  slow.send("GET / HT");
  EXPECT_EQ(slow.read_all(), "");
}

TEST_F(HttpServer, TimesAnIdleConnectionOut) {
  options.limits.idle_timeout = milliseconds{50};
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(body_of(peer.read_response()), "x");
  EXPECT_EQ(peer.read_all(), "");
}

TEST_F(HttpServer, TimesASlowBodyOut) {
  RouteOptions quick;
  quick.body_timeout = milliseconds{50};
  router.add(Method::post, "/", kPublic, echo, quick);
  serve();
  RawPeer peer{server->port()};
  peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01");
  EXPECT_EQ(peer.read_all(), "");
  runtime::block_on(io, server->stop());
  EXPECT_EQ(metrics, std::vector<std::string>{"/ POST 408"});
}

TEST_F(HttpServer, TimesAPeerThatDoesNotReadOut) {
  options.limits.write_timeout = milliseconds{50};
  router.add(Method::get, "/", kPublic,
             [](Request) -> Task<Response> { co_return bytes_response("x/y", Bytes(64U << 20)); });
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  while (server->connections() == 0) std::this_thread::yield();
  while (server->connections() > 0) std::this_thread::yield();
  EXPECT_LT(peer.read_all().size(), 64U << 20);
}

TEST_F(HttpServer, CancelsASlowHandler) {
  RouteOptions quick;
  quick.handler_timeout = milliseconds{20};
  router.add(Method::get, "/", kPublic,
             [](Request) -> Task<Response> {
               while (true) (void)co_await runtime::sleep_until(SteadyTime::max());
             },
             quick);
  serve();
  EXPECT_EQ(code_of(get("/")), "deadline_exceeded");
}

TEST_F(HttpServer, ContainsWhatAHandlerThrows) {
  router.add(Method::get, "/", kPublic, [](Request) -> Task<Response> {
    (void)co_await runtime::sleep_for(milliseconds{0});
    throw std::runtime_error{"secret detail"};
  });
  router.add(Method::get, "/early", kPublic,
             [](Request) -> Task<Response> { throw std::runtime_error{"secret detail"}; });
  serve();
  for (const auto* path : {"/", "/early"}) {
    const auto response = get(path);
    EXPECT_EQ(status_of(response), 500);
    EXPECT_EQ(code_of(response), "internal");
    EXPECT_EQ(response.find("secret"), std::string::npos);
  }
}

TEST_F(HttpServer, LetsNoHandlerSplitAResponse) {
  router.add(Method::get, "/", kPublic, [](Request) -> Task<Response> {
    auto response = no_content();
    response.headers.set("Location", "/x\r\nSet-Cookie: a=b");
    co_return response;
  });
  serve();
  const auto response = get("/");
  EXPECT_EQ(status_of(response), 500);
  EXPECT_EQ(response.find("Set-Cookie"), std::string::npos);
}

TEST_F(HttpServer, RefusesConnectionsAboveItsCapacity) {
  options.limits.max_connections = 1;
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  RawPeer first{server->port()};
  first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(first.read_response()), 200);
  const auto refused = get("/");
  EXPECT_EQ(status_of(refused), 503);
  EXPECT_EQ(field_of(refused, "Retry-After"), "1");
  EXPECT_EQ(code_of(refused), "overloaded");
  first.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(body_of(first.read_all()), "x");
  while (server->connections() > 0) std::this_thread::yield();
  EXPECT_EQ(status_of(get("/")), 200);
}

TEST_F(HttpServer, RefusesBodiesThatAreEncoded) {
  router.add(Method::post, "/", kPublic, echo);
  serve();
  const std::string begin = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n";
  EXPECT_EQ(code_of(exchange(begin + "Content-Encoding: gzip\r\n\r\na")), "unsupported_media_type");
  EXPECT_EQ(body_of(exchange(begin + "Content-Encoding: Identity\r\n\r\na")), "a");
}

TEST_F(HttpServer, LimitsTheRateOfAToken) {
  options.limits.requests_per_token = 1;
  router.add(Method::get, "/", require({}), [](Request) { return say("x"); });
  router.add(Method::get, "/public", kPublic, [](Request) { return say("x"); });
  serve();
  auto last = get("/", "Authorization: Bearer good\r\n");
  for (int i = 0; i < 20 && status_of(last) != 429; ++i) last = get("/", "Authorization: Bearer good\r\n");
  EXPECT_EQ(status_of(last), 429);
  EXPECT_EQ(field_of(last, "Retry-After"), "1");
  EXPECT_EQ(code_of(last), "rate_limited");
  EXPECT_EQ(status_of(get("/public")), 200);
}

TEST_F(HttpServer, LimitsTheRateOfAGroup) {
  cloister::test::FakeClock clock{UnixTime{}};
  options.clock = &clock;
  options.limits.requests_per_group = 1;
  options.group_of = [](const Request& request) -> std::optional<std::string> {
    if (request.principal) return request.principal->tenant + "/operators";
    const auto named = request.params.find("tenant");
    return named == request.params.end() ? std::nullopt : std::optional{named->second};
  };
  router.add(Method::get, "/", require({}), [](Request) { return say("x"); });
  router.add(Method::post, "/t/{tenant}", kPublic, echo);
  router.add(Method::get, "/public", kPublic, [](Request) { return say("x"); });
  serve();
  const auto post = [this](const std::string& path) {
    return exchange("POST " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\na");
  };
  EXPECT_EQ(status_of(post("/t/acme")), 200);
  EXPECT_EQ(status_of(post("/t/acme")), 200);
  const auto refused = post("/t/acme");
  EXPECT_EQ(status_of(refused), 429);
  EXPECT_EQ(field_of(refused, "Retry-After"), "1");
  EXPECT_EQ(code_of(refused), "rate_limited");
  EXPECT_EQ(status_of(post("/t/other")), 200);
  EXPECT_EQ(status_of(get("/", "Authorization: Bearer good\r\n")), 200);
  EXPECT_EQ(status_of(get("/", "Authorization: Bearer good\r\n")), 200);
  EXPECT_EQ(status_of(get("/", "Authorization: Bearer good\r\n")), 429);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(status_of(get("/public")), 200);
  clock.advance(std::chrono::seconds{1});
  EXPECT_EQ(status_of(post("/t/acme")), 200);
  EXPECT_EQ(status_of(post("/t/acme")), 429);
}

TEST_F(HttpServer, RefusesWorkAboveItsCapacity) {
  options.limits.max_pending = 1;
  runtime::AsyncEvent release;
  std::promise<void> begun;
  router.add(Method::get, "/slow", kPublic, [&](Request) -> Task<Response> {
    begun.set_value();
    (void)co_await release.wait(0, far());
    co_return no_content();
  });
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  RawPeer slow{server->port()};
  slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  begun.get_future().get();
  const auto refused = get("/");
  EXPECT_EQ(status_of(refused), 503);
  EXPECT_EQ(field_of(refused, "Retry-After"), "1");
  EXPECT_EQ(code_of(refused), "overloaded");
  release.notify_all();
  EXPECT_EQ(status_of(slow.read_response()), 204);
  EXPECT_EQ(status_of(get("/")), 200);
}

TEST_F(HttpServer, LimitsTheMemoryOfBodies) {
  options.limits.max_body_memory = 10;
  router.add(Method::post, "/", kPublic, echo);
  serve();
  const auto post = [this](const std::string& body) {
    return exchange("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  const auto refused = post(std::string(11, 'x'));
  EXPECT_EQ(status_of(refused), 503);
  EXPECT_EQ(field_of(refused, "Retry-After"), "1");
  EXPECT_EQ(body_of(post(std::string(10, 'x'))), std::string(10, 'x'));
  // The first body is given back soon after its answer, not before it.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  auto second = post(std::string(10, 'y'));
  while (status_of(second) == 503 && std::chrono::steady_clock::now() < patience) second = post(std::string(10, 'y'));
  EXPECT_EQ(body_of(second), std::string(10, 'y'));
}

TEST_F(HttpServer, ReportsEachRequestByItsPattern) {
  router.add(Method::get, "/jobs/{id}", kPublic, [](Request) { return say("x"); });
  serve();
  (void)get("/jobs/1");
  (void)get("/nothing");
  (void)exchange("nonsense\r\n\r\n");
  runtime::block_on(io, server->stop());
  EXPECT_THAT(metrics, testing::UnorderedElementsAre("/jobs/{id} GET 200", "unmatched GET 404", "unmatched - 400"));
}

/// A context that outlives the server and its options, which hold an executor of it.
struct OtherContext {
  OtherContext() { other.start(); }
  runtime::IoContext other;
};
struct HttpServerElsewhere : OtherContext, Running {};

TEST_F(HttpServerElsewhere, RunsHandlersWhereItIsTold) {
  std::promise<std::thread::id> other_thread;
  runtime::post(other.executor(), [&] { other_thread.set_value(std::this_thread::get_id()); });
  const auto expected = other_thread.get_future().get();
  options.handlers = other.strand();
  router.add(Method::get, "/", kPublic, [expected](Request) -> Task<Response> {
    const auto begin = std::this_thread::get_id();
    (void)co_await runtime::sleep_for(milliseconds{1});
    const bool there = begin == expected && std::this_thread::get_id() == expected;
    co_return bytes_response("text/plain", to_bytes(there ? "there" : "elsewhere"));
  });
  serve();
  EXPECT_EQ(body_of(get("/")), "there");
}

// --- bodies in files, ranges --------------------------------------------------------------------------------------

struct HttpServerFiles : Running {
  cloister::test::TempDir dir;
  std::filesystem::path kept = dir.path() / "kept";

  void serve_blobs(RouteOptions upload = blob_route()) {
    options.upload_directory = dir.path();
    router.add(Method::put, "/blob", kPublic,
               [this](Request request) -> Task<Response> {
                 std::filesystem::rename(request.body_file->path(), kept);
                 co_return no_content();
               },
               upload);
    router.add(Method::get, "/blob", kPublic, [this](Request request) -> Task<Response> {
      FileSlice slice;
      slice.path = kept;
      slice.length = std::filesystem::file_size(kept);
      co_return apply_range(request, file_response("application/octet-stream", std::move(slice)));
    });
    serve();
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{dir.path()}, {}));
  }
};

TEST_F(HttpServerFiles, RoundTripWithRanges) {
  serve_blobs();
  std::string blob(3U << 20, 'a');
  for (std::size_t i = 0; i < blob.size(); ++i) blob[i] = static_cast<char>('a' + i % 23);
  const auto with = client();
  ASSERT_EQ(ask(*with, Method::put, "/blob", blob)->status, 204);
  EXPECT_EQ(as_text(ask(*with, Method::get, "/blob")->body), blob);
  const auto part = ask(*with, Method::get, "/blob", {}, {{"Range", "bytes=1000000-1200000"}});
  EXPECT_EQ(part->status, 206);
  EXPECT_EQ(as_text(part->body), blob.substr(1000000, 200001));
  EXPECT_EQ(part->headers.find("content-range"), "bytes 1000000-1200000/3145728");
  EXPECT_EQ(ask(*with, Method::get, "/blob", {}, {{"Range", "bytes=9000000-"}})->status, 416);
  const auto head = ask(*with, Method::head, "/blob");
  EXPECT_EQ(head->headers.find("content-length"), "3145728");
  EXPECT_TRUE(head->body.empty());
}

TEST_F(HttpServerFiles, UploadThatNobodyKeptIsRemoved) {
  options.upload_directory = dir.path();
  router.add(Method::put, "/blob", kPublic,
             [](Request request) { return say(std::to_string(request.body_file->size())); }, blob_route());
  serve();
  const auto with = client();
  EXPECT_EQ(as_text(ask(*with, Method::put, "/blob", "12345")->body), "5");
  runtime::block_on(io, server->stop());
  EXPECT_EQ(files(), 0U);
}

TEST_F(HttpServerFiles, BrokenAndOversizeUploadsAreRemoved) {
  auto small = blob_route();
  small.max_body = 100000;
  serve_blobs(small);
  {
    RawPeer peer{server->port()};
    peer.send("PUT /blob HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
    while (files() == 0) std::this_thread::yield();
  }
  while (server->connections() > 0) std::this_thread::yield();
  EXPECT_EQ(files(), 0U);
  const auto chunked = "PUT /blob HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" +
                       std::string(100001, 'a') + "\r\n0\r\n\r\n";
  EXPECT_EQ(status_of(exchange(chunked)), 413);
  while (server->connections() > 0) std::this_thread::yield();
  EXPECT_EQ(files(), 0U);
}

TEST_F(HttpServerFiles, FileThatIsShorterThanItSaysBreaksTheConnectionOff) {
  std::ofstream{kept} << "abc";
  router.add(Method::get, "/", kPublic, [this](Request) -> Task<Response> {
    FileSlice slice;
    slice.path = kept;
    slice.length = 10;
    co_return file_response("x/y", std::move(slice));
  });
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_LT(body_of(peer.read_all()).size(), 10U);
}

// --- listening, stopping ------------------------------------------------------------------------------------------

TEST_F(HttpServer, RefusesToListenBeyondLoopbackWithoutTls) {
  for (const auto* address : {"0.0.0.0", "::", "192.0.2.1"}) {
    ServerOptions wanted;
    wanted.address = address;
    const auto made = Server::listen(io, std::move(wanted), Router{}, logger);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code(), Errc::configuration_invalid) << address;
  }
}

TEST_F(HttpServer, RefusesBadAddressesAndTakenPorts) {
  ServerOptions bad;
  bad.address = "localhost";
  EXPECT_EQ(Server::listen(io, bad, Router{}, logger).error().code(), Errc::configuration_invalid);
  serve();
  ServerOptions taken;
  taken.port = server->port();
  EXPECT_EQ(Server::listen(io, taken, Router{}, logger).error().code(), Errc::io_error);
}

TEST_F(HttpServer, StopClosesIdleConnectionsAtOnce) {
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  RawPeer silent{server->port()};
  RawPeer kept{server->port()};
  kept.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(body_of(kept.read_response()), "x");
  const auto begin = std::chrono::steady_clock::now();
  runtime::block_on(io, server->stop(kLong));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kLong);
  EXPECT_EQ(kept.read_all(), "");
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(HttpServer, StopLetsARequestEnd) {
  runtime::AsyncEvent gate;
  Counter entered;
  router.add(Method::get, "/", kPublic, [&entered, &gate](Request request) -> Task<Response> {
    entered.add();
    (void)co_await gate.wait(0, request.deadline);
    co_return bytes_response("text/plain", to_bytes("done"));
  });
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(entered.wait_for(1));
  auto stopped = std::async(std::launch::async, [&] { runtime::block_on(io, server->stop(kLong)); });
  gate.notify_all();
  const auto response = peer.read_all();
  EXPECT_EQ(body_of(response), "done");
  stopped.get();
}

TEST_F(HttpServer, StopCancelsWhatDoesNotEnd) {
  Counter entered;
  router.add(Method::get, "/", kPublic, [&entered](Request) -> Task<Response> {
    entered.add();
    while (true) (void)co_await runtime::sleep_until(SteadyTime::max());
  });
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(entered.wait_for(1));
  runtime::block_on(io, server->stop(milliseconds{20}));
  EXPECT_EQ(peer.read_all(), "");
  EXPECT_EQ(server->connections(), 0U);
}

}  // namespace
}  // namespace cloister::http::test
