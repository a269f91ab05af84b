// No memory that is given back holds a payload, an output or a secret: neither the guest's nor its challenge's. This
// program looks at every block that is freed.
#include <gtest/gtest.h>
#include <malloc.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "challenge_socket.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/protocol/job.hpp"
#include "cloister/sdk/challenge.hpp"
#include "support/support.hpp"
#include "worker.hpp"

namespace {

constexpr std::string_view kMarker = "this must not stay behind";
std::atomic<int> left_behind = 0;

void release(void* block) noexcept {
  if (block != nullptr && ::memmem(block, ::malloc_usable_size(block), kMarker.data(), kMarker.size()) != nullptr) {
    ++left_behind;
  }
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) {
  void* block = std::malloc(size == 0 ? 1 : size);
  if (block == nullptr) throw std::bad_alloc{};
  return block;
}
void operator delete(void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }

namespace cloister::guest {
namespace {

const VersionId kVersion = *VersionId::parse("ver-a");
const InstanceId kInstance = *InstanceId::parse("inst-a");

/// Answers a payload with itself.
class Echo final : public sdk::Challenge {
 public:
  Result<void> start(const sdk::Secrets&) override { return {}; }
  Result<Bytes> execute(ByteView payload, sdk::JobContext&) override { return to_bytes(payload); }
};

/// The marker, many times, so that it is in every part of a frame.
std::span<const std::uint8_t> payload() {
  static const auto bytes = [] {
    static std::array<std::uint8_t, 300'000> out;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(kMarker[i % kMarker.size()]);
    return std::span<const std::uint8_t>{out};
  }();
  return bytes;
}

TEST(Plaintext, MarkerIsSeenWhereItStays) {
  left_behind = 0;
  { const Bytes plain = to_bytes(payload()); }
  EXPECT_EQ(left_behind, 1);
}

/// A worker, and the job that a client sealed to it.
struct Scene {
  test::SeededRandom random{5};
  test::FakeClock clock{*from_civil(2026, 1, 1, 0, 0, 0)};
  crypto::X25519Key payload_key = crypto::X25519Key::generate(random);
  crypto::X25519Public payload_public = payload_key.public_key();
  Worker worker{Identity{kInstance, kVersion, Digest32{}, *SessionId::parse("ses-a"), std::move(payload_key),
                         crypto::Ed25519Key::generate(random)},
                1, clock, random};
  crypto::Secret<32> client = crypto::Secret<32>::random(random);
  Digest32 salt = protocol::ClientJobKeys::salt(client, "k", payload());
  protocol::ClientJobKeys keys = protocol::ClientJobKeys::derive(client, salt);

  protocol::AssignJob job(const char* attempt) {
    const auto request = protocol::seal_job(keys, kVersion, "k", salt, payload(), std::chrono::seconds{60});
    auto recipient = *protocol::seal_recipient(keys.content_key(), keys.job(), kVersion, kInstance, payload_public,
                                               request.input_commitment, crypto::sha256(request.ciphertext), random);
    protocol::AssignJob out;
    out.job = keys.job();
    out.attempt = *AttemptId::parse(attempt);
    out.fence = 1;
    out.version = kVersion;
    out.input_commitment = request.input_commitment;
    out.enc = recipient.enc;
    out.sealed_key = recipient.sealed_key;
    out.ciphertext = request.ciphertext;
    out.timeout_ms = 10'000;
    return out;
  }
};

/// Sends what waits, and gives the next message of that kind.
template <class Message>
Message next(ChallengeSocket& socket) {
  const SystemClock clock;
  for (;;) {
    EXPECT_TRUE(socket.flush());
    const auto events = static_cast<short>(socket.wants_write() ? POLLIN | POLLOUT : POLLIN);
    const auto deadline = Deadline::after(clock, std::chrono::seconds{20});
    if (!process::wait_for(socket.fd(), events, deadline)) std::abort();
    auto messages = socket.receive();
    if (!messages) std::abort();
    for (auto& message : *messages) {
      if (auto* wanted = std::get_if<Message>(&message)) return std::move(*wanted);
    }
  }
}

TEST(Plaintext, StaysNowhereOnceAJobIsDone) {
  left_behind = 0;
  Scene s;
  auto pair = *process::stream_pair();
  auto socket = *ChallengeSocket::make(std::move(pair.first));
  std::thread challenge{[end = std::move(pair.second)] {
    Echo echo;
    EXPECT_TRUE(sdk::serve(echo, end.get()));
  }};
  {
    protocol::challenge::Start start;
    start.secrets.emplace_back("key", crypto::cleansed_copy(payload()));
    start.secrets.emplace_back("other-key", crypto::cleansed_copy(payload()));
    socket.send(start);
    EXPECT_EQ(next<protocol::challenge::Ready>(socket).slots, 1U);
  }
  ASSERT_FALSE(s.worker.assign(s.job("att-a")));
  {
    const auto job = s.worker.give();
    ASSERT_TRUE(job);
    socket.send(*job);
    const auto result = next<protocol::challenge::Result>(socket);
    EXPECT_TRUE(same_bytes(result.output, payload()));
    auto sealed = s.worker.finish(result);
    EXPECT_TRUE(sealed && *sealed);
  }
  socket.send(protocol::challenge::Stop{});
  ASSERT_TRUE(socket.flush());
  challenge.join();
  EXPECT_EQ(left_behind, 0);
}

TEST(Plaintext, StaysNowhereOnceAWaitingJobIsCancelled) {
  left_behind = 0;
  {
    Scene s;
    ASSERT_FALSE(s.worker.assign(s.job("att-a")));
    s.worker.cancel(*AttemptId::parse("att-a"));
    EXPECT_EQ(left_behind, 0);
    ASSERT_FALSE(s.worker.assign(s.job("att-b")));
    EXPECT_EQ(s.worker.fail_all().size(), 1U);
  }
  EXPECT_EQ(left_behind, 0);
}

}  // namespace
}  // namespace cloister::guest
