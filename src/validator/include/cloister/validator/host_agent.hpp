#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "cloister/core/ids.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/http/client.hpp"
#include "cloister/provider/cvm_provider.hpp"
#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/runtime/io_context.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::validator {

/// What a host agent works with; the references outlive it.
struct HostAgentServices {
  runtime::IoContext& io;
  runtime::BlockingPool& pool;
  provider::CvmProvider& provider;
  const Clock& clock;
  log::Logger& logger;
};
struct HostAgentOptions {
  http::ClientOptions server;       // without a bearer token
  std::uint32_t capacity = 4;       // instances at the same time, 1 to 1024
  std::filesystem::path blobs;      // a directory of its own, where fetched blobs are kept by digest
  std::uint64_t blob_bytes = std::uint64_t{16} << 30;  // that the directory may hold
  std::chrono::milliseconds reopen_pause{1000};        // before a TD whose stream ended is offered again
  /// Told of every login, on the agent's strand.
  std::function<void(const ValidatorId&)> logged_in = [](const ValidatorId&) {};
};

/// A host's TDs, and its connections to its server, one after the other. TDs outlive connections: each connection
/// offers those that run. Not thread-safe: one strand.
class HostAgent {
 public:
  /// Runs on `executor`, a strand.
  HostAgent(HostAgentServices services, HostAgentOptions options, const crypto::Ed25519Key& hotkey,
            runtime::Executor executor);
  /// TDs that still run are stopped.
  ~HostAgent();
  HostAgent(const HostAgent&) = delete;
  HostAgent& operator=(const HostAgent&) = delete;

  /// Connects, logs in, offers the TDs that run, and serves until the connection ends or the task is cancelled;
  /// returns why. To be called again after a pause.
  [[nodiscard]] runtime::Task<Error> run();
  /// Stops every TD and ends every task: to be awaited before the end, when `run` does not run.
  [[nodiscard]] runtime::Task<void> stop();

 private:
  struct Td;
  struct Host;
  struct Connection;
  HostAgentServices services_;
  HostAgentOptions options_;
  const crypto::Ed25519Key& hotkey_;
  std::shared_ptr<Host> host_;  // shared with the tasks that watch the TDs
};

}  // namespace cloister::validator
