#include "cloister/prover/fair_mutex.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace cloister::prover {
namespace {

TEST(FairMutex, IsGivenInTheOrderInWhichItWasAskedFor) {
  FairMutex mutex;
  std::string order;
  mutex.lock();
  std::vector<std::thread> askers;
  for (const char name : {'a', 'b', 'c', 'd'}) {
    const auto before = mutex.asked();
    askers.emplace_back([&, name] {
      const std::lock_guard lock{mutex};
      order += name;
    });
    while (mutex.asked() == before) std::this_thread::yield();
  }
  // Whoever has it and wants it again is the last.
  mutex.unlock();
  mutex.lock();
  order += 'e';
  mutex.unlock();
  for (auto& asker : askers) asker.join();
  EXPECT_EQ(order, "abcde");
  EXPECT_EQ(mutex.asked(), 0U);
}

}  // namespace
}  // namespace cloister::prover
