#include <future>
#include <thread>

#include "fixture.hpp"
#include "support/openssl_server.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::http::test {
namespace {

/// Answers each connection with fixed bytes once something came, for what our own server never says.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : fd_{::socket(AF_INET, SOCK_STREAM, 0)} {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread{[this, answers = std::move(answers)] {
      for (const auto& answer : answers) serve(answer);
    }};
  }
  ~CannedServer() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  [[nodiscard]] std::string base_url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  void serve(const std::string& answer) const {
    const int peer = ::accept(fd_, nullptr, nullptr);
    if (peer < 0) return;
    char sink[4096];
    if (::recv(peer, sink, sizeof sink, 0) > 0) (void)!::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
    ::close(peer);
  }
  int fd_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

struct HttpClient : Running {
  [[nodiscard]] Result<ClientResponse> ask_canned(const std::string& answer, Method method = Method::get) {
    const CannedServer canned{{answer}};
    ClientOptions wanted;
    wanted.base_url = canned.base_url();
    const auto with = client(std::move(wanted));
    return ask(*with, method, "/");
  }
};

TEST_F(HttpClient, SendsMethodTargetHeadersAndBody) {
  router.add(Method::patch, "/a/{x}", kPublic, [](Request request) {
    return say(std::string{*request.headers.find("x-one")} + ' ' + request.param("x") + ' ' +
               std::string{as_text(request.body)} + ' ' + std::string{*request.headers.find("host")});
  });
  serve();
  const auto with = client();
  const auto response = ask(*with, Method::patch, "/a/b%20c", "body", {{"X-One", "1"}});
  ASSERT_TRUE(response.ok()) << response.error().text();
  EXPECT_EQ(as_text(response->body), "1 b c body 127.0.0.1:" + std::to_string(server->port()));
}

TEST_F(HttpClient, UsesItsConnectionAgain) {
  router.add(Method::get, "/", kPublic, [](Request) { return say("x"); });
  serve();
  const auto with = client();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(ask(*with, Method::get, "/")->status, 200);
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(HttpClient, KeepsNoMoreConnectionsThanToldTo) {
  Counter entered;
  runtime::AsyncEvent gate;
  router.add(Method::get, "/", kPublic, [&](Request request) -> Task<Response> {
    entered.add();
    (void)co_await gate.wait(0, request.deadline);
    co_return no_content();
  });
  serve();
  ClientOptions wanted;
  wanted.max_idle_connections = 1;
  const auto with = client(wanted);
  auto first = std::async(std::launch::async, [&] { return ask(*with, Method::get, "/")->status; });
  auto second = std::async(std::launch::async, [&] { return ask(*with, Method::get, "/")->status; });
  ASSERT_TRUE(entered.wait_for(2));
  EXPECT_EQ(server->connections(), 2U);
  gate.notify_all();
  EXPECT_EQ(first.get(), 204);
  EXPECT_EQ(second.get(), 204);
  while (server->connections() != 1) std::this_thread::yield();
}

TEST_F(HttpClient, NoticesThatAKeptConnectionWasClosed) {
  router.add(Method::post, "/", kPublic, echo);
  options.limits.idle_timeout = milliseconds{20};
  serve();
  const auto with = client();
  ASSERT_EQ(ask(*with, Method::post, "/", "1")->status, 200);
  while (server->connections() > 0) std::this_thread::yield();
  EXPECT_EQ(as_text(ask(*with, Method::post, "/", "2")->body), "2");
}

TEST_F(HttpClient, RepeatsAnIdempotentRequestOnAKeptConnectionOnly) {
  const std::string kept = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
  // A fresh connection that ends without an answer is an error, whatever the method.
  EXPECT_EQ(ask_canned("").error().code(), Errc::peer_closed);
  const CannedServer canned{{kept, kept}};
  ClientOptions wanted;
  wanted.base_url = canned.base_url();
  const auto with = client(std::move(wanted));
  EXPECT_EQ(ask(*with, Method::get, "/")->status, 200);
  EXPECT_EQ(ask(*with, Method::get, "/")->status, 200);
}

TEST_F(HttpClient, GivesUpAtTheDeadline) {
  router.add(Method::get, "/", kPublic, [](Request) -> Task<Response> {
    while (true) (void)co_await runtime::sleep_until(SteadyTime::max());
  });
  serve();
  const auto with = client();
  const auto late = runtime::block_on(io, with->request(Method::get, "/", {}, {}, soon()));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), Errc::deadline_exceeded);
}

TEST_F(HttpClient, LimitsTheResponse) {
  router.add(Method::get, "/", kPublic, [](Request) { return say(std::string(1001, 'a')); });
  serve();
  const auto with = client();
  EXPECT_EQ(runtime::block_on(io, with->request(Method::get, "/", {}, {}, far(), 1000)).error().code(),
            Errc::limit_exceeded);
  EXPECT_TRUE(runtime::block_on(io, with->request(Method::get, "/", {}, {}, far(), 1001)).ok());
  const auto chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'a') +
                      "\r\n0\r\n\r\n";
  const CannedServer canned{{chunks}};
  ClientOptions wanted;
  wanted.base_url = canned.base_url();
  const auto other = client(std::move(wanted));
  EXPECT_EQ(runtime::block_on(io, other->request(Method::get, "/", {}, {}, far(), 1000)).error().code(),
            Errc::limit_exceeded);
}

TEST_F(HttpClient, ReadsChunksInterimAnswersAndBodiesThatEndWithTheConnection) {
  EXPECT_EQ(as_text(ask_canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")->body),
            "abc");
  EXPECT_EQ(as_text(ask_canned("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                               "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")->body),
            "ab");
  EXPECT_EQ(as_text(ask_canned("HTTP/1.0 200 OK\r\n\r\nto the end")->body), "to the end");
  EXPECT_EQ(ask_canned("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::head)->status, 200);
}

TEST_F(HttpClient, RefusesWhatIsNoAnswer) {
  EXPECT_EQ(ask_canned("SSH-2.0-x\r\n").error().code(), Errc::malformed);
  EXPECT_EQ(ask_canned("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").error().code(), Errc::peer_closed);
  EXPECT_EQ(ask_canned("HTTP/1.1 200 OK\r\nX: " + std::string(70000, 'a') + "\r\n\r\n").error().code(),
            Errc::limit_exceeded);
  EXPECT_EQ(ask_canned("HTTP/1.1 101 Switching Protocols\r\n\r\n").error().code(), Errc::malformed);
}

TEST_F(HttpClient, FollowsNoRedirect) {
  const auto response = ask_canned("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 302);
  EXPECT_EQ(expect_success(*response).error().code(), Errc::internal);
}

TEST_F(HttpClient, SaysWhenNobodyListens) {
  serve();
  const auto url = server->base_url();
  runtime::block_on(io, server->stop());
  ClientOptions wanted;
  wanted.base_url = url;
  const auto with = client(std::move(wanted));
  EXPECT_EQ(ask(*with, Method::get, "/").error().code(), Errc::unavailable);
}

TEST_F(HttpClient, RefusesTargetsAndFieldsThatCouldSplitARequest) {
  serve();
  const auto with = client();
  for (const auto* target : {"", "x", "/a b", "/a\r\nX: y", "/a#b", "/\xC3\xA9"}) {
    EXPECT_EQ(ask(*with, Method::get, target).error().code(), Errc::invalid_argument) << target;
  }
  EXPECT_EQ(ask(*with, Method::get, "/", {}, {{"X", "a\r\nY: b"}}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(ask(*with, Method::get, "/", {}, {{"X:", "a"}}).error().code(), Errc::invalid_argument);
}

TEST_F(HttpClient, DecodesProblems) {
  router.add(Method::get, "/", kPublic, [](Request request) -> Task<Response> {
    co_return problem(Error{Errc::stale_fence, "fence 3 expected"}, request.request_id);
  });
  serve();
  const auto with = client();
  const auto answer = runtime::block_on(io, with->call(Method::get, "/", {}, far()));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), Errc::stale_fence);
  EXPECT_EQ(answer.error().detail(), "fence 3 expected");
}

ClientResponse answer_of(int status, std::string type, std::string body) {
  ClientResponse out;
  out.status = status;
  out.headers.set("Content-Type", std::move(type));
  out.body = to_bytes(body);
  return out;
}

TEST(ResponseError, FallsBackToTheStatus) {
  const auto unknown = response_error(answer_of(409, "application/problem+json", R"({"code":"newer","detail":"d"})"));
  EXPECT_EQ(unknown.code(), Errc::conflict);
  EXPECT_EQ(unknown.detail(), "newer: d");
  EXPECT_EQ(response_error(answer_of(404, "text/html", "<html>")).code(), Errc::not_found);
  EXPECT_EQ(response_error(answer_of(418, "text/html", "")).code(), Errc::invalid_argument);
  EXPECT_EQ(response_error(answer_of(500, "application/json", "{")).code(), Errc::internal);
  EXPECT_EQ(response_error(answer_of(503, "application/json", "{}")).code(), Errc::unavailable);
}

TEST_F(HttpClient, CallsInJson) {
  router.add(Method::post, "/", require({"reader"}), [](Request request) -> Task<Response> {
    auto document = json_body(request);
    if (!document) co_return problem(document.error(), request.request_id);
    document->set("by", request.principal->subject);
    co_return json_response(*document, 201);
  });
  router.add(Method::del, "/", kPublic, [](Request) -> Task<Response> { co_return no_content(); });
  serve();
  ClientOptions wanted;
  wanted.base_url = server->base_url();
  wanted.bearer = "good";
  auto made = BlockingClient::make(std::move(wanted));
  ASSERT_TRUE(made.ok());
  auto& with = **made;
  codec::json::Value body{codec::json::Object{}};
  body.set("n", 1);
  const auto answer = with.call(Method::post, "/", body, kLong);
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_EQ(*answer->find("by")->as_string(), "good");
  EXPECT_TRUE(with.call(Method::del, "/", {}, kLong)->is_null());
  EXPECT_EQ(with.request(Method::get, "/nothing", {}, {}, kLong)->status, 404);
}

TEST_F(HttpClient, ServesManyRequestsAtOnce) {
  router.add(Method::post, "/", kPublic, echo);
  serve();
  const auto with = client();
  runtime::TaskGroup group{io.strand(), logger, "test"};
  std::atomic<int> good = 0;
  auto one = [&](int number) -> Task<void> {
    for (int i = 0; i < 10; ++i) {
      const auto text = std::to_string(number * 100 + i);
      Headers none;
      auto response = co_await with->request(Method::post, "/", std::move(none), to_bytes(text), far());
      if (response && as_text(response->body) == text) ++good;
    }
  };
  for (int i = 0; i < 20; ++i) group.spawn_on(io.strand(), "request", one(i));
  ASSERT_TRUE(runtime::block_on(io, group.wait_until_empty(far())).ok());
  EXPECT_EQ(good, 200);
}

TEST_F(HttpClient, SendsNoTokenInTheClear) {
  ClientOptions wanted;
  wanted.base_url = "http://example.org";
  wanted.bearer = "good";
  EXPECT_EQ(Client::make(io, wanted).error().code(), Errc::invalid_argument);
  wanted.base_url = "http://localhost:1";
  EXPECT_TRUE(Client::make(io, wanted).ok());
  wanted.base_url = "https://example.org";
  EXPECT_TRUE(Client::make(io, wanted).ok());
}

// --- TLS --------------------------------------------------------------------------------------------------------

struct HttpTls : Running {
  void SetUp() override {
    router.add(Method::get, "/", kPublic, [](Request) { return say(std::string(200000, 't')); });
    router.add_websocket("/ws", kPublic, {}, [](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
      (void)co_await socket->send_text("over tls");
      (void)co_await socket->receive();
    });
    options.tls = certificate.files;
  }
  [[nodiscard]] ClientOptions with_ca(const std::string& pem) const {
    ClientOptions wanted;
    wanted.base_url = server->base_url();
    wanted.tls.ca_pem = pem;
    return wanted;
  }
  [[nodiscard]] Result<ClientResponse> get_with(ClientOptions wanted) {
    const auto with = client(std::move(wanted));
    return ask(*with, Method::get, "/");
  }
  TestCertificate certificate;
};

TEST_F(HttpTls, RoundTripWithKeepAlive) {
  serve();
  EXPECT_TRUE(server->base_url().starts_with("https://"));
  const auto with = client(with_ca(certificate.pem()));
  for (int i = 0; i < 3; ++i) {
    const auto response = ask(*with, Method::get, "/");
    ASSERT_TRUE(response.ok()) << response.error().text();
    EXPECT_EQ(response->body.size(), 200000U);
  }
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(HttpTls, AnswersARefusedUploadThatKeepsComing) {
  RouteOptions small;
  small.max_body = 10;
  router.add(Method::post, "/", kPublic, [](Request) { return say("never"); }, small);
  serve();
  const auto with = client(with_ca(certificate.pem()));
  const auto response = ask(*with, Method::post, "/", std::string(600000, 'a'));
  ASSERT_TRUE(response.ok()) << response.error().text();
  EXPECT_EQ(response->status, 413);
}

TEST_F(HttpTls, WebSocketRoundTrip) {
  serve();
  auto socket = runtime::block_on(
      io, WebSocketClient::connect(io, with_ca(certificate.pem()), "/ws", {}, {}, far()));
  ASSERT_TRUE(socket.ok()) << socket.error().text();
  const auto message = runtime::block_on(io, runtime::with_deadline(far(), (*socket)->receive()));
  ASSERT_TRUE(message.ok()) << message.error().text();
  EXPECT_EQ(as_text(message->data), "over tls");
  runtime::block_on(io, (*socket)->close(CloseCode::normal, ""));
}

TEST_F(HttpTls, RefusesAnotherAuthority) {
  serve();
  const TestCertificate other;
  const auto refused = get_with(with_ca(other.pem()));
  EXPECT_EQ(refused.error().code(), Errc::certificate_refused);
  EXPECT_NE(refused.error().detail().find("127.0.0.1:"), std::string::npos) << refused.error().detail();
}

TEST_F(HttpTls, RefusesTheSystemsAuthoritiesForAPrivateCertificate) {
  serve();
  ClientOptions wanted;
  wanted.base_url = server->base_url();
  EXPECT_EQ(get_with(std::move(wanted)).error().code(), Errc::certificate_refused);
}

TEST_F(HttpTls, ChecksTheName) {
  serve();
  auto named = with_ca(certificate.pem());
  named.base_url = "https://localhost:" + std::to_string(server->port());
  EXPECT_TRUE(get_with(named).ok());
  named.base_url = "https://127.0.0.2:" + std::to_string(server->port());  // the same machine, not in the certificate
  options.address = "0.0.0.0";
  runtime::block_on(io, server->stop());
  serve();
  named.base_url = "https://127.0.0.2:" + std::to_string(server->port());
  const auto refused = get_with(named);
  EXPECT_EQ(refused.error().code(), Errc::certificate_refused);
  EXPECT_NE(refused.error().detail().find("mismatch"), std::string::npos) << refused.error().detail();
}

TEST_F(HttpTls, ChecksADnsName) {
  const TestCertificate elsewhere{"DNS:elsewhere.example"};
  options.tls = elsewhere.files;
  serve();
  auto named = with_ca(elsewhere.pem());
  named.base_url = "https://localhost:" + std::to_string(server->port());
  const auto refused = get_with(named);
  EXPECT_EQ(refused.error().code(), Errc::certificate_refused);
  EXPECT_NE(refused.error().detail().find("mismatch"), std::string::npos) << refused.error().detail();
}

TEST_F(HttpTls, ServesARenewedCertificateToNewConnections) {
  serve();
  const auto before = certificate.pem();
  const auto kept = client(with_ca(before));
  ASSERT_TRUE(ask(*kept, Method::get, "/").ok());
  const TestCertificate renewed;
  renewed.copy_over(certificate);
  ASSERT_TRUE(server->reload_tls().ok());
  EXPECT_TRUE(ask(*kept, Method::get, "/").ok());  // over the connection that it has
  EXPECT_EQ(get_with(with_ca(before)).error().code(), Errc::certificate_refused);
  EXPECT_TRUE(get_with(with_ca(renewed.pem())).ok());
}

TEST_F(HttpTls, KeepsItsCertificateWhenTheNewOneIsUnusable) {
  serve();
  const auto before = certificate.pem();
  const TestCertificate other;
  std::filesystem::copy_file(other.files.key, certificate.files.key, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(server->reload_tls().error().code(), Errc::configuration_invalid);  // the key of another certificate
  EXPECT_TRUE(get_with(with_ca(before)).ok());
  const TestCertificate expired{TestCertificate::kHere, -1};
  expired.copy_over(certificate);
  const auto refused = server->reload_tls();
  EXPECT_NE(refused.error().detail().find("expired"), std::string::npos) << refused.error().detail();
  EXPECT_TRUE(get_with(with_ca(before)).ok());
  std::filesystem::remove(certificate.files.certificate);
  EXPECT_EQ(server->reload_tls().error().code(), Errc::configuration_invalid);
  EXPECT_TRUE(get_with(with_ca(before)).ok());
}

TEST_F(HttpTls, HasNothingToReloadWithoutTls) {
  options.tls.reset();
  serve();
  EXPECT_TRUE(server->reload_tls().ok());
}

/// By OpenSSL's own program: SHA-256 of the SubjectPublicKeyInfo.
Digest32 key_of(const TestCertificate& certificate) {
  const auto command = "openssl x509 -pubkey -noout -in " + certificate.files.certificate.string() +
                       " | openssl pkey -pubin -outform der | openssl dgst -sha256 -r";
  FILE* const pipe = ::popen(command.c_str(), "r");
  std::string out(64, '0');
  EXPECT_EQ(std::fread(out.data(), 1, out.size(), pipe), out.size());
  ::pclose(pipe);
  const auto key = codec::array_from_hex<32>(out);
  EXPECT_TRUE(key.ok()) << out;
  return key.ok() ? *key : Digest32{};
}

TEST_F(HttpTls, SaysTheKeyThatItServesWithAndTheClientSeesIt) {
  serve();
  const auto key = key_of(certificate);
  EXPECT_EQ(server->tls_key(), key);
  const auto response = get_with(with_ca(certificate.pem()));
  ASSERT_TRUE(response.ok()) << response.error().text();
  EXPECT_EQ(response->peer_key, key);
  const TestCertificate renewed;
  renewed.copy_over(certificate);
  ASSERT_TRUE(server->reload_tls().ok());
  EXPECT_EQ(server->tls_key(), key_of(renewed));
  EXPECT_NE(server->tls_key(), key);
}

TEST_F(HttpTls, HasNoKeyWithoutTls) {
  options.tls.reset();
  serve();
  EXPECT_EQ(server->tls_key(), std::nullopt);
  ClientOptions wanted;
  wanted.base_url = server->base_url();
  const auto with = client(wanted);
  EXPECT_EQ(ask(*with, Method::get, "/")->peer_key, std::nullopt);
  with->hold_to(key_of(certificate));  // there is no connection without TLS then
  EXPECT_EQ(ask(*with, Method::get, "/").error().code(), Errc::certificate_refused);
}

TEST_F(HttpTls, HoldsTheServerToAKey) {
  serve();
  const TestCertificate renewed;
  const auto with = client(with_ca(certificate.pem() + renewed.pem()));
  ASSERT_TRUE(ask(*with, Method::get, "/").ok());
  with->hold_to(key_of(certificate));
  EXPECT_TRUE(ask(*with, Method::get, "/").ok());
  // A kept connection is looked at, too.
  with->hold_to(key_of(renewed));
  EXPECT_EQ(ask(*with, Method::get, "/").error().code(), Errc::certificate_refused);
  renewed.copy_over(certificate);
  ASSERT_TRUE(server->reload_tls().ok());
  EXPECT_TRUE(ask(*with, Method::get, "/").ok());
}

TEST_F(HttpTls, AcceptsThePinnedCertificateOnly) {
  serve();
  const auto blocks = codec::parse_pem(certificate.pem());
  ASSERT_TRUE(blocks.ok());
  ClientOptions wanted;
  wanted.base_url = server->base_url();
  wanted.tls.pinned_certificate = crypto::sha256(blocks->front().der);
  EXPECT_TRUE(get_with(wanted).ok());
  wanted.tls.pinned_certificate->front() ^= 1;
  EXPECT_EQ(get_with(wanted).error().code(), Errc::certificate_refused);
}

TEST_F(HttpTls, SpeaksNothingOlder) {
  serve();
  const auto command = "openssl s_client -tls1_2 -connect 127.0.0.1:" + std::to_string(server->port()) +
                       " </dev/null >/dev/null 2>&1";
  EXPECT_NE(std::system(command.c_str()), 0);
}

// --- TLS 1.2, where it is allowed ---

struct OldServers : Running {
  /// "ok", or the code.
  [[nodiscard]] std::string outcome(const cloister::test::OpenSslServer& old, bool allow, std::optional<std::string> ca = {}) {
    ClientOptions wanted;
    wanted.base_url = old.url();
    wanted.tls.ca_pem = ca.value_or(old.pem());
    wanted.tls.allow_tls12 = allow;
    const auto with = client(std::move(wanted));
    const auto response = ask(*with, Method::get, "/answer");
    return response ? std::string{as_text(response->body)} : std::string{to_string(response.error().code())};
  }
};

TEST_F(OldServers, AreAskedWhereTls12IsAllowedAlone) {
  for (const auto* suite : {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}) {
    const cloister::test::OpenSslServer old{{"-tls1_2", "-cipher", suite}};
    EXPECT_EQ(outcome(old, true), "ok") << suite;
    EXPECT_EQ(outcome(old, false), "unavailable") << suite;
  }
  const cloister::test::OpenSslServer rsa{{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}, "rsa:2048"};
  EXPECT_EQ(outcome(rsa, true), "ok");
}

TEST_F(OldServers, MustEncryptWithAuthenticationAndEphemeralKeys) {
  const cloister::test::OpenSslServer cbc{{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"}};
  EXPECT_TRUE(cbc.answers("-tls1_2"));
  EXPECT_EQ(outcome(cbc, true), "unavailable");
  const cloister::test::OpenSslServer lasting{{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, "rsa:2048"};
  EXPECT_TRUE(lasting.answers("-tls1_2"));
  EXPECT_EQ(outcome(lasting, true), "unavailable");
  const cloister::test::OpenSslServer finite{{"-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"}, "rsa:2048"};
  EXPECT_TRUE(finite.answers("-tls1_2"));
  EXPECT_EQ(outcome(finite, true), "unavailable");
}

TEST_F(OldServers, MustSpeakTls12AtLeast) {
  const cloister::test::OpenSslServer older{{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}};
  EXPECT_TRUE(older.answers("-tls1_1 -cipher ALL:@SECLEVEL=0"));
  EXPECT_EQ(outcome(older, true), "unavailable");
}

TEST_F(OldServers, MustShowTheCertificateThatIsExpected) {
  const cloister::test::OpenSslServer old{{"-tls1_2"}};
  const TestCertificate other;
  EXPECT_EQ(outcome(old, true, other.pem()), "certificate_refused");
  const cloister::test::OpenSslServer weak{{"-tls1_2", "-cipher", "ALL:@SECLEVEL=0"}, "rsa:1024"};
  EXPECT_TRUE(weak.answers("-tls1_2 -cipher ALL:@SECLEVEL=0"));
  EXPECT_EQ(outcome(weak, true), "certificate_refused");
}

TEST_F(OldServers, GetNoToken) {
  ClientOptions wanted;
  wanted.base_url = "https://127.0.0.1:1";
  wanted.tls.allow_tls12 = true;
  wanted.bearer = "token";
  EXPECT_EQ(Client::make(io, std::move(wanted)).error().code(), Errc::invalid_argument);
}

TEST_F(HttpTls, IsSpokenInTheNewestVersionAlsoWhereAnOlderIsAllowed) {
  serve();
  auto wanted = with_ca(certificate.pem());
  wanted.tls.allow_tls12 = true;
  EXPECT_TRUE(get_with(std::move(wanted)).ok());  // of a server that speaks 1.3 alone
}

TEST_F(HttpTls, ClosesAPeerThatSpeaksNoTls) {
  serve();
  RawPeer peer{server->port()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(peer.read_all().find("HTTP"), std::string::npos);
}

TEST_F(HttpTls, TimesASlowHandshakeOut) {
  options.limits.handshake_timeout = milliseconds{50};
  serve();
  RawPeer peer{server->port()};
  EXPECT_EQ(peer.read_all(), "");
}

TEST_F(HttpTls, RefusesUnusableFiles) {
  const TestCertificate other;
  const TestCertificate expired{TestCertificate::kHere, -1};
  for (const TlsFiles& files : {expired.files, TlsFiles{"/nonexistent", certificate.files.key},
                                TlsFiles{certificate.files.certificate, "/nonexistent"},
                                TlsFiles{certificate.files.certificate, other.files.key}}) {
    ServerOptions wanted;
    wanted.tls = files;
    EXPECT_EQ(Server::listen(io, wanted, Router{}, logger).error().code(), Errc::configuration_invalid);
  }
}

TEST_F(HttpTls, StopsWithOpenConnections) {
  serve();
  const auto with = client(with_ca(certificate.pem()));
  ASSERT_TRUE(ask(*with, Method::get, "/").ok());
  RawPeer shaking{server->port()};
  runtime::block_on(io, server->stop(kLong));
  EXPECT_EQ(server->connections(), 0U);
}

}  // namespace
}  // namespace cloister::http::test
