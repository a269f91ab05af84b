#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "verifying.hpp"

namespace cloister::attestation {
namespace {

/// Small enough that the threads push each other's entries out all the time.
TEST(VerificationCacheConcurrent, ServesThreadsAtOnce) {
  test::SyntheticPlatform platform;
  std::vector<test::SyntheticEvidence> good;
  for (std::uint64_t i = 0; i < 6; ++i) {
    platform.pck.serial = 1000 + i;
    good.push_back(platform.build());
  }
  platform.quote_signed_by = "forger";
  const auto forged = platform.build();
  const auto anchors = anchors_of(forged.root, AnchorKind::given);
  const auto documents = evidence::parse_documents(forged.collateral);
  ASSERT_TRUE(documents.ok());
  test::SeededRandom random{1};
  VerificationCache cache{random, {.signatures = 8, .chains = 4}};
  std::atomic<int> accepted = 0;
  std::atomic<int> refused = 0;
  constexpr int kThreads = 4;
  constexpr int kRounds = 10;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int round = 0; round < kRounds; ++round) {
          const auto quote = evidence::view_quote(good[static_cast<std::size_t>(t + round) % good.size()].quote);
          accepted += verify(*quote, *documents, anchors, test::SyntheticPlatform::now(), &cache).evidence ? 1 : 0;
          const auto bad = evidence::view_quote(forged.quote);
          refused += verify(*bad, *documents, anchors, test::SyntheticPlatform::now(), &cache).evidence ? 0 : 1;
        }
      });
    }
  }
  EXPECT_EQ(accepted, kThreads * kRounds);
  EXPECT_EQ(refused, kThreads * kRounds);
  EXPECT_LE(cache.chains(), 4U);
}

}  // namespace
}  // namespace cloister::attestation
