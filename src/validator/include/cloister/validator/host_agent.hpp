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
  /// Told of every login, on the agent's strand.
  std::function<void(const ValidatorId&)> logged_in = [](const ValidatorId&) {};
  std::uint64_t blob_bytes = std::uint64_t{16} << 30;  // that the directory may hold
};

/// One host's connection to its server. Runs on a strand of its own.
class HostAgent {
 public:
  HostAgent(HostAgentServices services, HostAgentOptions options, const crypto::Ed25519Key& hotkey)
      : services_{services}, options_{std::move(options)}, hotkey_{hotkey} {}

  /// Connects, logs in, and serves until the connection ends or the task is cancelled, which also ends every TD;
  /// returns why. To be called again after a pause.
  [[nodiscard]] runtime::Task<Error> run();

 private:
  struct Connection;
  HostAgentServices services_;
  HostAgentOptions options_;
  const crypto::Ed25519Key& hotkey_;
};

}  // namespace cloister::validator
