#include <atomic>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace cloister::audit {
namespace {

using testing::at;

class ConcurrentLog : public testing::LogFixture {};

TEST_F(ConcurrentLog, WritersAndSequencersMakeOneTree) {
  open();
  constexpr int kWriters = 3;
  constexpr int kLeaves = 40;
  std::atomic<int> writing = kWriters;
  std::atomic<int> errors = 0;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      for (int i = 0; i < kLeaves; ++i) {
        auto transaction = database_->write();
        if (!transaction ||
            !log_->append(*transaction, {at(i), "test.act", std::to_string(writer) + "-" + std::to_string(i), {}}) ||
            !transaction->commit()) {
          ++errors;
        }
      }
      --writing;
    });
  }
  for (int sequencer = 0; sequencer < 2; ++sequencer) {
    threads.emplace_back([&] {
      auto before = log_->head().head;
      while (writing > 0) {
        const auto head = log_->advance(at(1));
        if (!head || !merkle::verify(*head, log_->key())) {
          ++errors;
          continue;
        }
        if (before.tree_size > 0) {
          const auto proof = log_->prove_consistency(before.tree_size, head->head.tree_size);
          if (!proof || !merkle::verify_consistency(*proof, before.root, head->head.root)) ++errors;
        }
        before = head->head;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(log_->advance(at(2))->head.tree_size, static_cast<std::uint64_t>(kWriters * kLeaves));
  EXPECT_TRUE(log_->check());
}

}  // namespace
}  // namespace cloister::audit
