// A challenge that says that it began and does what the payload says: "forever" never answers, "slowly" answers later,
// "keys" with the derived keys for "disk", a line "VERSION HEX" each, anything else with itself at once.
#include <string>
#include <thread>

#include "cloister/codec/text.hpp"
#include "cloister/sdk/challenge.hpp"

namespace {

class Obedient final : public cloister::sdk::Challenge {
 public:
  cloister::Result<void> start(const cloister::sdk::Secrets& secrets) override {
    for (const auto& key : secrets.derived_keys("disk")) {
      keys_ += std::to_string(key.version) + ' ' + cloister::codec::to_hex(key.value) + '\n';
    }
    return {};
  }
  cloister::Result<cloister::Bytes> execute(cloister::ByteView payload, cloister::sdk::JobContext& job) override {
    const auto order = cloister::as_text(payload);
    job.log(cloister::sdk::LogLevel::info, "began");
    while (order == "forever" && !job.stopped()) std::this_thread::yield();
    if (order == "slowly") std::this_thread::sleep_for(std::chrono::milliseconds{300});
    return cloister::to_bytes(order == "keys" ? cloister::as_bytes(keys_) : payload);
  }

 private:
  std::string keys_;
};

}  // namespace

int main() {
  Obedient challenge;
  return cloister::sdk::run(challenge);
}
