// The program itself, as a guest starts it: over one socket at descriptor 3, by the guest's own frames.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cloister/protocol/challenge.hpp"

namespace keyword_search {
namespace {

namespace frames = cloister::protocol::challenge;

class Program : public testing::Test {
 protected:
  void launch() {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    child_ = ::fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      ::alarm(60);
      if (ends[1] == 3) {
        ::fcntl(3, F_SETFD, 0);
      } else {
        ::dup2(ends[1], 3);
      }
      ::setenv("CLOISTER_CHALLENGE_FD", "3", 1);
      ::execl(CLOISTER_KEYWORD_SEARCH, CLOISTER_KEYWORD_SEARCH, "--slots", "2", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    socket_ = ends[0];
  }
  void TearDown() override {
    if (socket_ >= 0) ::close(socket_);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  void send(const frames::ToChallenge& message) {
    const auto frame = frames::frame(message);
    ASSERT_EQ(::send(socket_, frame.data(), frame.size(), MSG_NOSIGNAL), static_cast<ssize_t>(frame.size()));
  }
  frames::ToGuest receive() {
    while (true) {
      auto frame = deframer_.next();
      if (frame && *frame) return *frames::decode_to_guest(**frame);
      std::uint8_t bytes[4096];
      const auto n = ::recv(socket_, bytes, sizeof bytes, 0);
      if (n <= 0) {
        ADD_FAILURE() << "the program ended";
        return frames::Failed{"ended"};
      }
      deframer_.feed({bytes, static_cast<std::size_t>(n)});
    }
  }
  int exit_status() {
    int status = 0;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t child_ = -1;
  int socket_ = -1;
  frames::Deframer deframer_;
};

TEST_F(Program, ServesJobsUntilStopped) {
  launch();
  send(frames::Start{{{"index-salt", {1, 2, 3}}}});
  EXPECT_EQ(std::get<frames::Ready>(receive()).slots, 2U);
  const std::string_view payload = R"({"keyword":"cat","documents":[{"name":"a","text":"cat Cat dog"}]})";
  send(frames::Job{"job-1", cloister::crypto::cleansed_copy(cloister::as_bytes(payload))});
  const auto progress = std::get<frames::Progress>(receive());
  EXPECT_EQ(progress.job, "job-1");
  EXPECT_EQ(progress.percent, 100);
  const auto result = std::get<frames::Result>(receive());
  EXPECT_EQ(result.job, "job-1");
  EXPECT_EQ(result.status, "ok");
  EXPECT_EQ(cloister::as_text(result.output), R"({"keyword":"cat","counts":[{"name":"a","count":2}],"total":2})");
  send(frames::Job{"job-2", {0xFF}});
  EXPECT_EQ(std::get<frames::Result>(receive()).status, "error");
  send(frames::Stop{});
  EXPECT_EQ(exit_status(), 0);
}

TEST_F(Program, FailsItsStartWithoutTheSecret) {
  launch();
  send(frames::Start{});
  EXPECT_EQ(std::get<frames::Failed>(receive()).detail, "secret 'index-salt' is missing");
  EXPECT_EQ(exit_status(), 1);
}

}  // namespace
}  // namespace keyword_search
