#include "cloister/lab_service/events.hpp"

#include "lab.hpp"
#include "support/support.hpp"

namespace cloister::lab_service::test {
namespace {

TEST(EventLog, KeepsTheLatest) {
  const cloister::test::FakeClock clock{kCreated};
  EventLog log{clock, 3};
  EXPECT_EQ(log.first(), 1U);
  EXPECT_EQ(log.last(), 0U);
  EXPECT_TRUE(log.after(0, 10).empty());
  for (int i = 1; i <= 5; ++i) log.add("sgx", "e", "EADD", {{"i", i}});
  EXPECT_EQ(log.first(), 3U);
  EXPECT_EQ(log.last(), 5U);
  const auto kept = log.after(0, 10);
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept.front().seq, 3U);
  EXPECT_EQ(log.after(3, 1).front().seq, 4U);
  EXPECT_EQ(log.after(3, 10).size(), 2U);
  EXPECT_TRUE(log.after(5, 10).empty());
  EXPECT_TRUE(log.after(UINT64_MAX, 10).empty());
  EXPECT_EQ(json::write(to_json(kept.back())),
            R"({"seq":5,"time":"2026-01-01T00:00:00Z","machine":"sgx","subject":"e","event":"EADD","fields":{"i":5}})");
}

/// A stream of events, as a client of the lab reads it.
class Stream : public Lab {
 protected:
  explicit Stream(Service::Options options = {}) : Lab{std::move(options)} { io_.start(); }
  ~Stream() override { io_.stop(); }
  std::shared_ptr<http::WebSocket> open(const std::string& query, const std::string& origin = {}) {
    http::Headers headers;
    if (!origin.empty()) headers.add("Origin", origin);
    http::ClientOptions options{.base_url = server_->base_url(), .bearer = {}, .tls = {}};
    const Deadline deadline{std::chrono::steady_clock::now() + std::chrono::seconds{30}};
    auto made = runtime::block_on(
        io_, http::WebSocketClient::connect(io_, options, "/events/stream" + query, headers, {}, deadline));
    return made ? *made : nullptr;
  }
  Result<json::Value> next(http::WebSocket& socket) {
    auto message = runtime::block_on(io_, socket.receive());
    if (!message) return message.error();
    return json::parse(as_text(message->data));
  }
  std::uint64_t seq_of_next(http::WebSocket& socket) { return *next(socket)->find("seq")->as_uint(); }
  runtime::IoContext io_;
};

TEST_F(Stream, GivesWhatWasAndWhatComes) {
  launch();
  const auto before = last_event();
  const auto socket = open("?since=0");
  ASSERT_NE(socket, nullptr);
  for (std::uint64_t seq = 1; seq <= before; ++seq) EXPECT_EQ(seq_of_next(*socket), seq);
  post("/enclave/attest", R"({"enclave_name":"e"})");
  EXPECT_EQ(*next(*socket)->find("event")->as_string(), "ECREATE");
}

TEST_F(Stream, GoesOnFromANumber) {
  launch();
  const auto last = last_event();
  const auto socket = open("?since=" + std::to_string(last - 2));
  EXPECT_EQ(seq_of_next(*socket), last - 1);
  EXPECT_EQ(seq_of_next(*socket), last);
  const auto of_another_run = open("?since=99999999");
  launch();
  EXPECT_EQ(seq_of_next(*of_another_run), last + 1);
}

TEST_F(Stream, TellsOfAGap) {
  for (std::size_t i = 0; i < EventLog::kCapacity + 10; ++i) {
    runtime::block_on(handlers_, [](EventLog& events) -> runtime::Task<void> {
      events.add("sgx", "e", "EADD");
      co_return;
    }(service_.events));
  }
  const auto socket = open("?since=4");
  const auto gap = next(*socket);
  EXPECT_EQ(json::write(*gap), R"({"gap":{"from":5,"to":10}})");
  EXPECT_EQ(seq_of_next(*socket), 11U);
}

TEST_F(Stream, RefusesOtherPagesAndBadNumbers) {
  EXPECT_EQ(open("", "http://evil.example"), nullptr);
  EXPECT_NE(open("", server_->base_url()), nullptr);
  const auto bad = open("?since=x");
  ASSERT_NE(bad, nullptr);
  EXPECT_EQ(next(*bad).error().code(), Errc::peer_closed);
}

struct FewStreams : Stream {
  FewStreams() : Stream{Service::Options{.max_streams = 2}} {}
};

TEST_F(FewStreams, AreCountedWhileTheyLast) {
  launch();
  const auto one = open("");
  EXPECT_TRUE(next(*one).ok());
  {
    const auto two = open("");
    EXPECT_TRUE(next(*two).ok());
    const auto three = open("");
    EXPECT_EQ(next(*three).error().detail(), "closed with 1013 there are as many streams as are allowed");
    runtime::block_on(io_, two->close(http::CloseCode::normal, ""));
  }
  // The server notices that its peer is gone, though nothing happens; until then it refuses.
  std::shared_ptr<http::WebSocket> again;
  Result<json::Value> first = Error{Errc::unavailable};
  for (int i = 0; i < 1000 && !first; ++i) {
    again = open("");
    first = next(*again);
  }
  EXPECT_TRUE(first.ok());
}

}  // namespace
}  // namespace cloister::lab_service::test
