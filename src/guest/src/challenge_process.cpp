#include "challenge_process.hpp"

namespace cloister::guest {
namespace {

constexpr int kChallengeDescriptor = 3;

}  // namespace

Result<ChallengeProcess> ChallengeProcess::start(const oci::Image& image, const std::filesystem::path& root,
                                                 const std::vector<OpenedSecret>& secrets) {
  CLOISTER_TRY(pair, process::stream_pair());
  const auto words = image.config.command();
  process::ConfinedCommand command;
  command.root = root;
  command.program = words.front();
  command.arguments.assign(words.begin() + 1, words.end());
  command.environment = image.config.env;
  command.environment.push_back("CLOISTER_CHALLENGE_FD=" + std::to_string(kChallengeDescriptor));
  command.descriptors = {{pair.second.get(), kChallengeDescriptor}};
  command.directory = image.config.working_dir;
  CLOISTER_TRY(confined, process::run_confined(command));
  CLOISTER_TRY(socket, ChallengeSocket::make(std::move(pair.first)));

  protocol::challenge::Start start;
  for (const auto& secret : secrets) {
    start.secrets.emplace_back(secret.name, crypto::cleansed_copy(secret.value.reveal()));
  }
  socket.send(start);
  return ChallengeProcess{std::move(confined), std::move(socket)};
}

}  // namespace cloister::guest
