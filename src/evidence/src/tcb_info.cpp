#include "cloister/evidence/tcb_info.hpp"

#include "cloister/codec/text.hpp"
#include "documents.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;
namespace docs = documents;

constexpr std::string_view kMember = "tcbInfo";
constexpr std::string_view kSgxComponents = "sgxtcbcomponents";
constexpr std::string_view kTdxComponents = "tdxtcbcomponents";
constexpr std::size_t kMaxLabel = 128;

/// Version 2 has a member of its own for each component; the names live as long as the program.
const std::array<std::string, 16>& v2_component_names() {
  static const auto names = [] {
    std::array<std::string, 16> out;
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = std::string{"sgxtcbcomp"} + (i < 9 ? "0" : "") + std::to_string(i + 1) + "svn";
    }
    return out;
  }();
  return names;
}

/// Moves a nested object's problem to the object around it.
void finish_into(json::Fields& outer, std::string_view member, json::Fields& nested) {
  const auto done = nested.finish_lenient();
  if (!done) outer.fail(done.error().code(), member, done.error().detail());
}

std::string label(json::Fields& fields, std::string_view name) {
  auto text = fields.optional_string(name).value_or(std::string{});
  if (text.size() > kMaxLabel) fields.fail(Errc::limit_exceeded, name, "too long");
  return text;
}

TcbComponents components(json::Fields& tcb, std::string_view name) {
  TcbComponents out;
  const auto& items = tcb.array(name);
  if (tcb.failed()) return out;
  if (items.size() != out.size()) {
    tcb.fail(Errc::malformed, name, "16 components expected, got " + std::to_string(items.size()));
    return out;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    json::Fields item{items[i], "component " + std::to_string(i + 1)};
    out[i].svn = static_cast<std::uint8_t>(item.integer("svn", 0, 0xFF));
    out[i].category = label(item, "category");
    out[i].type = label(item, "type");
    finish_into(tcb, name, item);
  }
  return out;
}

TcbComponents v2_components(json::Fields& tcb) {
  TcbComponents out;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].svn = static_cast<std::uint8_t>(tcb.integer(v2_component_names()[i], 0, 0xFF));
  }
  return out;
}

TdxModule module_of(json::Fields& fields) {
  TdxModule out;
  out.mr_signer = fields.hex_array<48>("mrsigner");
  out.attributes = fields.hex_array<8>("attributes");
  out.attributes_mask = fields.hex_array<8>("attributesMask");
  return out;
}

TdxModule tdx_module(json::Fields& info) {
  json::Fields fields{info.object("tdxModule"), "tdxModule"};
  const auto out = module_of(fields);
  finish_into(info, "tdxModule", fields);
  return out;
}

std::vector<TdxModuleIdentity> module_identities(json::Fields& info) {
  constexpr std::string_view kName = "tdxModuleIdentities";
  const auto& items = info.optional_array(kName);
  if (items.size() > kMaxModuleIdentities) info.fail(Errc::limit_exceeded, kName, "too many");
  std::vector<TdxModuleIdentity> out;
  for (const auto& item : items) {
    if (info.failed()) return {};
    json::Fields fields{item, "identity " + std::to_string(out.size())};
    TdxModuleIdentity identity;
    identity.id = fields.string("id");
    if (identity.id.size() > kMaxLabel) fields.fail(Errc::limit_exceeded, "id", "too long");
    identity.module = module_of(fields);
    identity.levels = docs::isv_levels(fields);
    finish_into(info, kName, fields);
    out.push_back(std::move(identity));
  }
  return out;
}

TcbLevel platform_level(json::Fields& fields, const TcbInfo& info) {
  TcbLevel out;
  json::Fields tcb{fields.object("tcb"), "tcb"};
  out.sgx = info.version == 2 ? v2_components(tcb) : components(tcb, kSgxComponents);
  out.pce_svn = static_cast<std::uint16_t>(tcb.integer("pcesvn", 0, 0xFFFF));
  if (info.tee == TeeType::tdx) out.tdx = components(tcb, kTdxComponents);
  finish_into(fields, "tcb", tcb);
  out.tcb_date = docs::time(fields, "tcbDate");
  out.status = docs::status(fields, "tcbStatus");
  out.advisory_ids = docs::advisories(fields);
  return out;
}

std::vector<TcbLevel> platform_levels(json::Fields& fields, const TcbInfo& info) {
  constexpr std::string_view kName = "tcbLevels";
  const auto& items = fields.array(kName);
  if (items.empty()) fields.fail(Errc::malformed, kName, "at least one level expected");
  if (items.size() > kMaxTcbLevels) fields.fail(Errc::limit_exceeded, kName, "too many");
  std::vector<TcbLevel> out;
  for (const auto& item : items) {
    if (fields.failed()) return {};
    json::Fields level{item, "level " + std::to_string(out.size())};
    out.push_back(platform_level(level, info));
    finish_into(fields, kName, level);
  }
  return out;
}

TeeType document_tee(json::Fields& fields, std::uint32_t version) {
  if (version == 2) return TeeType::sgx;  // has no id
  const auto id = fields.string("id");
  if (id == "TDX") return TeeType::tdx;
  if (id != "SGX") fields.fail(Errc::malformed, "id", "SGX or TDX expected");
  return TeeType::sgx;
}

json::Array write_components(const TcbComponents& components) {
  json::Array out;
  for (const auto& component : components) {
    json::Object item;
    item.emplace_back("svn", static_cast<std::int64_t>(component.svn));
    if (!component.category.empty()) item.emplace_back("category", component.category);
    if (!component.type.empty()) item.emplace_back("type", component.type);
    out.emplace_back(std::move(item));
  }
  return out;
}

void write_module(json::Object& out, const TdxModule& module) {
  out.emplace_back("mrsigner", docs::upper_hex(module.mr_signer));
  out.emplace_back("attributes", docs::upper_hex(module.attributes));
  out.emplace_back("attributesMask", docs::upper_hex(module.attributes_mask));
}

json::Array write_identities(const std::vector<TdxModuleIdentity>& identities) {
  json::Array out;
  for (const auto& identity : identities) {
    json::Object item;
    item.emplace_back("id", identity.id);
    write_module(item, identity.module);
    item.emplace_back("tcbLevels", docs::write_isv_levels(identity.levels));
    out.emplace_back(std::move(item));
  }
  return out;
}

json::Object write_level(const TcbLevel& level, std::uint32_t version) {
  json::Object tcb;
  if (version == 2) {
    for (std::size_t i = 0; i < level.sgx.size(); ++i) {
      tcb.emplace_back(v2_component_names()[i], static_cast<std::int64_t>(level.sgx[i].svn));
    }
  } else {
    tcb.emplace_back(kSgxComponents, write_components(level.sgx));
  }
  tcb.emplace_back("pcesvn", static_cast<std::int64_t>(level.pce_svn));
  if (level.tdx) tcb.emplace_back(kTdxComponents, write_components(*level.tdx));
  json::Object out;
  out.emplace_back("tcb", std::move(tcb));
  docs::write_level_status(out, level.tcb_date, level.status, level.advisory_ids);
  return out;
}

}  // namespace

namespace documents {

Result<TcbInfo> read_tcb_info(const json::Value& body) {
  json::Fields fields{body, std::string{kMember}};
  TcbInfo out;
  out.version = static_cast<std::uint32_t>(fields.integer("version", 2, 3));
  out.tee = document_tee(fields, out.version);
  out.issue_date = time(fields, "issueDate");
  out.next_update = time(fields, "nextUpdate");
  out.fmspc = fields.hex_array<6>("fmspc");
  out.pce_id = fields.hex_array<2>("pceId");
  out.tcb_type = static_cast<std::uint32_t>(fields.integer("tcbType", 0, 0));
  out.tcb_evaluation_data_number =
      static_cast<std::uint32_t>(fields.integer("tcbEvaluationDataNumber", 0, UINT32_MAX));
  if (out.tee == TeeType::tdx) {
    out.tdx_module = tdx_module(fields);
    out.tdx_module_identities = module_identities(fields);
  }
  out.levels = platform_levels(fields, out);
  if (const auto done = fields.finish_lenient(); !done) return refused(done.error(), "TCB Info");
  return out;
}

}  // namespace documents

Result<SignedTcbInfo> parse_tcb_info(std::string_view envelope) {
  CLOISTER_TRY(opened, docs::open_envelope(envelope, kMember));
  CLOISTER_TRY(info, docs::read_tcb_info(opened.value));
  return SignedTcbInfo{std::move(info), HashedText{std::move(opened.body)}, opened.signature};
}

Result<TcbInfo> parse_tcb_info_body(std::string_view body) {
  CLOISTER_TRY(value, docs::parse_text(body, kMember));
  return docs::read_tcb_info(value);
}

std::string write_tcb_info_body(const TcbInfo& info) {
  json::Object out;
  if (info.version != 2) out.emplace_back("id", info.tee == TeeType::tdx ? "TDX" : "SGX");
  out.emplace_back("version", info.version);
  out.emplace_back("issueDate", to_rfc3339(info.issue_date));
  out.emplace_back("nextUpdate", to_rfc3339(info.next_update));
  out.emplace_back("fmspc", codec::to_hex(info.fmspc));
  out.emplace_back("pceId", codec::to_hex(info.pce_id));
  out.emplace_back("tcbType", info.tcb_type);
  out.emplace_back("tcbEvaluationDataNumber", info.tcb_evaluation_data_number);
  if (info.tdx_module) {
    json::Object module;
    write_module(module, *info.tdx_module);
    out.emplace_back("tdxModule", std::move(module));
  }
  if (!info.tdx_module_identities.empty()) {
    out.emplace_back("tdxModuleIdentities", write_identities(info.tdx_module_identities));
  }
  json::Array levels;
  for (const auto& level : info.levels) levels.emplace_back(write_level(level, info.version));
  out.emplace_back("tcbLevels", std::move(levels));
  return json::write(json::Value{std::move(out)});
}

std::string write_tcb_info(std::string_view body, const ByteArray<64>& signature) {
  return docs::write_envelope(kMember, body, signature);
}

}  // namespace cloister::evidence
