#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "dcap_lesson.hpp"
#include "hex_text.hpp"
#include "sgx_lesson.hpp"

/// A quote, forged from the body up to the root.
namespace cloister::exercise::forged_quote {
namespace {

namespace json = codec::json;
using lab_sgx::Code;

constexpr std::size_t kMaxPatch = 512;

const crypto::EcPrivateKey& own_attestation_key() {
  static const auto key = crypto::EcPrivateKey::derive(crypto::Curve::p256, as_bytes("mallory"), as_bytes("attestation key"));
  return key;
}

/// Mallory's own lab: certificates as good as the real ones, but for their root.
const lab::Platform& own_platform() {
  static const auto platform = lab::Platform::create(crypto::Secret<32>{crypto::sha256(as_bytes("mallory"))}, dcap::created());
  return platform;
}

class Forger {
 public:
  explicit Forger(EventLog& log) : log_{log}, cpu_{sgx::root(), {.cpu_svn = dcap::platform().machine().sgx_components, .pages = 32}} {
    const auto plan = sgx::plan_of("honest enclave");
    CLOISTER_ASSERT(sgx::load(cpu_, log, plan, 0, sgx::sigstruct_for(plan, {})) == Code::success && cpu_.eenter(0, 1) == Code::success);
    qe_.emplace(dcap::quoting_enclave(cpu_, dcap::platform()));
    genuine_ = sgx::brief(sgx::mrenclave_of(plan));
  }

  Result<void> play(const std::string& op, json::Fields& fields) {
    if (op == "PATCH") {
      const auto at = number(fields, "at", evidence::kMaxQuoteSize);
      const auto bytes = fields.hex("hex");
      if (!fields.failed() && bytes.size() > kMaxPatch) fields.fail(Errc::limit_exceeded, "hex", "at most 512 bytes expected");
      CLOISTER_CHECK(fields.finish());
      patch(at, bytes);
      return {};
    }
    CLOISTER_CHECK(fields.finish());
    if (op == "QUOTE") {
      quote_ = dcap::quote(cpu_, *qe_, {});
      log_.add("enclave", op, {{"bytes", std::uint64_t{quote_.size()}}}, "success");
    } else if (op == "VERIFY") {
      verify();
    } else if (op == "SIGN_QUOTE") {
      change(op, [](evidence::QuoteContent& quote) {
        quote.signature.attestation_key = to_array<64>(own_attestation_key().public_key().xy());
        quote.signature.signature = to_array<64>(own_attestation_key().sign(evidence::encode_signed_part(quote.header, quote.body).value()));
      });
    } else if (op == "BIND_KEY") {
      change(op, [](evidence::QuoteContent& quote) {
        const auto& signature = quote.signature;
        Digest64 data{};
        std::ranges::copy(crypto::sha256({signature.attestation_key, signature.qe_auth_data}), data.begin());
        quote.signature.qe_report.report_data = data;
      });
    } else if (op == "SIGN_QE_REPORT") {
      change(op, [](evidence::QuoteContent& quote) { quote.signature.qe_report_signature = own_platform().certify(quote.signature.qe_report); });
    } else if (op == "OWN_CHAIN") {
      change(op, [](evidence::QuoteContent& quote) { quote.signature.certification.data = to_bytes(own_platform().pck_chain()); });
    } else {
      return unknown_op(op, "QUOTE, PATCH, SIGN_QUOTE, BIND_KEY, SIGN_QE_REPORT, OWN_CHAIN, VERIFY");
    }
    return {};
  }

 private:
  void patch(std::uint64_t at, ByteView bytes) {
    const bool fits = at <= quote_.size() && bytes.size() <= quote_.size() - at;
    const auto was = fits ? codec::to_hex(ByteView{quote_}.subspan(at, bytes.size())) : std::string{};
    if (fits) std::ranges::copy(bytes, quote_.begin() + static_cast<std::ptrdiff_t>(at));
    log_.add("host", "PATCH", {{"at", hex_number(at)}, {"was", was}, {"is", codec::to_hex(bytes)}}, fits ? "success" : "outside of the quote");
  }

  template <class Change>
  void change(const std::string& op, const Change& apply) {
    const auto parsed = evidence::parse_quote(quote_);
    if (parsed) {
      auto content = parsed->content();
      apply(content);
      quote_ = evidence::encode_quote(content).value();
    }
    log_.add("host", op, {}, parsed ? "success" : parsed.error().text());
  }

  void verify() {
    const auto parsed = evidence::parse_quote(quote_);
    if (!parsed) return log_.add("verifier", "VERIFY", {}, parsed.error().text());
    const auto* body = parsed->sgx();
    if (body == nullptr) return log_.add("verifier", "VERIFY", {}, "not a quote of an enclave");
    const auto outcome = dcap::verify(*parsed, dcap::platform(), qe_->identity());
    const auto mrenclave = sgx::brief(body->mr_enclave);
    log_.add("verifier", "VERIFY", {{"mrenclave", mrenclave}, {"forged", mrenclave != genuine_}, {"failed", dcap::failed(outcome.report)}},
             outcome.evidence ? "authentic" : outcome.report.error()->text());
  }

  EventLog& log_;
  lab_sgx::Cpu cpu_;
  std::optional<lab_sgx::QuotingEnclave> qe_;
  std::string genuine_;
  Bytes quote_;
};

Result<void> replay(const Files& files, EventLog& log) {
  Forger forger{log};
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) { return forger.play(op, fields); });
}

bool only_failed(const EventLog& log, std::string_view check) {
  return happened(log, "VERIFY", "", {{"forged", "true"}, {"failed", check}});
}

constexpr Goal kGoals[] = {
    {"Another MRENCLAVE: only quote_signature fails", 2, [](const EventLog& log) { return only_failed(log, "quote_signature"); },
     "QUOTE, PATCH the 32 bytes of MRENCLAVE (at least its first four), VERIFY"},
    {"Signed with your key: only qe_report_data fails", 2, [](const EventLog& log) { return only_failed(log, "qe_report_data"); },
     "SIGN_QUOTE puts your attestation key and your signature into the quote; VERIFY again"},
    {"Your key bound by the QE report: only qe_report_signature fails", 3,
     [](const EventLog& log) { return only_failed(log, "qe_report_signature"); },
     "BIND_KEY writes SHA-256(key || authentication data) into the QE report's REPORTDATA; VERIFY again"},
    {"Everything yours, and consistent: what fails now is the chain alone", 3,
     [](const EventLog& log) {
       return any(log, [](const Event& e) {
         const auto failed = e.detail("failed");
         return e.op == "VERIFY" && e.detail("forged") == "true" && failed.starts_with("pck_chain") &&
                failed.find("signature") == std::string::npos && failed.find("qe_report") == std::string::npos;
       });
     },
     "SIGN_QE_REPORT with your own PCK key and bring the certificates for it (OWN_CHAIN); VERIFY again"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 2, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::forged_quote
