#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <functional>
#include <future>
#include <stdexcept>
#include <thread>

#include "cloister/protocol/challenge.hpp"
#include "cloister/sdk/challenge.hpp"

namespace cloister::sdk {
namespace {

namespace guest = protocol::challenge;

/// Does what the test says.
class Scripted final : public Challenge {
 public:
  Result<void> start(const Secrets& secrets) override { return on_start(secrets); }
  Result<Bytes> execute(ByteView payload, JobContext& job) override { return on_job(payload, job); }
  std::function<Result<void>(const Secrets&)> on_start = [](const Secrets&) { return Result<void>{}; };
  std::function<Result<Bytes>(ByteView, JobContext&)> on_job = [](ByteView payload, JobContext&) {
    return Result<Bytes>{to_bytes(payload)};
  };
};

class Serve : public testing::Test {
 protected:
  Serve() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    here_ = ends[0];
    there_ = ends[1];
  }
  ~Serve() override {
    hang_up();
    if (served_.valid()) served_.wait();
    ::close(there_);
  }
  void begin(unsigned slots = 1) {
    served_ = std::async(std::launch::async, [this, slots] { return serve(challenge, there_, {.slots = slots}); });
  }
  /// With the start and its answer done.
  void begin_ready(unsigned slots = 1) {
    begin(slots);
    send(guest::Start{});
    EXPECT_EQ(std::get<guest::Ready>(receive()).slots, slots);
  }
  void send_bytes(ByteView bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(here_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  void send(const guest::ToChallenge& message) { send_bytes(guest::frame(message)); }
  guest::ToGuest receive() {
    while (true) {
      const auto frame = deframer_.next();
      if (frame && *frame) return *guest::decode_to_guest(**frame);
      std::array<std::uint8_t, 4096> bytes;
      const auto n = ::recv(here_, bytes.data(), bytes.size(), 0);
      if (n <= 0) {
        ADD_FAILURE() << "the challenge ended";
        return guest::Failed{"ended"};
      }
      deframer_.feed(ByteView{bytes}.first(static_cast<std::size_t>(n)));
    }
  }
  void hang_up() {
    if (here_ >= 0) ::close(here_);
    here_ = -1;
  }
  Errc outcome() {
    const auto result = served_.get();
    return result ? Errc::internal : result.error().code();
  }

  Scripted challenge;

 private:
  int here_ = -1;
  int there_ = -1;
  guest::Deframer deframer_;
  std::future<Result<void>> served_;
};

TEST_F(Serve, GivesSecretsRunsJobsAndStops) {
  Bytes seen;
  challenge.on_start = [&seen](const Secrets& secrets) {
    seen = to_bytes(*secrets.find("key"));
    return Result<void>{};
  };
  challenge.on_job = [](ByteView payload, JobContext& job) {
    job.progress(40);
    job.log(LogLevel::warn, "about " + job.id());
    return Result<Bytes>{Bytes(payload.rbegin(), payload.rend())};
  };
  begin();
  send(guest::Start{{{"key", {1, 2}}}});
  EXPECT_EQ(std::get<guest::Ready>(receive()).slots, 1U);
  for (const auto* id : {"job-1", "job-2"}) {
    send(guest::Job{id, {1, 2, 3}});
    EXPECT_EQ(std::get<guest::Progress>(receive()).percent, 40);
    EXPECT_EQ(std::get<guest::Log>(receive()).text, std::string{"about "} + id);
    const auto result = std::get<guest::Result>(receive());
    EXPECT_EQ(result.job, id);
    EXPECT_EQ(result.status, "ok");
    EXPECT_EQ(to_bytes(result.output), (Bytes{3, 2, 1}));
  }
  send(guest::Stop{});
  EXPECT_EQ(outcome(), Errc::internal);
  EXPECT_EQ(seen, (Bytes{1, 2}));
}

TEST_F(Serve, TellsWhyItCannotServe) {
  challenge.on_start = [](const Secrets&) { return Result<void>{Error{Errc::not_found, "no salt"}}; };
  begin();
  send(guest::Start{});
  EXPECT_EQ(std::get<guest::Failed>(receive()).detail, "no salt");
  EXPECT_EQ(outcome(), Errc::not_found);
}

TEST_F(Serve, ErrorsAndExceptionsFailTheJobAlone) {
  challenge.on_job = [](ByteView payload, JobContext&) -> Result<Bytes> {
    if (payload.empty()) throw std::runtime_error{"thrown"};
    if (payload[0] == 0) throw 5;
    return Error{Errc::invalid_argument, "no such thing"};
  };
  begin_ready();
  const std::pair<Bytes, std::string_view> cases[] = {{{}, "internal: thrown"},
                                                      {{0}, "internal: the challenge threw something"},
                                                      {{1}, "invalid_argument: no such thing"}};
  for (const auto& [payload, text] : cases) {
    send(guest::Job{"job-1", crypto::cleansed_copy(payload)});
    const auto result = std::get<guest::Result>(receive());
    EXPECT_EQ(result.status, "error");
    EXPECT_EQ(as_text(result.output), text);
  }
}

TEST_F(Serve, RunsAsManyJobsAsItHasSlots) {
  std::barrier together{3};
  challenge.on_job = [&together](ByteView payload, JobContext&) {
    together.arrive_and_wait();
    return Result<Bytes>{to_bytes(payload)};
  };
  begin_ready(3);
  for (std::uint8_t i = 0; i < 3; ++i) send(guest::Job{"job-" + std::to_string(i), {i}});
  Bytes outputs;
  for (int i = 0; i < 3; ++i) append(outputs, std::get<guest::Result>(receive()).output);
  std::ranges::sort(outputs);
  EXPECT_EQ(outputs, (Bytes{0, 1, 2}));
}

TEST_F(Serve, StopReachesRunningJobsAndDropsTheirOutput) {
  std::promise<void> running;
  challenge.on_job = [&running](ByteView, JobContext& job) {
    running.set_value();
    while (!job.stopped()) std::this_thread::yield();
    return Result<Bytes>{Bytes{1}};
  };
  begin_ready();
  send(guest::Job{"job-1", {}});
  running.get_future().wait();
  send(guest::Stop{});
  EXPECT_EQ(outcome(), Errc::internal);
}

TEST_F(Serve, EndsWhenTheGuestIsGone) {
  begin_ready();
  hang_up();
  EXPECT_EQ(outcome(), Errc::peer_closed);
}

TEST_F(Serve, RefusesMoreJobsThanSlots) {
  challenge.on_job = [](ByteView, JobContext& job) {
    while (!job.stopped()) std::this_thread::yield();
    return Result<Bytes>{Bytes{}};
  };
  begin_ready();
  send(guest::Job{"job-1", {}});
  send(guest::Job{"job-2", {}});
  EXPECT_EQ(outcome(), Errc::malformed);
}

TEST_F(Serve, RefusesAJobThatRunsAlready) {
  challenge.on_job = [](ByteView, JobContext& job) {
    while (!job.stopped()) std::this_thread::yield();
    return Result<Bytes>{Bytes{}};
  };
  begin_ready(2);
  send(guest::Job{"job-1", {}});
  send(guest::Job{"job-1", {}});
  EXPECT_EQ(outcome(), Errc::malformed);
}

TEST_F(Serve, StartComesFirstAndOnce) {
  begin();
  send(guest::Job{"job-1", {}});
  EXPECT_EQ(std::get<guest::Failed>(receive()).detail, "start expected first");
  EXPECT_EQ(outcome(), Errc::malformed);
}

TEST_F(Serve, RefusesASecondStart) {
  begin_ready();
  send(guest::Start{});
  EXPECT_EQ(outcome(), Errc::malformed);
}

TEST_F(Serve, RefusesFramesThatAreTooLong) {
  begin_ready();
  send_bytes(Bytes{0x05, 0x00, 0x00, 0x01});
  EXPECT_EQ(outcome(), Errc::limit_exceeded);
}

TEST_F(Serve, RefusesBrokenFrames) {
  begin_ready();
  send_bytes(Bytes{0, 0, 0, 1, 0x01});
  EXPECT_EQ(outcome(), Errc::malformed);
}

TEST_F(Serve, CarriesLargePayloads) {
  begin_ready();
  const Bytes payload(3U << 20, 0x5A);
  send(guest::Job{"job-1", crypto::cleansed_copy(payload)});
  EXPECT_EQ(to_bytes(std::get<guest::Result>(receive()).output), payload);
}

TEST_F(Serve, OutputBeyondTheLimitFailsTheJobAlone) {
  std::size_t size = (64U << 20) + 1;
  challenge.on_job = [&size](ByteView, JobContext&) { return Result<Bytes>{Bytes(size)}; };
  begin_ready();
  send(guest::Job{"job-1", {}});
  const auto refused = std::get<guest::Result>(receive());
  EXPECT_EQ(refused.status, "error");
  EXPECT_EQ(as_text(refused.output), "limit_exceeded: an output of at most 64 MiB expected");
  size = 64U << 20;
  send(guest::Job{"job-2", {}});
  const auto taken = std::get<guest::Result>(receive());
  EXPECT_EQ(taken.status, "ok");
  EXPECT_EQ(taken.output.size(), size);
}

TEST(Run, NeedsADescriptor) {
  Scripted challenge;
  ::unsetenv("CLOISTER_CHALLENGE_FD");
  EXPECT_EQ(run(challenge), 2);
  ::setenv("CLOISTER_CHALLENGE_FD", "x", 1);
  EXPECT_EQ(run(challenge), 2);
  ::unsetenv("CLOISTER_CHALLENGE_FD");
}

}  // namespace
}  // namespace cloister::sdk
