#include "challenge_process.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

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
  if (::fcntl(pair.first.get(), F_SETFL, O_NONBLOCK) != 0) return process::errno_error("challenge socket");

  ChallengeProcess challenge{std::move(confined), std::move(pair.first)};
  protocol::challenge::Start start;
  for (const auto& secret : secrets) start.secrets.emplace_back(secret.name, to_bytes(secret.value.reveal()));
  challenge.send(start);
  for (auto& [name, value] : start.secrets) crypto::cleanse(value);
  return challenge;
}

void ChallengeProcess::send(const protocol::challenge::ToChallenge& message) {
  auto frame = protocol::challenge::frame(message);
  if (sent_ == outgoing_.size()) {
    crypto::cleanse(outgoing_);
    outgoing_ = std::move(frame);
    sent_ = 0;
  } else {
    append(outgoing_, frame);
    crypto::cleanse(frame);
  }
}

Result<void> ChallengeProcess::flush() {
  while (wants_write()) {
    const auto rest = ByteView{outgoing_}.subspan(sent_);
    const auto n = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (n < 0) return Error{Errc::peer_closed, "the challenge has ended"};
    sent_ += static_cast<std::size_t>(n);
  }
  crypto::cleanse(outgoing_);
  outgoing_.clear();
  sent_ = 0;
  return {};
}

Result<std::vector<protocol::challenge::ToGuest>> ChallengeProcess::receive() {
  std::array<std::uint8_t, 64 * 1024> buffer;
  const auto n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return std::vector<protocol::challenge::ToGuest>{};
  }
  if (n <= 0) return Error{Errc::peer_closed, "the challenge has ended"};
  deframer_.feed(ByteView{buffer}.first(static_cast<std::size_t>(n)));
  crypto::cleanse(buffer);
  std::vector<protocol::challenge::ToGuest> messages;
  for (;;) {
    CLOISTER_TRY(frame, deframer_.next());
    if (!frame) return messages;
    CLOISTER_TRY(message, protocol::challenge::decode_to_guest(*frame));
    crypto::cleanse(*frame);
    messages.push_back(std::move(message));
  }
}

}  // namespace cloister::guest
