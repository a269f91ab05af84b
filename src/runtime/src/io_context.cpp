#include "cloister/runtime/io_context.hpp"

#include <boost/asio.hpp>
#include <thread>

namespace cloister::runtime {
namespace asio = boost::asio;

struct IoContext::Impl {
  explicit Impl(std::size_t count) : thread_count{count}, context{static_cast<int>(count)}, work{context.get_executor()} {}
  std::size_t thread_count;
  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::vector<std::thread> threads;
};

IoContext::IoContext(std::size_t threads) : impl_{std::make_unique<Impl>(threads)} { CLOISTER_ASSERT(threads > 0); }

IoContext::~IoContext() {
  stop();
  for (auto& thread : impl_->threads) thread.join();
}

Executor IoContext::executor() { return impl_->context.get_executor(); }

Executor IoContext::strand() {
  if (impl_->thread_count == 1) return executor();  // runs one after the other by itself, and does without the bookkeeping
  return asio::make_strand(impl_->context);
}

void IoContext::start() {
  CLOISTER_ASSERT(impl_->threads.empty());
  for (std::size_t i = 0; i < impl_->thread_count; ++i) {
    impl_->threads.emplace_back([this] { impl_->context.run(); });
  }
}

void IoContext::stop() { impl_->context.stop(); }

Task<Result<int>> IoContext::wait_for_signal(std::vector<int> signals) {
  const Executor here = co_await asio::this_coro::executor;
  asio::signal_set set{here};
  for (const int number : signals) {
    boost::system::error_code refused;
    set.add(number, refused);
    if (refused) co_return Error{Errc::invalid_argument, "signal " + std::to_string(number) + " cannot be waited for"};
  }
  const auto [failure, number] = co_await set.async_wait(asio::as_tuple(asio::use_awaitable));
  if (failure) co_return Error{Errc::cancelled, "the wait was cancelled"};
  co_return number;
}

Task<void> IoContext::on_signal(int number, std::function<void()> work) {
  const Executor here = co_await asio::this_coro::executor;
  boost::system::error_code refused;
  asio::signal_set set{here};
  set.add(number, refused);
  CLOISTER_ASSERT(!refused);
  for (;;) {
    const auto [failure, got] = co_await set.async_wait(asio::as_tuple(asio::use_awaitable));
    if (failure) co_return;
    work();
  }
}

void detail::block_on(IoContext& io, Task<void> work) {
  asio::co_spawn(io.strand(), std::move(work), asio::use_future).get();
}

}  // namespace cloister::runtime
