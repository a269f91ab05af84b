#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "dcap_lesson.hpp"
#include "sgx_lesson.hpp"

/// Genuine quotes in the wrong hands: recorded ones, and ones of another machine.
namespace cloister::exercise::relayed_evidence {
namespace {

namespace json = codec::json;
using lab_sgx::Code;

/// Public keys of channels, as far as this matters: 32 bytes that tell whose they are.
Digest32 channel_key(std::string_view of) { return crypto::sha256(as_bytes("channel key of " + std::string{of})); }
/// The verifier's nonce in that session.
Digest32 nonce_of(std::uint64_t session) { return crypto::sha256(as_bytes("nonce " + std::to_string(session))); }

/// What an enclave of either release puts into REPORTDATA. 1.0: the nonce. 2.0: SHA-256 of the nonce and the public key with
/// which its channel begins; the key is made inside.
Digest64 report_data(const std::string& release, const Digest32& nonce, const Digest32& key) {
  Digest64 out{};
  const auto first = release == "1.0" ? nonce : crypto::sha256({nonce, key});
  std::ranges::copy(first, out.begin());
  return out;
}

class Machine {
 public:
  explicit Machine(EventLog& log) : cpu_{sgx::root(), {.cpu_svn = dcap::platform().machine().sgx_components, .pages = 32}} {
    const auto plan = sgx::plan_of("honest enclave");
    CLOISTER_ASSERT(sgx::load(cpu_, log, plan, 0, sgx::sigstruct_for(plan, {})) == Code::success && cpu_.eenter(0, 1) == Code::success);
    qe_.emplace(dcap::quoting_enclave(cpu_, dcap::platform()));
  }
  /// The enclave answers whoever asks, with its own key.
  [[nodiscard]] Bytes quote(const std::string& release, const Digest32& nonce) const {
    return dcap::quote(cpu_, *qe_, report_data(release, nonce, channel_key("the enclave")));
  }
  [[nodiscard]] attestation::Outcome verify(ByteView quote) const {
    return dcap::verify(evidence::parse_quote(quote).value(), dcap::platform(), qe_->identity());
  }

 private:
  lab_sgx::Cpu cpu_;
  std::optional<lab_sgx::QuotingEnclave> qe_;
};

struct Session {
  std::string release;  // of the enclave, and of what the verifier expects
  std::string check;    // "signature", or "binding": that REPORTDATA is as expected, too
  std::string quote;    // "recorded" in session 1, or "fresh": asked of the honest machine with this session's nonce
  std::string channel;  // whose key the verifier's channel ends at
};

void connect(const Machine& machine, EventLog& log, std::uint64_t number, const Session& s) {
  const auto nonce = nonce_of(number);
  const auto quote = machine.quote(s.release, s.quote == "fresh" ? nonce : nonce_of(1));
  auto outcome = machine.verify(quote);
  CLOISTER_ASSERT(outcome.evidence.has_value());  // it is genuine
  const auto expected = report_data(s.release, nonce, channel_key(s.channel));
  const auto& shown = outcome.evidence->claims().report_data();
  json::Object with{{"release", s.release}, {"check", s.check}, {"quote", s.quote}, {"channel", s.channel},
                    {"report_data", sgx::brief(shown)}, {"expected", sgx::brief(expected)}};
  const auto result = [&]() -> std::string {
    if (s.check == "binding") {
      if (const auto bound = attestation::bind(std::move(*outcome.evidence), expected); !bound) return bound.error().text();
    }
    return "secret sent to " + s.channel;
  }();
  log.add("verifier", "CONNECT", std::move(with), result);
}

Result<void> replay(const Files& files, EventLog& log) {
  const Machine machine{log};
  std::uint64_t session = 1;
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "CONNECT") return unknown_op(op, "CONNECT");
    const Session s{.release = one_of(fields, "release", {"1.0", "2.0"}),
                    .check = one_of(fields, "check", {"signature", "binding"}),
                    .quote = one_of(fields, "quote", {"recorded", "fresh"}),
                    .channel = one_of(fields, "channel", {"the enclave", "mallory"})};
    CLOISTER_CHECK(fields.finish());
    connect(machine, log, ++session, s);  // session 1 is the one that was recorded
    return {};
  });
}

bool went(const EventLog& log, std::string_view release, std::string_view check, std::string_view quote, std::string_view outcome) {
  return happened(log, "CONNECT", outcome, {{"release", release}, {"check", check}, {"quote", quote}, {"channel", "mallory"}});
}

constexpr Goal kGoals[] = {
    {"Who only verifies signatures sends the secret for a recorded quote", 2,
     [](const EventLog& log) { return went(log, "1.0", "signature", "recorded", "secret sent to mallory"); },
     "CONNECT with check signature, the recorded quote, and your own channel"},
    {"Who compares the nonce refuses the recorded quote", 2,
     [](const EventLog& log) { return went(log, "1.0", "binding", "recorded", "report_data_mismatch"); },
     "the same with check binding"},
    {"A fresh quote of the honest machine passes for yours: the nonce does not say who asked", 4,
     [](const EventLog& log) { return went(log, "1.0", "binding", "fresh", "secret sent to mallory"); },
     "pass the verifier's nonce on to the honest machine, and its quote back: quote fresh"},
    {"Release 2.0 binds the channel's key, and the relay ends", 2,
     [](const EventLog& log) {
       return went(log, "2.0", "binding", "fresh", "report_data_mismatch") &&
              happened(log, "CONNECT", "secret sent to the enclave", {{"release", "2.0"}, {"check", "binding"}});
     },
     "the same with release 2.0; and see that the enclave itself still gets its secret"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 2, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::relayed_evidence
