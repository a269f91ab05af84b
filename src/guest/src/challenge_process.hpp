#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/oci/image.hpp"
#include "cloister/process/confine.hpp"
#include "cloister/protocol/challenge.hpp"

namespace cloister::guest {

/// A secret, opened.
struct OpenedSecret {
  std::string name;
  crypto::SecretBytes value;
};

/// The challenge: the entry point of the verified image, confined, and the socket to it (docs/protocol/challenge.md).
/// Not thread-safe.
class ChallengeProcess {
 public:
  /// Starts the image's entry point in `root`, where the image was unpacked, and hands it its secrets.
  [[nodiscard]] static Result<ChallengeProcess> start(const oci::Image& image, const std::filesystem::path& root,
                                                      const std::vector<OpenedSecret>& secrets);

  /// To poll for POLLIN, and for POLLOUT while `wants_write`.
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] bool wants_write() const noexcept { return sent_ < outgoing_.size(); }

  void send(const protocol::challenge::ToChallenge& message);
  /// Writes what can be written without waiting.
  [[nodiscard]] Result<void> flush();
  /// Reads what is there without waiting, and gives the whole messages. `peer_closed` when the challenge has ended,
  /// other errors when it broke a rule; either ends it.
  [[nodiscard]] Result<std::vector<protocol::challenge::ToGuest>> receive();

  /// What does not hold the challenge, for the log.
  [[nodiscard]] const std::string& not_isolated() const noexcept { return confined_.not_isolated; }

 private:
  ChallengeProcess(process::Confined confined, process::UniqueFd socket)
      : confined_{std::move(confined)}, socket_{std::move(socket)} {}
  process::Confined confined_;
  process::UniqueFd socket_;
  Bytes outgoing_;
  std::size_t sent_ = 0;
  protocol::challenge::Deframer deframer_;
};

}  // namespace cloister::guest
