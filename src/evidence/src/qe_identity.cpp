#include "cloister/evidence/qe_identity.hpp"

#include "cloister/codec/cursor.hpp"
#include "documents.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;
namespace docs = documents;

constexpr std::string_view kMember = "enclaveIdentity";

EnclaveId enclave_id(json::Fields& fields) {
  const auto text = fields.string("id");
  if (text == "TD_QE") return EnclaveId::td_qe;
  if (text != "QE") fields.fail(Errc::malformed, "id", "QE or TD_QE expected");
  return EnclaveId::qe;
}

std::uint32_t misc(json::Fields& fields, std::string_view name) {
  const auto bytes = fields.hex_array<4>(name);
  return codec::Reader{bytes}.u32le().value_or(0);
}

std::string misc_text(std::uint32_t value) {
  codec::Writer out;
  out.u32le(value);
  return docs::upper_hex(out.bytes());
}

}  // namespace

namespace documents {

Result<QeIdentity> read_qe_identity(const json::Value& body) {
  json::Fields fields{body, std::string{kMember}};
  QeIdentity out;
  out.version = static_cast<std::uint32_t>(fields.integer("version", 2, 2));
  out.id = enclave_id(fields);
  out.issue_date = time(fields, "issueDate");
  out.next_update = time(fields, "nextUpdate");
  out.tcb_evaluation_data_number =
      static_cast<std::uint32_t>(fields.integer("tcbEvaluationDataNumber", 0, UINT32_MAX));
  out.misc_select = misc(fields, "miscselect");
  out.misc_select_mask = misc(fields, "miscselectMask");
  out.attributes = fields.hex_array<16>("attributes");
  out.attributes_mask = fields.hex_array<16>("attributesMask");
  out.mr_signer = fields.hex_array<32>("mrsigner");
  out.isv_prod_id = static_cast<std::uint16_t>(fields.integer("isvprodid", 0, 0xFFFF));
  out.levels = isv_levels(fields);
  if (const auto done = fields.finish_lenient(); !done) return refused(done.error(), "QE identity");
  return out;
}

}  // namespace documents

std::string_view to_string(EnclaveId id) noexcept {
  switch (id) {
    case EnclaveId::qe: return "QE";
    case EnclaveId::td_qe: return "TD_QE";
  }
  return "unknown";
}

Result<SignedQeIdentity> parse_qe_identity(std::string_view envelope) {
  CLOISTER_TRY(opened, docs::open_envelope(envelope, kMember));
  CLOISTER_TRY(identity, docs::read_qe_identity(opened.value));
  return SignedQeIdentity{std::move(identity), HashedText{std::move(opened.body)}, opened.signature};
}

Result<QeIdentity> parse_qe_identity_body(std::string_view body) {
  CLOISTER_TRY(value, docs::parse_text(body, kMember));
  return docs::read_qe_identity(value);
}

std::string write_qe_identity_body(const QeIdentity& identity) {
  json::Object out;
  out.emplace_back("id", to_string(identity.id));
  out.emplace_back("version", identity.version);
  out.emplace_back("issueDate", to_rfc3339(identity.issue_date));
  out.emplace_back("nextUpdate", to_rfc3339(identity.next_update));
  out.emplace_back("tcbEvaluationDataNumber", identity.tcb_evaluation_data_number);
  out.emplace_back("miscselect", misc_text(identity.misc_select));
  out.emplace_back("miscselectMask", misc_text(identity.misc_select_mask));
  out.emplace_back("attributes", docs::upper_hex(identity.attributes));
  out.emplace_back("attributesMask", docs::upper_hex(identity.attributes_mask));
  out.emplace_back("mrsigner", docs::upper_hex(identity.mr_signer));
  out.emplace_back("isvprodid", static_cast<std::int64_t>(identity.isv_prod_id));
  out.emplace_back("tcbLevels", docs::write_isv_levels(identity.levels));
  return json::write(json::Value{std::move(out)});
}

std::string write_qe_identity(std::string_view body, const ByteArray<64>& signature) {
  return docs::write_envelope(kMember, body, signature);
}

}  // namespace cloister::evidence
