#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

#include "cloister/core/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/process/sandbox.hpp"

namespace cloister::lab_host {

struct HostOptions {
  /// Made with mode 0700 when it is not there; refused when others may write to it. See docs/protocol/lab-host.md.
  std::filesystem::path state;
  std::size_t max_tds = 64;
  std::size_t max_connections = 64;
  lab::QuoteFormat quote_format = lab::QuoteFormat::v4;
  std::size_t max_blob_bytes = std::size_t{1} << 30;  // of all blobs of a TD: they are copied into memory
  /// Start also on a machine that has a TEE of its own.
  bool beside_tee = false;
};

/// LAB ONLY - NOT HARDWARE. The simulated machine as a service: it holds the seed and every key that follows from it,
/// starts TDs from the bytes that it measured, and answers their TEE sockets. One loop on one thread does everything;
/// the TDs die with that thread.
class Host {
 public:
  /// Opens or makes the state, and listens. `conflict` while another platform runs on the state,
  /// `lab_beside_tee` on a machine with a TEE unless that is wanted, `configuration_invalid` for a state that is not whole. The references outlive the host.
  [[nodiscard]] static Result<Host> open(HostOptions options, process::Sandbox sandbox, const Clock& clock,
                                         Random& random, log::Logger& logger);
  Host(Host&&) noexcept;
  Host& operator=(Host&&) noexcept;
  /// Stops every TD.
  ~Host();

  /// Serves until `stop_fd` is readable. Errors: only of the machine (poll(2)).
  [[nodiscard]] Result<void> run(int stop_fd);

  [[nodiscard]] std::filesystem::path control_socket() const;
  /// The root certificate, PEM: what a trust file names.
  [[nodiscard]] std::filesystem::path root_file() const;
  /// QuoteCollateralV3, JSON; renewed by `run`.
  [[nodiscard]] std::filesystem::path collateral_file() const;
  [[nodiscard]] const process::Sandbox& sandbox() const noexcept;

 private:
  class Impl;
  explicit Host(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::lab_host
