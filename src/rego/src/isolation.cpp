#include "cloister/rego/isolation.hpp"

#include <mutex>

#include "pool.hpp"

namespace cloister::rego {

/// Where evaluations of this process find the one that lives.
struct Isolation::Place {
  std::mutex mutex;
  std::shared_ptr<Pool> pool;  // guarded by it
};

Isolation::Place& Isolation::place() {
  static Place out;
  return out;
}

std::shared_ptr<Isolation::Pool> Isolation::current() {
  const std::lock_guard held{place().mutex};
  return place().pool;
}

Isolation::Isolation(std::shared_ptr<Pool> pool) noexcept : pool_{std::move(pool)} {}

Result<std::unique_ptr<Isolation>> Isolation::start(const Options& options) {
  auto pool = std::make_shared<Pool>(options);
  CLOISTER_CHECK(pool->warm_up());
  const std::lock_guard held{place().mutex};
  if (place().pool) return Error{Errc::conflict, "policies are evaluated in processes already"};
  place().pool = pool;
  return std::unique_ptr<Isolation>{new Isolation{std::move(pool)}};
}

Isolation::~Isolation() {
  {
    const std::lock_guard held{place().mutex};
    place().pool.reset();
  }
  pool_->stop();
}

void Isolation::stop() { pool_->stop(); }
std::uint64_t Isolation::lost() const { return pool_->lost(); }

}  // namespace cloister::rego
