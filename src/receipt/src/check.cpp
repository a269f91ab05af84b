#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/policy/td.hpp"
#include "cloister/protocol/times.hpp"
#include "cloister/receipt/receipt.hpp"

namespace cloister::receipt {
namespace {

Error disagree(std::string_view what) { return Error{Errc::receipt_invalid, std::string{what} + " does not agree"}; }

/// That a leaf's detail is the SHA-256 of these bytes.
Result<void> holds_digest(const merkle::AuditLeaf& leaf, std::string_view name, ByteView bytes) {
  const auto* digest = leaf.detail<Bytes>(name);
  if (digest == nullptr || !same_bytes(*digest, crypto::sha256(bytes))) return disagree(name);
  return {};
}

Result<void> holds_text(const merkle::AuditLeaf& leaf, std::string_view name, std::string_view text) {
  const auto* value = leaf.detail<std::string>(name);
  if (value == nullptr || *value != text) return disagree(name);
  return {};
}

/// The leaf, once its place under the head is proved.
Result<merkle::AuditLeaf> proven_leaf(const ProvenLeaf& proven, const merkle::SignedHead& head, std::string_view kind,
                                      std::string_view subject) {
  CLOISTER_CHECK(merkle::verify_inclusion(proven.proof, merkle::leaf_hash(proven.leaf), head.head.root));
  CLOISTER_TRY(leaf, merkle::decode_audit_leaf(proven.leaf));
  if (leaf.kind != kind || leaf.subject != subject) return disagree(kind);
  return leaf;
}

class Checker {
 public:
  Checker(const Receipt& receipt, const policy::TrustFile& trust, const CheckOptions& options)
      : receipt_{receipt}, trust_{trust}, options_{options} {}

  Result<Verified> run() {
    CLOISTER_CHECK(check_head());
    CLOISTER_CHECK(check_appraisal_leaf());
    CLOISTER_CHECK(check_evidence());
    CLOISTER_CHECK(check_execution());
    CLOISTER_CHECK(check_opening());
    return std::move(out_);
  }

 private:
  void found(std::string what, std::string detail) { out_.findings.push_back({std::move(what), std::move(detail)}); }

  Result<void> check_head() {
    const bool trusted = std::ranges::any_of(trust_.audit_keys, [&](const ByteArray<32>& key) {
      return merkle::verify(receipt_.head, key).ok();
    });
    if (!trusted) {
      return Error{Errc::audit_key_not_trusted, "the audit head is not signed by a key of the trust file"};
    }
    if (receipt_.head.head.time > options_.now + protocol::kClockTolerance) {
      return Error{Errc::receipt_invalid, "the audit head is from the future: " + to_rfc3339(receipt_.head.head.time)};
    }
    found("audit head", "signed by a trusted key, " + std::to_string(receipt_.head.head.tree_size) + " leaves, " +
                            to_rfc3339(receipt_.head.head.time));
    return {};
  }

  Result<void> check_appraisal_leaf() {
    const auto& evidence = receipt_.evidence;
    CLOISTER_TRY(leaf, proven_leaf(receipt_.appraisal, receipt_.head, "appraisal.accepted", evidence.session.str()));
    CLOISTER_CHECK(holds_digest(leaf, "evidence", evidence.evidence));
    CLOISTER_CHECK(holds_digest(leaf, "event_log", evidence.event_log));
    CLOISTER_CHECK(holds_digest(leaf, "configuration", evidence.configuration));
    CLOISTER_CHECK(holds_digest(leaf, "preimage", evidence.preimage));
    CLOISTER_CHECK(holds_digest(leaf, "collateral", evidence.collateral));
    CLOISTER_CHECK(holds_text(leaf, "version", receipt_.job.version.str()));
    const auto* expires = leaf.detail<std::uint64_t>("expires");
    if (expires == nullptr || from_micros(static_cast<std::int64_t>(*expires)) != evidence.expires) {
      return disagree("expires");
    }
    if (leaf.time != evidence.appraised) return disagree("appraised");
    const auto* policy = leaf.detail<Bytes>("policy");
    if (policy == nullptr || policy->size() != out_.policy_digest.size()) return disagree("policy");
    out_.policy_digest = to_array<32>(*policy);
    out_.appraised = leaf.time;
    found("appraisal", "in the audit log since " + to_rfc3339(leaf.time) + ", by the policy sha256:" +
                           codec::to_hex(out_.policy_digest));
    return {};
  }

  Result<void> check_evidence() {
    const auto& shown = receipt_.evidence;
    const policy::TdSubmission submission{shown.evidence, shown.event_log, shown.configuration, shown.preimage};
    CLOISTER_TRY(td, policy::appraise_instance(submission, shown.collateral, trust_, receipt_.challenge.str(),
                                               receipt_.job.version.str(), out_.appraised));
    out_.lab = td.appraised().lab();
    result_key_ = *td.preimage().key(protocol::kResultUse, "ed25519");
    instance_ = *td.preimage().instance;
    image_digest_ = *td.configuration().image_digest;
    found("evidence", std::string{"authentic at that time, TCB "} +
                          std::string{attestation::to_string(td.appraised().tcb().status)} +
                          (out_.lab ? ", LAB ONLY - NOT HARDWARE" : ""));
    found("measurement", "MRTD, image and configuration are those of " + receipt_.challenge.str() + " " +
                             receipt_.job.version.str() + " in the trust file");
    return {};
  }

  Result<void> check_execution() {
    CLOISTER_CHECK(crypto::ed25519_verify(result_key_, receipt_.envelope, receipt_.signature));
    CLOISTER_TRY(e, protocol::decode_envelope(receipt_.envelope));
    const auto& job = receipt_.job;
    if (e.job != job.id || e.version != job.version || e.input_commitment != job.input_commitment) return disagree("job");
    if (e.session != receipt_.evidence.session || e.instance != instance_ || e.image_digest != image_digest_) {
      return disagree("session");
    }
    if (!protocol::within_session(e.started, e.finished, receipt_.evidence.appraised, receipt_.evidence.expires)) {
      return Error{Errc::receipt_invalid, "the result's times are not inside the session"};
    }
    CLOISTER_TRY(leaf, proven_leaf(receipt_.result, receipt_.head, "result.accepted", job.id.str()));
    CLOISTER_CHECK(holds_digest(leaf, "job", protocol::encode_job_record(job, receipt_.challenge)));
    CLOISTER_CHECK(holds_digest(leaf, "envelope", receipt_.envelope));
    CLOISTER_CHECK(holds_text(leaf, "session", e.session.str()));
    found("result", "signed by the key in the evidence, status " + e.status + ", finished " + to_rfc3339(e.finished));
    found("acceptance", "in the audit log since " + to_rfc3339(leaf.time));
    out_.envelope = std::move(e);
    return {};
  }

  Result<void> check_opening() {
    if (options_.output && !receipt_.opening) {
      return Error{Errc::invalid_argument, "only the client's copy of a receipt can be compared with an output"};
    }
    if (!receipt_.opening) return {};
    const auto key = crypto::Secret<32>::copy_of(*receipt_.opening);
    if (protocol::commitment_key_digest(key) != receipt_.job.commitment_key_digest) return disagree("opening");
    if (!options_.output) return {};
    const auto& e = out_.envelope;
    if (protocol::output_commitment(key, e.job, e.version, e.status, *options_.output) != e.output_commitment) {
      return Error{Errc::output_commitment_mismatch, "this output is not the one that was committed to"};
    }
    found("output", "is the one that was committed to");
    return {};
  }

  const Receipt& receipt_;
  const policy::TrustFile& trust_;
  const CheckOptions& options_;
  crypto::Ed25519Public result_key_{};
  InstanceId instance_;
  Digest32 image_digest_{};
  Verified out_;
};

}  // namespace

Result<Verified> check(const Receipt& receipt, const policy::TrustFile& trust, const CheckOptions& options) {
  return Checker{receipt, trust, options}.run();
}

}  // namespace cloister::receipt
