#include "cloister/storage/write_queue.hpp"

#include <future>
#include <latch>

#include "cloister/storage/broker_sessions.hpp"
#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::tenant;

class WriteQueueTest : public testing::DatabaseTest {
 protected:
  static WriteQueue::Work adds(std::uint8_t id) {
    return [id](Transaction& transaction) {
      return broker_sessions::conclude(transaction, tenant("default"), {id}, {"tdx", at(300), std::nullopt}, at(1));
    };
  }
  [[nodiscard]] bool has(std::uint8_t id) { return broker_sessions::get(read(), tenant("default"), {id}, at(1)).ok(); }
  static std::future<Result<void>> submit(WriteQueue& queue, WriteQueue::Work work) {
    const auto heard = std::make_shared<std::promise<Result<void>>>();
    queue.submit(std::move(work), [heard](Result<void> outcome) { heard->set_value(std::move(outcome)); });
    return heard->get_future();
  }
  /// The queue is at `work` and goes no further until `finish`: what is submitted meanwhile shares the next commit.
  class Busy {
   public:
    explicit Busy(WriteQueue& queue, WriteQueue::Work work = [](Transaction&) { return Result<void>{}; }) {
      outcome_ = submit(queue, [this, work = std::move(work)](Transaction& transaction) {
        begun_.count_down();
        go_on_.wait();
        return work(transaction);
      });
      begun_.wait();
    }
    void let_go() { go_on_.count_down(); }
    Result<void> finish() {
      let_go();
      return outcome_.get();
    }
    Result<void> outcome() { return outcome_.get(); }

   private:
    std::latch begun_{1};
    std::latch go_on_{1};
    std::future<Result<void>> outcome_;
  };
};

TEST_F(WriteQueueTest, WhatSucceededIsThere) {
  {
    WriteQueue queue{*database_, 10};
    EXPECT_TRUE(submit(queue, adds(1)).get().ok());
    EXPECT_TRUE(has(1));
  }
  open();
  EXPECT_TRUE(has(1));
}

TEST_F(WriteQueueTest, AFailureIsOfOneAlone) {
  WriteQueue queue{*database_, 10};
  Busy first{queue};
  auto good = submit(queue, adds(1));
  auto bad = submit(queue, [](Transaction& transaction) -> Result<void> {
    CLOISTER_CHECK(adds(2)(transaction));
    return Error{Errc::conflict, "on second thoughts"};
  });
  auto refused = submit(queue, adds(1));
  auto last = submit(queue, adds(3));
  const auto before = database_->writes();
  EXPECT_TRUE(first.finish().ok());
  EXPECT_TRUE(good.get().ok());
  EXPECT_EQ(bad.get().error().code(), Errc::conflict);
  EXPECT_EQ(refused.get().error().code(), Errc::nonce_invalid);
  EXPECT_TRUE(last.get().ok());
  EXPECT_TRUE(has(1));
  EXPECT_FALSE(has(2));
  EXPECT_TRUE(has(3));
  EXPECT_EQ(database_->writes().commits - before.commits, 2U);
}

TEST_F(WriteQueueTest, TooManyAreRefusedAtOnce) {
  WriteQueue queue{*database_, 1};
  Busy first{queue};
  auto waits = submit(queue, adds(1));
  EXPECT_EQ(submit(queue, adds(2)).get().error().code(), Errc::overloaded);
  EXPECT_TRUE(first.finish().ok());
  EXPECT_TRUE(waits.get().ok());
  EXPECT_FALSE(has(2));
}

TEST_F(WriteQueueTest, WhatWaitsAtTheEndHearsOfIt) {
  WriteQueue queue{*database_, 1U << 20U};
  Busy first{queue, adds(1)};
  auto waits = submit(queue, adds(2));
  auto stopped = std::async(std::launch::async, [&] { queue.stop(); });
  while (submit(queue, adds(3)).wait_for(std::chrono::seconds{0}) != std::future_status::ready) std::this_thread::yield();
  first.let_go();
  stopped.get();
  EXPECT_TRUE(first.outcome().ok());
  EXPECT_EQ(waits.get().error().code(), Errc::cancelled);
  EXPECT_EQ(submit(queue, adds(4)).get().error().code(), Errc::cancelled);
  EXPECT_TRUE(has(1));
  EXPECT_FALSE(has(2));
}

TEST_F(WriteQueueTest, GoesTogetherWithOthersWhoWrite) {
  WriteQueue queue{*database_, 1000};
  std::vector<std::future<Result<void>>> heard;
  auto beside = std::async(std::launch::async, [&] {
    for (std::uint8_t id = 100; id < 150; ++id) {
      auto transaction = database_->write().value();
      EXPECT_TRUE(adds(id)(transaction).ok());
      EXPECT_TRUE(transaction.commit().ok());
    }
  });
  for (std::uint8_t id = 0; id < 50; ++id) heard.push_back(submit(queue, adds(id)));
  for (auto& one : heard) EXPECT_TRUE(one.get().ok());
  beside.get();
  for (std::uint8_t id = 0; id < 50; ++id) EXPECT_TRUE(has(id) && has(static_cast<std::uint8_t>(100 + id)));
}

TEST_F(WriteQueueTest, ADiskThatTakesNothingIsToldToAll) {
  const auto begun = commit([](Transaction& transaction) { return adds(9)(transaction); });
  ASSERT_TRUE(begun.ok());
  WriteQueue queue{*database_, 10};
  Busy first{queue};
  auto before = submit(queue, adds(1));
  // Ends the transaction beneath everybody, as SQLite does by itself when a disk is full.
  auto breaks = submit(queue, [](Transaction& transaction) -> Result<void> {
    CLOISTER_TRY(done, transaction.run("ROLLBACK"));
    static_cast<void>(done);
    return {};
  });
  auto behind = submit(queue, adds(2));
  EXPECT_TRUE(first.finish().ok());
  for (auto* one : {&before, &breaks, &behind}) EXPECT_EQ(one->get().error().code(), Errc::storage_failure);
  EXPECT_FALSE(has(1));
  EXPECT_FALSE(has(2));
  EXPECT_TRUE(submit(queue, adds(1)).get().ok());
}

}  // namespace
}  // namespace cloister::storage
