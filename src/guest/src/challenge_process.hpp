#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "challenge_socket.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/oci/image.hpp"
#include "cloister/process/confine.hpp"

namespace cloister::guest {

/// A secret, opened.
struct OpenedSecret {
  std::string name;
  crypto::SecretBytes value;
};

/// The challenge: the entry point of the verified image, confined, and the socket to it. Not thread-safe.
class ChallengeProcess {
 public:
  /// Starts the image's entry point in `root`, where the image was unpacked, and hands it its secrets.
  [[nodiscard]] static Result<ChallengeProcess> start(const oci::Image& image, const std::filesystem::path& root,
                                                      const std::vector<OpenedSecret>& secrets);

  [[nodiscard]] ChallengeSocket& socket() noexcept { return socket_; }
  /// What does not hold the challenge, for the log.
  [[nodiscard]] const std::string& not_isolated() const noexcept { return confined_.not_isolated; }

 private:
  ChallengeProcess(process::Confined confined, ChallengeSocket socket)
      : confined_{std::move(confined)}, socket_{std::move(socket)} {}
  process::Confined confined_;
  ChallengeSocket socket_;
};

}  // namespace cloister::guest
