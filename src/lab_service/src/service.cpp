#include "cloister/lab_service/service.hpp"

#include <charconv>

#include "cloister/runtime/task_group.hpp"
#include "page.hpp"
#include "routes.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using http::Method;
using runtime::Task;

constexpr std::size_t kBatch = 64;
constexpr std::chrono::minutes kPatience{10};

/// A file that is always the same. Browsers take it for what it says it is, and put it in no other page.
http::Handler fixed(std::string type, std::string_view text) {
  const auto body = std::make_shared<const Bytes>(to_bytes(text));  // with every request under way
  return [type = std::move(type), body](http::Request) -> Task<http::Response> {
    auto response = http::bytes_response(type, *body);
    response.headers.set("X-Content-Type-Options", "nosniff");
    response.headers.set("X-Frame-Options", "DENY");
    response.headers.set("Referrer-Policy", "no-referrer");
    co_return response;
  };
}

std::optional<std::uint64_t> since_of(const http::Request& request) {
  const auto text = request.query.find("since").value_or("0");
  std::uint64_t out = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

/// Counts up for as long as it lives.
class Counted {
 public:
  explicit Counted(std::size_t& count) : count_{count} { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::size_t& count_;
};

/// Notices that the peer is gone, also while nothing happens.
Task<void> watch(runtime::AsyncEvent& wake, std::shared_ptr<http::WebSocket> socket, std::shared_ptr<bool> closed) {
  while (true) {
    const auto message = co_await socket->receive();  // whatever a client says is passed over
    if (!message) break;
  }
  *closed = true;
  wake.notify_all();
}

}  // namespace

Service::Service(Machine& on, const Clock& with, log::Logger& logger, Options options)
    : machine{on},
      clock{with},
      events{with},
      enclaves{on, events, logger, with, std::move(options.workloads)},
      vms{on, events, logger, with},
      table_{std::make_unique<RouteTable>(std::move(options.allowed_origins))},
      logger_{logger},
      max_streams_{options.max_streams} {
  using attestation::TrustAnchor;
  anchors.add(
      TrustAnchor::make(crypto::x509::parse_certificate(on.platform.root()).value(), attestation::AnchorKind::lab)
          .value());
  for (const auto& [product, of_product] : on.snp_machines)
    anchors.add(TrustAnchor::make(on.authority.root(product), attestation::AnchorKind::lab).value());
  add_system_routes(*table_, *this);
  add_enclave_routes(*table_, *this);
  add_vm_routes(*table_, *this);
}

Service::~Service() = default;

json::Value Service::openapi() const { return table_->openapi(); }

http::Router Service::router() {
  http::Router out;
  table_->fill(out);
  out.add(Method::get, "/openapi.json", http::kPublic, fixed("application/json", json::write_pretty(openapi()) + "\n"));
  out.add(Method::get, "/", http::kPublic, fixed("text/html; charset=utf-8", page_index_html));
  out.add(Method::get, "/lab.css", http::kPublic, fixed("text/css; charset=utf-8", page_lab_css));
  out.add(Method::get, "/lab.js", http::kPublic, fixed("text/javascript; charset=utf-8", page_lab_js));
  http::WebSocketLimits limits;
  limits.max_message = 1024;
  out.add_websocket("/events/stream", http::kPublic, limits,
                    [this](http::Request request, std::shared_ptr<http::WebSocket> socket) {
                      return stream(std::move(request), std::move(socket));
                    });
  return out;
}

Task<void> Service::stream(http::Request request, std::shared_ptr<http::WebSocket> socket) {
  if (!table_->admit(request)) {
    co_await socket->close(http::CloseCode::policy_violation, "pages of other origins may not use this server");
    co_return;
  }
  const auto since = since_of(request);
  if (!since) {
    co_await socket->close(http::CloseCode::policy_violation, "since: a number expected");
    co_return;
  }
  if (streams_ >= max_streams_) {
    co_await socket->close(http::CloseCode::try_again_later, "there are as many streams as are allowed");
    co_return;
  }
  const Counted counted{streams_};
  const auto closed = std::make_shared<bool>(false);  // with the reader, which may outlast the sender
  auto executor = co_await runtime::this_executor();
  runtime::TaskGroup readers{executor, logger_, "event streams"};
  readers.spawn("reader", watch(events.changed(), socket, closed));
  Task<void> sending = send_events(socket, closed, *since);
  Task<void> ending = readers.cancel_and_wait();
  co_await runtime::finally(std::move(sending), std::move(ending));
}

Task<void> Service::send_events(std::shared_ptr<http::WebSocket> socket, std::shared_ptr<const bool> closed,
                                std::uint64_t at) {
  while (!*closed) {
    const auto seen = events.changed().version();
    if (at > events.last()) at = events.last();  // of another run of the lab
    if (at + 1 < events.first()) {
      const json::Value gap = json::Object{{"gap", json::Object{{"from", at + 1}, {"to", events.first() - 1}}}};
      at = events.first() - 1;
      auto text = json::write(gap);
      const auto told = co_await socket->send_text(std::move(text));
      if (!told) co_return;
    }
    const auto batch = events.after(at, kBatch);
    for (const auto& event : batch) {
      auto text = json::write(to_json(event));
      const auto sent = co_await socket->send_text(std::move(text));
      if (!sent) co_return;
      at = event.seq;
    }
    if (!batch.empty()) continue;
    const Deadline deadline{std::chrono::steady_clock::now() + kPatience};
    const auto woken = co_await events.changed().wait(seen, deadline);
    if (!woken && woken.error().code() != Errc::deadline_exceeded) co_return;
  }
}

}  // namespace cloister::lab_service
