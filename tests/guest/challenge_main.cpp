// A challenge that says that it began and does what the payload says: "forever" never answers, "slowly" answers later,
// anything else at once.
#include <thread>

#include "cloister/sdk/challenge.hpp"

namespace {

class Obedient final : public cloister::sdk::Challenge {
 public:
  cloister::Result<void> start(const cloister::sdk::Secrets&) override { return {}; }
  cloister::Result<cloister::Bytes> execute(cloister::ByteView payload, cloister::sdk::JobContext& job) override {
    const auto order = cloister::as_text(payload);
    job.log(cloister::sdk::LogLevel::info, "began");
    while (order == "forever" && !job.stopped()) std::this_thread::yield();
    if (order == "slowly") std::this_thread::sleep_for(std::chrono::milliseconds{300});
    return cloister::to_bytes(payload);
  }
};

}  // namespace

int main() {
  Obedient challenge;
  return cloister::sdk::run(challenge);
}
