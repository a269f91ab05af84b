#include "cloister/verdict/json.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::verdict {
namespace {

namespace json = codec::json;

json::Value hex(ByteView bytes) { return json::Value{codec::to_hex(bytes)}; }
json::Value number(std::uint64_t value) { return json::Value{value}; }
json::Value time(UnixTime at) { return json::Value{to_rfc3339(at)}; }

/// A register of bits, as people read it.
json::Value bits(std::uint64_t value) {
  ByteArray<8> big_endian;
  for (std::size_t i = 0; i < 8; ++i) big_endian[i] = static_cast<std::uint8_t>(value >> (56 - 8 * i));
  return json::Value{"0x" + codec::to_hex(big_endian)};
}

json::Value text_of(const evidence::SnpFirmwareVersion& v) {
  return json::Value{std::to_string(v.major) + '.' + std::to_string(v.minor) + '.' + std::to_string(v.build)};
}

json::Value texts(const std::vector<std::string>& list) {
  json::Array out;
  for (const auto& text : list) out.emplace_back(text);
  return json::Value{std::move(out)};
}

json::Value name_of(const std::optional<attestation::TcbStatus>& status) {
  return status ? json::Value{attestation::to_string(*status)} : json::Value{};
}

json::Value optional_flag(const std::optional<bool>& flag) { return flag ? json::Value{*flag} : json::Value{}; }

std::string_view name_of(evidence::SgxType type) {
  switch (type) {
    case evidence::SgxType::standard: return "standard";
    case evidence::SgxType::scalable: return "scalable";
    case evidence::SgxType::scalable_with_integrity: return "scalable-with-integrity";
  }
  return "unknown";
}

json::Value svns(const evidence::TcbComponents& components) {
  json::Array out;
  for (const auto& component : components) out.emplace_back(std::int64_t{component.svn});
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::IsvTcbLevel& level) {
  return json::Value{json::Object{{"isv_svn", number(level.isv_svn)},
                                  {"tcb_date", time(level.tcb_date)},
                                  {"status", evidence::to_string(level.status)},
                                  {"advisory_ids", texts(level.advisory_ids)}}};
}

json::Value to_json(const std::vector<evidence::IsvTcbLevel>& levels) {
  json::Array out;
  for (const auto& level : levels) out.push_back(to_json(level));
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::TdxModule& module) {
  return json::Value{json::Object{{"mr_signer", hex(module.mr_signer)},
                                  {"attributes", hex(module.attributes)},
                                  {"attributes_mask", hex(module.attributes_mask)}}};
}

json::Value to_json(const evidence::TcbLevel& level) {
  json::Object out{{"sgx_components", svns(level.sgx)}, {"pce_svn", number(level.pce_svn)}};
  if (level.tdx) out.emplace_back("tdx_components", svns(*level.tdx));
  out.emplace_back("tcb_date", time(level.tcb_date));
  out.emplace_back("status", evidence::to_string(level.status));
  out.emplace_back("advisory_ids", texts(level.advisory_ids));
  return json::Value{std::move(out)};
}

std::string_view name_of(crypto::x509::SignatureAlgorithm algorithm) {
  using enum crypto::x509::SignatureAlgorithm;
  switch (algorithm) {
    case ecdsa_sha256: return "ecdsa-sha256";
    case ecdsa_sha384: return "ecdsa-sha384";
    case rsa_pss_sha384: return "rsa-pss-sha384";
    case rsa_pkcs1_sha256: return "rsa-pkcs1-sha256";
    case rsa_pkcs1_sha384: return "rsa-pkcs1-sha384";
    case other: return "other";
  }
  return "other";
}

void add_td15(json::Object& out, const evidence::TdBody15& v15) {
  out.emplace_back("tee_tcb_svn2", hex(v15.tee_tcb_svn2));
  out.emplace_back("mr_service_td", hex(v15.mr_service_td));
  if (!v15.ex) return;
  out.emplace_back("vm_id", number(v15.ex->vm_id));
  out.emplace_back("td_id", hex(v15.ex->td_id));
  out.emplace_back("device_info", hex(v15.ex->device_info));
  out.emplace_back("init_servtd_hash", hex(v15.ex->init_servtd_hash));
  out.emplace_back("init_servtd_attributes", hex(v15.ex->init_servtd_attributes));
  out.emplace_back("init_cpu_svn", hex(v15.ex->init_cpu_svn));
  out.emplace_back("init_tee_tcb_svn", hex(v15.ex->init_tee_tcb_svn));
  out.emplace_back("init_tee_fmspc", hex(v15.ex->init_tee_fmspc));
  out.emplace_back("current_servtd_hash", hex(v15.ex->current_servtd_hash));
  out.emplace_back("current_servtd_attributes", hex(v15.ex->current_servtd_attributes));
}

}  // namespace

json::Value to_json(const evidence::SgxReport& r) {
  return json::Value{json::Object{{"mr_enclave", hex(r.mr_enclave)},
                                  {"mr_signer", hex(r.mr_signer)},
                                  {"isv_prod_id", number(r.isv_prod_id)},
                                  {"isv_svn", number(r.isv_svn)},
                                  {"cpu_svn", hex(r.cpu_svn)},
                                  {"misc_select", number(r.misc_select)},
                                  {"attributes", bits(r.flags())},
                                  {"xfrm", bits(r.xfrm())},
                                  {"isv_ext_prod_id", hex(r.isv_ext_prod_id)},
                                  {"isv_family_id", hex(r.isv_family_id)},
                                  {"config_id", hex(r.config_id)},
                                  {"config_svn", number(r.config_svn)},
                                  {"report_data", hex(r.report_data)}}};
}

json::Value to_json(const evidence::TdBody& td) {
  json::Object out{{"mrtd", hex(td.mr_td)}};
  for (std::size_t i = 0; i < td.rtmr.size(); ++i) out.emplace_back("rtmr" + std::to_string(i), hex(td.rtmr[i]));
  out.emplace_back("mr_config_id", hex(td.mr_config_id));
  out.emplace_back("mr_owner", hex(td.mr_owner));
  out.emplace_back("mr_owner_config", hex(td.mr_owner_config));
  out.emplace_back("td_attributes", bits(td.td_attributes));
  out.emplace_back("xfam", bits(td.xfam));
  out.emplace_back("mr_seam", hex(td.mr_seam));
  out.emplace_back("mr_signer_seam", hex(td.mr_signer_seam));
  out.emplace_back("seam_attributes", hex(td.seam_attributes));
  out.emplace_back("tee_tcb_svn", hex(td.tee_tcb_svn));
  if (td.v15) add_td15(out, *td.v15);
  out.emplace_back("report_data", hex(td.report_data));
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::PckExtension& e) {
  json::Object out{{"fmspc", hex(e.fmspc)},           {"pce_id", hex(e.pce_id)},
                   {"ppid", hex(e.ppid)},             {"components", hex(e.components)},
                   {"pce_svn", number(e.pce_svn)},    {"cpu_svn", hex(e.cpu_svn)},
                   {"sgx_type", name_of(e.sgx_type)}};
  if (e.platform_instance_id) out.emplace_back("platform_instance_id", hex(*e.platform_instance_id));
  if (e.configuration) {
    out.emplace_back("dynamic_platform", optional_flag(e.configuration->dynamic_platform));
    out.emplace_back("cached_keys", optional_flag(e.configuration->cached_keys));
    out.emplace_back("smt_enabled", optional_flag(e.configuration->smt_enabled));
  }
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::VekExtension& e) {
  json::Object out{{"kind", evidence::to_string(e.kind())},
                   {"product_name", e.product_name},
                   {"struct_version", number(e.struct_version)},
                   {"bootloader", number(e.bootloader)},
                   {"tee", number(e.tee)},
                   {"snp", number(e.snp)},
                   {"microcode", number(e.microcode)}};
  if (e.fmc) out.emplace_back("fmc", number(*e.fmc));
  if (e.hwid) out.emplace_back("hwid", hex(*e.hwid));
  if (e.csp_id) out.emplace_back("csp_id", *e.csp_id);
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::SnpReportBody& r, std::optional<evidence::SnpProduct> product) {
  namespace policy = evidence::snp_policy;
  namespace platform = evidence::snp_platform;
  const auto in_policy = [&r](std::uint64_t bit) { return json::Value{(r.policy & bit) != 0}; };
  const auto on_platform = [&r](std::uint64_t bit) { return json::Value{(r.platform_info & bit) != 0}; };
  json::Object out{{"measurement", hex(r.measurement)},
                   {"report_data", hex(r.report_data)},
                   {"init_data", hex(r.host_data)},
                   {"version", number(r.version)},
                   {"guest_svn", number(r.guest_svn)},
                   {"vmpl", number(r.vmpl)},
                   {"family_id", hex(r.family_id)},
                   {"image_id", hex(r.image_id)},
                   {"policy", bits(r.policy)},
                   {"policy_abi_major", number((r.policy >> 8) & 0xFF)},
                   {"policy_abi_minor", number(r.policy & 0xFF)},
                   {"policy_smt_allowed", in_policy(policy::kSmt)},
                   {"policy_migrate_ma", in_policy(policy::kMigrateMa)},
                   {"policy_debug_allowed", in_policy(policy::kDebug)},
                   {"policy_single_socket", in_policy(policy::kSingleSocket)},
                   {"policy_cxl_allowed", in_policy(policy::kCxl)},
                   {"policy_mem_aes_256_xts", in_policy(policy::kMemAes256)},
                   {"policy_rapl_disabled", in_policy(policy::kRaplDisabled)},
                   {"policy_ciphertext_hiding", in_policy(policy::kCiphertextHiding)},
                   {"policy_page_swap_disabled", in_policy(policy::kPageSwapDisabled)},
                   {"platform_info", bits(r.platform_info)},
                   {"platform_smt_enabled", on_platform(platform::kSmt)},
                   {"platform_tsme_enabled", on_platform(platform::kTsme)},
                   {"platform_ecc_enabled", on_platform(platform::kEcc)},
                   {"platform_rapl_disabled", on_platform(platform::kRaplDisabled)},
                   {"platform_ciphertext_hiding", on_platform(platform::kCiphertextHiding)},
                   {"platform_alias_check_complete", on_platform(platform::kAliasCheckComplete)},
                   {"platform_tio_enabled", on_platform(platform::kTio)}};
  if (product) {
    const auto tcb = evidence::snp_tcb(r.reported_tcb, *product);
    out.emplace_back("reported_tcb_bootloader", number(tcb.bootloader));
    out.emplace_back("reported_tcb_tee", number(tcb.tee));
    out.emplace_back("reported_tcb_snp", number(tcb.snp));
    out.emplace_back("reported_tcb_microcode", number(tcb.microcode));
    if (tcb.fmc) out.emplace_back("reported_tcb_fmc", number(*tcb.fmc));
  }
  out.emplace_back("reported_tcb", hex(r.reported_tcb));
  out.emplace_back("current_tcb", hex(r.current_tcb));
  out.emplace_back("committed_tcb", hex(r.committed_tcb));
  out.emplace_back("launch_tcb", hex(r.launch_tcb));
  out.emplace_back("current_version", text_of(r.current_version));
  out.emplace_back("committed_version", text_of(r.committed_version));
  out.emplace_back("signing_key", r.signing_key ? json::Value{evidence::to_string(*r.signing_key)} : json::Value{"none"});
  out.emplace_back("chip_key_masked", r.chip_key_masked);
  out.emplace_back("author_key_enabled", r.author_key_enabled);
  out.emplace_back("id_key_digest", hex(r.id_key_digest));
  out.emplace_back("author_key_digest", hex(r.author_key_digest));
  out.emplace_back("report_id", hex(r.report_id));
  out.emplace_back("report_id_ma", hex(r.report_id_ma));
  out.emplace_back("chip_id", hex(r.chip_id));
  if (r.cpuid) {
    out.emplace_back("cpuid", json::Object{{"family", number(r.cpuid->family)},
                                           {"model", number(r.cpuid->model)},
                                           {"stepping", number(r.cpuid->stepping)}});
  }
  if (product) out.emplace_back("product", evidence::to_string(*product));
  if (r.mitigations) {
    out.emplace_back("launch_mitigations", bits(r.mitigations->launch));
    out.emplace_back("current_mitigations", bits(r.mitigations->current));
  }
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::SnpReport& report) {
  return json::Value{json::Object{{"kind", "snp-report"},
                                  {"format", format_name(report.body())},
                                  {"tee", "snp"},
                                  {"body", to_json(report.body(), report.product())},
                                  {"signature", hex(report.signature())}}};
}

json::Value tcb_json(const attestation::SnpClaims& claims) {
  const auto& r = claims.report;
  json::Object out{{"status", nullptr}};
  for (const auto& [name, version] : {std::pair{"reported", &r.reported_tcb}, {"committed", &r.committed_tcb},
                                      {"current", &r.current_tcb}, {"launch", &r.launch_tcb}}) {
    if (!claims.product) {
      out.emplace_back(name, hex(*version));
      continue;
    }
    const auto tcb = evidence::snp_tcb(*version, *claims.product);
    json::Object parts{{"bootloader", number(tcb.bootloader)},
                       {"tee", number(tcb.tee)},
                       {"snp", number(tcb.snp)},
                       {"microcode", number(tcb.microcode)}};
    if (tcb.fmc) parts.emplace_back("fmc", number(*tcb.fmc));
    out.emplace_back(name, std::move(parts));
  }
  return json::Value{std::move(out)};
}

json::Value to_json(const attestation::Claims& claims) {
  if (const auto* snp = claims.snp()) {
    auto out = to_json(snp->report, snp->product);
    const auto found = attestation::attribute_findings(claims);
    out.set("debug", found.debug);
    out.set("migratable", found.migratable);
    out.set("reserved_attributes", found.reserved_bits);
    if (snp->vek) out.set("vek", to_json(*snp->vek));
    return out;
  }
  auto out = claims.td() != nullptr ? to_json(*claims.td()) : to_json(*claims.sgx());
  const auto found = attestation::attribute_findings(claims);
  out.set("debug", found.debug);
  if (claims.td() != nullptr) {
    out.set("migratable", found.migratable);
    out.set("sept_ve_disable", !found.ve_not_disabled);
    out.set("reserved_attributes", found.reserved_bits);
    out.set("service_td", found.service_td);
  }
  if (claims.dcap()->platform) out.set("platform", to_json(*claims.dcap()->platform));
  return out;
}

json::Value to_json(const attestation::Tcb& tcb) {
  json::Array distance;
  for (const auto& gap : tcb.distance) {
    distance.emplace_back(
        json::Object{{"component", gap.component}, {"have", number(gap.have)}, {"need", number(gap.need)}});
  }
  return json::Value{json::Object{
      {"status", attestation::to_string(tcb.status)},
      {"platform", attestation::to_string(tcb.platform)},
      {"module", name_of(tcb.module)},
      {"qe", attestation::to_string(tcb.qe)},
      {"current", name_of(tcb.current)},
      {"advisory_ids", texts(tcb.advisory_ids)},
      {"tcb_date", tcb.tcb_date ? time(*tcb.tcb_date) : json::Value{}},
      {"evaluation_data_numbers", json::Object{{"tcb_info", number(tcb.tcb_info_number)},
                                               {"qe_identity", number(tcb.qe_identity_number)}}},
      {"distance", std::move(distance)}}};
}

json::Value to_json(const evidence::Quote& quote) {
  const auto& signature = quote.signature();
  const auto* td = quote.td();
  return json::Value{json::Object{
      {"kind", "quote"},
      {"format", format_name(quote.header())},
      {"tee", evidence::to_string(quote.tee())},
      {"size", number(quote.bytes().size())},
      {"trailing_bytes", number(quote.trailing_bytes())},
      {"header", json::Object{{"version", number(quote.header().version)},
                              {"qe_svn", number(quote.header().qe_svn)},
                              {"pce_svn", number(quote.header().pce_svn)},
                              {"qe_vendor_id", hex(quote.header().qe_vendor_id)},
                              {"user_data", hex(quote.header().user_data)}}},
      {"body", td != nullptr ? to_json(*td) : to_json(*quote.sgx())},
      {"signature", json::Object{{"attestation_key", hex(signature.attestation_key)},
                                 {"qe_report", to_json(signature.qe_report)},
                                 {"qe_auth_data", hex(signature.qe_auth_data)},
                                 {"certification_type", number(static_cast<std::uint64_t>(signature.certification.type))},
                                 {"certification_size", number(signature.certification.data.size())}}}}};
}

json::Value to_json(const crypto::x509::Certificate& c) {
  json::Object out{{"kind", "certificate"},
                   {"subject", c.subject_common_name},
                   {"issuer", c.issuer_common_name},
                   {"serial", hex(c.serial)},
                   {"not_before", time(c.not_before)},
                   {"not_after", time(c.not_after)},
                   {"signature_algorithm", name_of(c.algorithm)},
                   {"authority", c.is_ca.value_or(false)},
                   {"lab", evidence::has_lab_marker(c)}};
  if (const auto extension = evidence::pck_extension(c)) out.emplace_back("sgx", to_json(*extension));
  if (const auto extension = evidence::vek_extension(c)) out.emplace_back("vek", to_json(*extension));
  return json::Value{std::move(out)};
}

json::Value to_json(const crypto::x509::Crl& crl) {
  json::Array revoked;
  for (const auto& entry : crl.revoked) revoked.push_back(hex(entry.serial));
  return json::Value{json::Object{{"kind", "crl"},
                                  {"issuer", crl.issuer_common_name},
                                  {"this_update", time(crl.this_update)},
                                  {"next_update", crl.next_update ? time(*crl.next_update) : json::Value{}},
                                  {"number", crl.number ? number(*crl.number) : json::Value{}},
                                  {"revoked", std::move(revoked)}}};
}

json::Value to_json(const evidence::TcbInfo& info) {
  json::Array levels;
  for (const auto& level : info.levels) levels.push_back(to_json(level));
  json::Array modules;
  for (const auto& identity : info.tdx_module_identities) {
    modules.emplace_back(json::Object{
        {"id", identity.id}, {"module", to_json(identity.module)}, {"levels", to_json(identity.levels)}});
  }
  json::Object out{{"kind", "tcb-info"},
                   {"version", number(info.version)},
                   {"tee", evidence::to_string(info.tee)},
                   {"issue_date", time(info.issue_date)},
                   {"next_update", time(info.next_update)},
                   {"fmspc", hex(info.fmspc)},
                   {"pce_id", hex(info.pce_id)},
                   {"tcb_evaluation_data_number", number(info.tcb_evaluation_data_number)}};
  if (info.tdx_module) out.emplace_back("tdx_module", to_json(*info.tdx_module));
  if (!modules.empty()) out.emplace_back("tdx_module_identities", std::move(modules));
  out.emplace_back("levels", std::move(levels));
  return json::Value{std::move(out)};
}

json::Value to_json(const evidence::QeIdentity& identity) {
  return json::Value{json::Object{{"kind", "qe-identity"},
                                  {"id", evidence::to_string(identity.id)},
                                  {"version", number(identity.version)},
                                  {"issue_date", time(identity.issue_date)},
                                  {"next_update", time(identity.next_update)},
                                  {"tcb_evaluation_data_number", number(identity.tcb_evaluation_data_number)},
                                  {"misc_select", number(identity.misc_select)},
                                  {"misc_select_mask", number(identity.misc_select_mask)},
                                  {"attributes", hex(identity.attributes)},
                                  {"attributes_mask", hex(identity.attributes_mask)},
                                  {"mr_signer", hex(identity.mr_signer)},
                                  {"isv_prod_id", number(identity.isv_prod_id)},
                                  {"levels", to_json(identity.levels)}}};
}

std::string format_name(const evidence::QuoteHeader& header) { return "quote-v" + std::to_string(header.version); }

std::string format_name(const evidence::SnpReportBody& report) { return "snp-report-v" + std::to_string(report.version); }

}  // namespace cloister::verdict
