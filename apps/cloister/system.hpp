#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/policy/trust_file.hpp"
#include "cloister/process/child.hpp"

namespace cloister::cli {

/// The programs beside the running one.
struct Programs {
  std::filesystem::path cloister;
  std::filesystem::path server;
  std::filesystem::path guest;
  std::filesystem::path keyword_search;
};
/// `not_found` names the one that is missing and how it is built.
[[nodiscard]] Result<Programs> find_programs();

/// A whole system on this machine, each part a process of its own: lab platform, server, validator. They end with this
/// object (and with this process, however it ends). Logs and state are in the data directory. Not thread-safe.
class System {
 public:
  /// `data` is made if it is missing. `port` 0: any free one.
  [[nodiscard]] static Result<System> make(const std::filesystem::path& data, std::uint16_t port);
  System(System&&) noexcept = default;
  ~System();

  /// The lab platform, from which the trust in its root follows; `beside_tee` also on a machine that has a TEE. Returns a
  /// sentence about its sandbox.
  [[nodiscard]] Result<std::string> start_platform(bool beside_tee);
  /// The TEE that the server will run in: a TD of a lab machine of its own, which measures the server's program. Call it
  /// before `learn_server_keys`; without it the server runs in none.
  [[nodiscard]] Result<void> start_server_tee(bool beside_tee);
  /// The server's public keys, made if there are none: known before the server runs.
  [[nodiscard]] Result<void> learn_server_keys();
  [[nodiscard]] Result<void> start_server();
  /// The host agent; its hotkey must be enrolled for it to be let in.
  [[nodiscard]] Result<void> start_validator();

  [[nodiscard]] const Programs& programs() const noexcept { return programs_; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  [[nodiscard]] const std::filesystem::path& admin_token_file() const noexcept { return admin_token_file_; }
  [[nodiscard]] Result<std::string> admin_token() const;
  [[nodiscard]] const std::vector<ByteArray<32>>& server_keys() const noexcept { return trust_.server_keys; }
  /// Lab roots, server keys and audit key, and the server's own reference value where it has a TEE; reference values of
  /// versions are the caller's to add.
  [[nodiscard]] const policy::TrustFile& trust() const noexcept { return trust_; }
  [[nodiscard]] const crypto::Ed25519Public& hotkey() const noexcept { return hotkey_; }
  [[nodiscard]] std::filesystem::path logs() const { return data_ / "logs"; }
  /// The name of a process that has ended; empty while all run.
  [[nodiscard]] std::string ended();

 private:
  struct Part {
    std::string name;
    process::ChildProcess process;
  };
  System(Programs programs, std::filesystem::path data, std::uint16_t port)
      : programs_{std::move(programs)}, data_{std::move(data)}, port_{port} {}
  /// Starts a process and returns the first line that it prints.
  [[nodiscard]] Result<std::string> start(std::string name, const std::filesystem::path& program,
                                          std::vector<std::string> arguments, bool stays);
  [[nodiscard]] Result<void> write_configuration();

  Programs programs_;
  std::filesystem::path data_;
  std::uint16_t port_;
  std::vector<Part> parts_;  // in the order of their start
  std::filesystem::path control_socket_;
  std::filesystem::path collateral_;
  std::filesystem::path tee_socket_;  // of the server; empty: none
  std::filesystem::path tee_collateral_;
  Digest48 server_mrtd_{};
  std::string root_pem_;
  std::string url_;
  std::filesystem::path admin_token_file_;
  policy::TrustFile trust_;
  crypto::Ed25519Public hotkey_{};
};

}  // namespace cloister::cli
