#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cloister/collateral/transfer.hpp"
#include "cloister/collateral_service/routes.hpp"
#include "cloister/http/server.hpp"
#include "cloister/runtime/event.hpp"
#include "support/synthetic_snp.hpp"

/// Vendors' services on loopback, as tests need them: the product's own, with what a test puts between it and the network.
namespace cloister::test {

/// The documents that a platform's collateral consists of.
inline std::vector<collateral::Document> documents_of(const evidence::QuoteCollateral& whole) {
  auto found = collateral::documents_of({{"collateral", to_bytes(evidence::write_quote_collateral(whole))}});
  EXPECT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(found->left_out.empty());
  return std::move(found->documents);
}

/// A chip of Milan under the names that AMD's have, by which its documents are recognised; its root is nobody's.
inline SyntheticSnp milan_chip() {
  SyntheticSnp out;
  out.vek.common_name = "SEV-VCEK";
  out.authority.common_name = out.vek.issuer_name = "SEV-Milan";
  out.root.common_name = out.root.issuer_name = out.authority.issuer_name = out.crl->issuer_name = "ARK-Milan";
  return out;
}

/// The documents that a chip's endorsements consist of.
inline std::vector<collateral::Document> documents_of(const evidence::SnpEndorsements& endorsements) {
  std::vector<collateral::BundleFile> files;
  for (const auto& one : endorsements.certificates) files.push_back({"certificate", one->der});
  for (const auto& one : endorsements.crls) files.push_back({"crl", one.der});
  auto found = collateral::documents_of(files);
  EXPECT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(found->left_out.empty());
  return std::move(found->documents);
}

/// Thread-safe, but for `fault` and `alter`, which are set while nobody asks.
class VendorService {
 public:
  VendorService() {
    io_.start();
    http::Router router;
    router.add(http::Method::get, "/{path...}", http::kPublic, [this](http::Request request) { return answer(std::move(request)); });
    auto made = http::Server::listen(io_, {}, std::move(router), logger_);
    EXPECT_TRUE(made.ok());
    server_ = std::move(*made);
  }
  ~VendorService() {
    open_gate();
    runtime::block_on(io_, server_->stop(std::chrono::milliseconds{100}));
  }

  void put(const evidence::QuoteCollateral& whole) {
    for (auto& document : documents_of(whole)) documents.put(std::move(document));
  }
  [[nodiscard]] std::string url() const { return server_->base_url(); }

  /// From now on requests arrive and wait for the gate to open.
  void close_gate() { open_ = false; }
  void open_gate() {
    open_ = true;
    gate_.notify_all();
  }
  [[nodiscard]] int requests() const { return requests_; }
  [[nodiscard]] int not_modified() const { return not_modified_; }
  /// Blocks until that many requests have come; false when that takes unreasonably long.
  [[nodiscard]] bool wait_for_requests(int count) {
    std::unique_lock lock{mutex_};
    return came_.wait_for(lock, std::chrono::seconds{30}, [&] { return requests_ >= count; });
  }

  collateral_service::MemoryDocuments documents;
  std::function<std::optional<http::Response>(const http::Request&)> fault;  // an answer instead of the service's
  std::function<void(http::Response&)> alter;                                // a change to the service's answer

 private:
  runtime::Task<http::Response> answer(http::Request request) {
    {
      const std::lock_guard lock{mutex_};
      ++requests_;
      came_.notify_all();
    }
    while (true) {
      const auto seen = gate_.version();
      if (open_) break;
      const Deadline late{std::chrono::steady_clock::now() + std::chrono::seconds{30}};
      (void)co_await gate_.wait(seen, late);
    }
    if (fault) {
      auto instead = fault(request);
      if (instead) co_return std::move(*instead);
    }
    auto out = collateral_service::respond(documents, request);
    if (out.status == 304) ++not_modified_;
    if (alter) alter(out);
    co_return out;
  }

  runtime::IoContext io_{2};
  log::NullLogger logger_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::atomic<int> requests_{0};
  std::atomic<int> not_modified_{0};
  std::atomic<bool> open_{true};
  runtime::AsyncEvent gate_;
  std::unique_ptr<http::Server> server_;
};

/// Answers every connection with the same bytes and closes it, whatever was asked: what an HTTP server would not send.
class RawService {
 public:
  explicit RawService(std::string bytes) : bytes_{std::move(bytes)}, listener_{::socket(AF_INET, SOCK_STREAM, 0)} {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    socklen_t size = sizeof at;
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread{[this] { serve(); }};
  }
  ~RawService() {
    ::shutdown(listener_, SHUT_RDWR);  // wakes accept(2)
    thread_.join();
    ::close(listener_);
  }
  RawService(const RawService&) = delete;
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  void serve() {
    while (true) {
      const int peer = ::accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      std::string head;
      char piece[1024];
      while (head.find("\r\n\r\n") == std::string::npos) {
        const auto got = ::recv(peer, piece, sizeof piece, 0);
        if (got <= 0) break;
        head.append(piece, static_cast<std::size_t>(got));
      }
      (void)!::send(peer, bytes_.data(), bytes_.size(), MSG_NOSIGNAL);
      ::close(peer);
    }
  }
  std::string bytes_;
  int listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace cloister::test
