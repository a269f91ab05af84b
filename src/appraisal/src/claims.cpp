#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::appraisal {
namespace {

namespace json = codec::json;

json::Value hex(ByteView bytes) { return json::Value{codec::to_hex(bytes)}; }

/// A number as it stands in the quote, little-endian.
template <std::size_t N>
json::Value little_endian(std::uint64_t value) {
  ByteArray<N> bytes{};
  for (std::size_t i = 0; i < N; ++i) bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
  return hex(bytes);
}

bool bit(std::uint64_t value, unsigned index) { return (value >> index & 1) != 0; }

constexpr std::uint64_t kEcdsaP256 = 2;  // attestation key type, the only one that verifies

json::Object header_of(const evidence::QuoteHeader& header) {
  return {{"version", little_endian<2>(header.version)}, {"att_key_type", little_endian<2>(kEcdsaP256)}};
}

json::Object tdx_header(const evidence::QuoteHeader& header) {
  auto out = header_of(header);
  out.emplace_back("tee_type", little_endian<4>(static_cast<std::uint32_t>(header.tee)));
  out.emplace_back("reserved", little_endian<4>(header.qe_svn | std::uint64_t{header.pce_svn} << 16));
  out.emplace_back("vendor_id", hex(header.qe_vendor_id));
  out.emplace_back("user_data", hex(header.user_data));
  return out;
}

json::Object sgx_header(const evidence::QuoteHeader& header) {
  auto out = header_of(header);
  out.emplace_back("att_key_data_0", little_endian<4>(static_cast<std::uint32_t>(header.tee)));
  out.emplace_back("qe_svn", little_endian<2>(header.qe_svn));
  out.emplace_back("pce_svn", little_endian<2>(header.pce_svn));
  out.emplace_back("vendor_id", hex(header.qe_vendor_id));
  out.emplace_back("user_data", hex(header.user_data));
  return out;
}

json::Object tdx_body(const evidence::TdBody& td) {
  json::Object out{{"tcb_svn", hex(td.tee_tcb_svn)},
                   {"mr_seam", hex(td.mr_seam)},
                   {"mrsigner_seam", hex(td.mr_signer_seam)},
                   {"seam_attributes", hex(td.seam_attributes)},
                   {"td_attributes", little_endian<8>(td.td_attributes)},
                   {"xfam", little_endian<8>(td.xfam)},
                   {"mr_td", hex(td.mr_td)},
                   {"mr_config_id", hex(td.mr_config_id)},
                   {"mr_owner", hex(td.mr_owner)},
                   {"mr_owner_config", hex(td.mr_owner_config)}};
  for (std::size_t i = 0; i < td.rtmr.size(); ++i) out.emplace_back("rtmr_" + std::to_string(i), hex(td.rtmr[i]));
  out.emplace_back("report_data", hex(td.report_data));
  if (td.v15) {
    out.emplace_back("tee_tcb_svn2", hex(td.v15->tee_tcb_svn2));
    out.emplace_back("mr_servicetd", hex(td.v15->mr_service_td));
  }
  return out;
}

json::Object td_attributes(std::uint64_t attributes) {
  return {{"debug", bit(attributes, 0)},
          {"other_debug", (attributes & 0xFE) != 0},  // ours: the rest of TDATTRIBUTES.TUD
          {"septve_disable", bit(attributes, 28)},
          {"migratable", bit(attributes, 29)},        // ours
          {"protection_keys", bit(attributes, 30)},
          {"key_locker", bit(attributes, 31)},
          {"perfmon", bit(attributes, 63)}};
}

json::Object sgx_body(const evidence::SgxReport& r) {
  return {{"cpu_svn", hex(r.cpu_svn)},
          {"misc_select", little_endian<4>(r.misc_select)},
          {"reserved1", hex(r.reserved1)},
          {"isv_ext_prod_id", hex(r.isv_ext_prod_id)},
          {"attributes.flags", little_endian<8>(r.flags())},
          {"attributes.xfrm", little_endian<8>(r.xfrm())},
          {"mr_enclave", hex(r.mr_enclave)},
          {"reserved2", hex(r.reserved2)},
          {"mr_signer", hex(r.mr_signer)},
          {"reserved3", hex(r.reserved3)},
          {"config_id", hex(r.config_id)},
          {"isv_prod_id", little_endian<2>(r.isv_prod_id)},
          {"isv_svn", little_endian<2>(r.isv_svn)},
          {"config_svn", little_endian<2>(r.config_svn)},
          {"reserved4", hex(r.reserved4)},
          {"isv_family_id", hex(r.isv_family_id)},
          {"report_data", hex(r.report_data)}};
}

json::Value number(std::uint64_t value) { return json::Value{static_cast<std::int64_t>(value)}; }

json::Object snp_claims(const attestation::SnpClaims& claims) {
  namespace policy = evidence::snp_policy;
  namespace platform = evidence::snp_platform;
  const auto& r = claims.report;
  const auto in_policy = [&r](std::uint64_t mask) { return json::Value{(r.policy & mask) != 0}; };
  const auto on_platform = [&r](std::uint64_t mask) { return json::Value{(r.platform_info & mask) != 0}; };
  const auto tcb = evidence::snp_tcb(r.reported_tcb, *claims.product);
  json::Object out{{"measurement", hex(r.measurement)},
                   {"report_data", hex(r.report_data)},
                   {"init_data", hex(r.host_data)},
                   {"policy_abi_major", number(r.policy >> 8 & 0xFF)},
                   {"policy_abi_minor", number(r.policy & 0xFF)},
                   {"policy_smt_allowed", in_policy(policy::kSmt)},
                   {"policy_migrate_ma", in_policy(policy::kMigrateMa)},
                   {"policy_debug_allowed", in_policy(policy::kDebug)},
                   {"policy_single_socket", in_policy(policy::kSingleSocket)},
                   {"platform_smt_enabled", on_platform(platform::kSmt)},
                   {"platform_tsme_enabled", on_platform(platform::kTsme)},
                   {"reported_tcb_bootloader", number(tcb.bootloader)},
                   {"reported_tcb_tee", number(tcb.tee)},
                   {"reported_tcb_snp", number(tcb.snp)},
                   {"reported_tcb_microcode", number(tcb.microcode)}};
  // Ours, under the names of `cloister verify`.
  if (tcb.fmc) out.emplace_back("reported_tcb_fmc", number(*tcb.fmc));
  out.emplace_back("platform_alias_check_complete", on_platform(platform::kAliasCheckComplete));
  out.emplace_back("product", evidence::to_string(*claims.product));
  out.emplace_back("signing_key", evidence::to_string(*r.signing_key));
  out.emplace_back("version", number(r.version));
  out.emplace_back("vmpl", number(r.vmpl));
  out.emplace_back("guest_svn", number(r.guest_svn));
  out.emplace_back("family_id", hex(r.family_id));
  out.emplace_back("image_id", hex(r.image_id));
  out.emplace_back("id_key_digest", hex(r.id_key_digest));
  out.emplace_back("author_key_digest", hex(r.author_key_digest));
  out.emplace_back("chip_id", hex(r.chip_id));
  return out;
}

/// What the collateral says, which is current: authentic evidence has no other.
void add_tcb(json::Object& out, const attestation::AuthenticEvidence& evidence) {
  const auto& tcb = evidence.tcb();
  json::Array advisories;
  for (const auto& id : tcb.advisory_ids) advisories.emplace_back(id);
  out.emplace_back("tcb_status", attestation::to_string(tcb.status));
  out.emplace_back("tcb_date", tcb.tcb_date ? json::Value{to_rfc3339(*tcb.tcb_date)} : json::Value{});
  out.emplace_back("advisory_ids", std::move(advisories));
  out.emplace_back("collateral_expiration_status", "0");
  out.emplace_back("tcb_evaluation_data_number", tcb.tcb_info_number);  // ours
}

/// Ours: which machine it is, as its PCK certificate says.
json::Object platform_of(const evidence::PckExtension& pck) {
  json::Object out{{"ppid", hex(pck.ppid)}, {"fmspc", hex(pck.fmspc)}, {"pce_id", hex(pck.pce_id)}};
  if (pck.platform_instance_id) out.emplace_back("platform_instance_id", hex(*pck.platform_instance_id));
  return out;
}

}  // namespace

json::Value claims_of(const attestation::AuthenticEvidence& evidence) {
  const auto& claims = evidence.claims();
  json::Object of_tee;
  std::string_view tee;
  if (const auto* td = claims.td()) {
    tee = "tdx";
    of_tee.emplace_back("quote", json::Object{{"header", tdx_header(claims.dcap()->header)}, {"body", tdx_body(*td)}});
    of_tee.emplace_back("td_attributes", td_attributes(td->td_attributes));
  } else if (const auto* enclave = claims.sgx()) {
    tee = "sgx";
    of_tee.emplace_back("header", sgx_header(claims.dcap()->header));
    of_tee.emplace_back("body", sgx_body(*enclave));
    of_tee.emplace_back("attributes", json::Object{{"debug", enclave->debug()}});  // ours
  } else {
    CLOISTER_ASSERT(claims.snp() != nullptr);
    tee = "snp";
    of_tee = snp_claims(*claims.snp());
  }
  if (const auto* dcap = claims.dcap()) {
    add_tcb(of_tee, evidence);
    of_tee.emplace_back("platform", platform_of(*dcap->platform));  // which authentic evidence always has
  }
  of_tee.emplace_back("lab", evidence.lab());  // ours
  return json::Value{json::Object{{std::string{tee}, std::move(of_tee)}, {"report_data", hex(claims.report_data())}}};
}

}  // namespace cloister::appraisal
