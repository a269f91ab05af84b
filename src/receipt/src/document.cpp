// The JSON form of receipts.
#include "cloister/codec/text.hpp"
#include "cloister/receipt/receipt.hpp"

namespace cloister::receipt {
namespace {

namespace json = codec::json;
using json::Array;
using json::Fields;
using json::Object;
using json::Value;

constexpr json::Limits kLimits{.bytes = kMaxReceiptSize, .depth = 8, .values = 4096};
constexpr std::size_t kMaxProof = 63;

template <class Name>
Name id(Fields& fields, std::string_view member) {
  auto parsed = Name::parse(fields.string(member));
  if (parsed) return *std::move(parsed);
  if (!fields.failed()) fields.fail(parsed.error().code(), member, parsed.error().detail());
  return {};
}

UnixTime time(Fields& fields, std::string_view member) {
  const auto text = fields.string(member);
  if (fields.failed()) return {};
  auto parsed = parse_rfc3339(text);
  // One spelling for each time, so that no character can change unnoticed.
  if (!parsed || to_rfc3339(*parsed) != text) fields.fail(Errc::malformed, member, "RFC 3339, UTC, shortest form expected");
  return parsed ? *parsed : UnixTime{};
}

/// Digests have one spelling: lower case.
template <std::size_t N>
ByteArray<N> digest(Fields& fields, std::string_view member) {
  const auto value = fields.hex_array<N>(member);
  if (!fields.failed() && codec::to_hex(value) != fields.string(member)) {
    fields.fail(Errc::malformed, member, "lower-case hex expected");
  }
  return value;
}

Value proven(const ProvenLeaf& leaf) {
  Array path;
  for (const auto& hash : leaf.proof.path) path.emplace_back(codec::to_hex(hash));
  return Object{{"leaf", codec::to_base64(leaf.leaf)},
                {"index", leaf.proof.leaf_index},
                {"path", std::move(path)}};
}

Result<ProvenLeaf> parse_proven(const Value& value, std::string_view where, std::uint64_t tree_size) {
  Fields fields{value, std::string{where}};
  ProvenLeaf out;
  out.leaf = fields.base64("leaf");
  out.proof.leaf_index = static_cast<std::uint64_t>(fields.integer("index", 0));
  out.proof.tree_size = tree_size;
  const auto& path = fields.array("path");
  if (path.size() > kMaxProof) fields.fail(Errc::limit_exceeded, "path", "at most 63 hashes");
  for (const auto& item : path) {
    if (fields.failed()) break;
    const auto* text = item.as_string();
    auto hash = codec::array_from_hex<32>(text == nullptr ? "" : *text);
    if (!hash || codec::to_hex(*hash) != *text) fields.fail(Errc::malformed, "path", "64 lower-case hex digits expected");
    else out.proof.path.push_back(*hash);
  }
  CLOISTER_CHECK(fields.finish());
  return out;
}

Value head_json(const merkle::SignedHead& head) {
  return Object{{"log", head.head.log_id},
                {"size", head.head.tree_size},
                {"root", codec::to_hex(head.head.root)},
                {"time", to_rfc3339(head.head.time)},
                {"signature", codec::to_hex(head.signature)}};
}

Result<merkle::SignedHead> parse_head(const Value& value) {
  Fields fields{value, "audit.head"};
  merkle::SignedHead out;
  out.head.log_id = fields.string("log");
  out.head.tree_size = static_cast<std::uint64_t>(fields.integer("size", 1));
  out.head.root = digest<32>(fields, "root");
  out.head.time = time(fields, "time");
  out.signature = digest<64>(fields, "signature");
  CLOISTER_CHECK(fields.finish());
  return out;
}

Value job_json(const model::Job& job, const ChallengeId& challenge) {
  return Object{{"id", job.id.str()},
                {"tenant", job.tenant.str()},
                {"version", job.version.str()},
                {"challenge", challenge.str()},
                {"request_hash", codec::to_hex(job.request_hash)},
                {"salt", codec::to_hex(job.salt)},
                {"input_commitment", codec::to_hex(job.input_commitment)},
                {"commitment_key_digest", codec::to_hex(job.commitment_key_digest)},
                {"ciphertext_digest", codec::to_hex(job.ciphertext_digest)},
                {"submitted", to_rfc3339(job.submitted)},
                {"deadline", to_rfc3339(job.deadline)}};
}

Result<void> parse_job(const Value& value, Receipt& out) {
  Fields fields{value, "job"};
  auto& job = out.job;
  job.id = id<JobId>(fields, "id");
  job.tenant = id<TenantId>(fields, "tenant");
  job.version = id<VersionId>(fields, "version");
  out.challenge = id<ChallengeId>(fields, "challenge");
  job.request_hash = digest<32>(fields, "request_hash");
  job.salt = digest<32>(fields, "salt");
  job.input_commitment = digest<32>(fields, "input_commitment");
  job.commitment_key_digest = digest<32>(fields, "commitment_key_digest");
  job.ciphertext_digest = digest<32>(fields, "ciphertext_digest");
  job.submitted = time(fields, "submitted");
  job.deadline = time(fields, "deadline");
  return fields.finish();
}

Result<void> parse_evidence(const Value& value, Receipt& out) {
  Fields fields{value, "evidence"};
  auto& evidence = out.evidence;
  evidence.evidence = fields.base64("evidence");
  evidence.event_log = fields.base64("event_log");
  evidence.configuration = fields.base64("configuration");
  evidence.preimage = fields.base64("preimage");
  evidence.collateral = fields.base64("collateral");
  evidence.session = id<SessionId>(fields, "session");
  evidence.appraised = time(fields, "appraised");
  evidence.expires = time(fields, "expires");
  return fields.finish();
}


Result<Receipt> parse(const Value& value) {
  Fields fields{value, "receipt"};
  Receipt out;
  const auto format = fields.string("format");
  if (!fields.failed() && format != kFormat) fields.fail(Errc::unsupported, "format", std::string{kFormat} + " expected");
  const auto& job = fields.object("job");
  const auto& result = fields.object("result");
  const auto& evidence = fields.object("evidence");
  const auto& audit = fields.object("audit");
  const auto* opening = fields.optional_object("opening");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_CHECK(parse_job(job, out));
  CLOISTER_CHECK(parse_evidence(evidence, out));

  Fields result_fields{result, "result"};
  out.envelope = result_fields.base64("envelope");
  out.signature = digest<64>(result_fields, "signature");
  CLOISTER_CHECK(result_fields.finish());

  Fields audit_fields{audit, "audit"};
  const auto& head = audit_fields.object("head");
  const auto& appraisal_leaf = audit_fields.object("appraisal");
  const auto& result_leaf = audit_fields.object("result");
  CLOISTER_CHECK(audit_fields.finish());
  CLOISTER_TRY(parsed_head, parse_head(head));
  out.head = std::move(parsed_head);
  CLOISTER_TRY(parsed_appraisal, parse_proven(appraisal_leaf, "audit.appraisal", out.head.head.tree_size));
  out.appraisal = std::move(parsed_appraisal);
  CLOISTER_TRY(parsed_result, parse_proven(result_leaf, "audit.result", out.head.head.tree_size));
  out.result = std::move(parsed_result);

  if (opening != nullptr) {
    Fields opening_fields{*opening, "opening"};
    out.opening = digest<32>(opening_fields, "commitment_key");
    CLOISTER_CHECK(opening_fields.finish());
  }
  return out;
}

}  // namespace

Value to_json(const Receipt& receipt) {
  Object out{{"format", kFormat},
             {"job", job_json(receipt.job, receipt.challenge)},
             {"result",
              Object{{"envelope", codec::to_base64(receipt.envelope)}, {"signature", codec::to_hex(receipt.signature)}}},
             {"evidence", model::to_json(receipt.evidence)},
             {"audit", Object{{"head", head_json(receipt.head)},
                              {"appraisal", proven(receipt.appraisal)},
                              {"result", proven(receipt.result)}}}};
  if (receipt.opening) out.emplace_back("opening", Object{{"commitment_key", codec::to_hex(*receipt.opening)}});
  return out;
}

Result<Receipt> parse_receipt(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return Error{Errc::receipt_invalid, value.error().text()};
  auto receipt = parse(*value);
  if (!receipt) return Error{Errc::receipt_invalid, receipt.error().text()};
  return receipt;
}

}  // namespace cloister::receipt
