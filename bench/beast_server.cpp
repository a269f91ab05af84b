// The least that a Beast server can do, for comparison: one thread, keep-alive, a fixed answer.
#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cstdio>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

asio::awaitable<void> serve(asio::ip::tcp::socket socket) {
  beast::flat_buffer buffer;
  socket.set_option(asio::ip::tcp::no_delay{true});
  for (;;) {
    http::request<http::string_body> request;
    auto [failure, size] = co_await http::async_read(socket, buffer, request, kAsTuple);
    if (failure) co_return;
    http::response<http::string_body> response{http::status::ok, request.version()};
    response.set(http::field::content_type, "application/json");
    response.body() = R"({"challenges":[]})";
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    auto [unsent, written] = co_await http::async_write(socket, response, kAsTuple);
    if (unsent) co_return;
  }
}

asio::awaitable<void> listen(asio::ip::tcp::acceptor& acceptor) {
  for (;;) {
    auto socket = co_await acceptor.async_accept(asio::use_awaitable);
    const auto executor = socket.get_executor();
    auto session = serve(std::move(socket));
    asio::co_spawn(executor, std::move(session), [](const std::exception_ptr&) {});
  }
}

}  // namespace

int main() {
  asio::io_context io{1};
  asio::ip::tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  std::printf("{\"port\":%u}\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
  std::fflush(stdout);
  asio::co_spawn(io, listen(acceptor), [](const std::exception_ptr&) {});
  io.run();
}
