#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/merkle/tree.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/model/job.hpp"
#include "cloister/policy/trust_file.hpp"
#include "cloister/protocol/job.hpp"

/// Receipts (docs/protocol/jobs.md, "Receipt"). Pure; thread-safe.
namespace cloister::receipt {

inline constexpr std::string_view kFormat = "cloister/receipt/1";
inline constexpr std::size_t kMaxReceiptSize = 32U << 20;

/// An audit leaf and where it stands.
struct ProvenLeaf {
  Bytes leaf;  // encoded merkle::AuditLeaf
  merkle::InclusionProof proof;
};

struct Receipt {
  model::Job job;  // as it was when the result was accepted; only its record (protocol::encode_job_record) counts
  ChallengeId challenge;
  Bytes envelope;
  ByteArray<64> signature{};
  model::InstanceEvidence evidence;
  ProvenLeaf appraisal;
  ProvenLeaf result;
  merkle::SignedHead head;
  /// The client's copy only: the commitment key C.
  std::optional<ByteArray<32>> opening;
};

[[nodiscard]] codec::json::Value to_json(const Receipt& receipt);
/// Strict: `receipt_invalid` with the member.
[[nodiscard]] Result<Receipt> parse_receipt(std::string_view json);

/// One thing that was checked, for people.
struct Finding {
  std::string what;
  std::string detail;
};
/// What a receipt proves.
struct Verified {
  protocol::Envelope envelope;
  UnixTime appraised{};
  Digest32 policy_digest{};  // of the policy that the server appraised by, as its audit leaf names it
  bool lab = false;
  std::vector<Finding> findings;  // in the order in which they were checked
};

struct CheckOptions {
  /// The plaintext output that somebody claims to be the result: compared with the commitment (needs the opening).
  std::optional<Bytes> output;
  /// The latest time that the receipt's own times may have: the caller's clock.
  UnixTime now{};
};
/// Checks the whole chain against what the caller trusts. The error is the first link that does not hold:
/// `audit_key_not_trusted`, `signature_invalid`, `proof_invalid`, `receipt_invalid` where two parts of it do not agree,
/// the appraisal's own codes, `output_commitment_mismatch`.
[[nodiscard]] Result<Verified> check(const Receipt& receipt, const policy::TrustFile& trust, const CheckOptions& options);

}  // namespace cloister::receipt
