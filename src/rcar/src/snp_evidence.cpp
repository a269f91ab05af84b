#include "cloister/rcar/snp_evidence.hpp"

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/rcar/attestation.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr json::Limits kLimits{.bytes = kMaxAttestationSize, .depth = 16, .values = 400'000};
constexpr std::string_view kReport = "attestation_report";
constexpr std::size_t kReportSize = 1184;
constexpr std::size_t kSignatureAt = 0x2A0;

/// The fields of an object, in the order in which they stand in the report. The first mistake sticks.
class Fields {
 public:
  Fields(const json::Value& value, std::string where) : fields_{value, std::move(where)} {}

  void number(std::string_view name, std::size_t size) {
    const auto& member = fields_.any(name);
    if (!fields_.failed()) put(name, member, size);
  }
  /// Zeros where it is null or absent.
  void optional_number(std::string_view name, std::size_t size) {
    const auto* member = fields_.optional_any(name);
    if (fields_.failed()) return;
    if (member == nullptr || member->is_null()) return out_.zeros(size);
    put(name, *member, size);
  }
  void bytes(std::string_view name, std::size_t size) {
    const auto& list = fields_.array(name);
    if (fields_.failed()) return;
    if (list.size() != size) return fields_.fail(Errc::malformed, name, std::to_string(size) + " bytes expected");
    for (const auto& one : list) {
      const auto byte = one.as_uint();
      if (!byte || *byte > 0xFF) return fields_.fail(Errc::malformed, name, "byte values expected");
      out_.u8(static_cast<std::uint8_t>(*byte));
    }
  }
  /// Another object, as `read` takes it.
  template <class Read>
  void nested(std::string_view name, Read read) {
    const auto& member = fields_.object(name);
    if (fields_.failed()) return;
    const auto inner = read(member, std::string{name});
    if (!inner) return fields_.fail(inner.error().code(), name, inner.error().detail());
    out_.raw(*inner);
  }
  void zeros(std::size_t size) { out_.zeros(size); }
  /// Up to this offset.
  void zeros_to(std::size_t offset) {
    if (out_.size() < offset) out_.zeros(offset - out_.size());
  }

  [[nodiscard]] Result<Bytes> finish() && {
    CLOISTER_CHECK(fields_.finish());
    return std::move(out_).take();
  }

 private:
  void put(std::string_view name, const json::Value& member, std::size_t size) {
    const auto value = member.as_uint();
    if (!value || (size < 8 && *value >> (8 * size) != 0)) {
      return fields_.fail(Errc::malformed, name, "a number of " + std::to_string(size) + " bytes expected");
    }
    for (std::size_t i = 0; i < size; ++i) out_.u8(static_cast<std::uint8_t>(*value >> (8 * i)));
  }

  json::Fields fields_;
  codec::Writer out_;
};

/// Two layouts, by whether there is firmware of the FMC (Table 4; from Turin on).
Result<Bytes> read_tcb(const json::Value& value, std::string where) {
  const auto* fmc = value.find("fmc");
  const bool turin = fmc != nullptr && !fmc->is_null();
  Fields fields{value, std::move(where)};
  if (turin) fields.number("fmc", 1);
  fields.number("bootloader", 1);
  fields.number("tee", 1);
  if (turin) {
    fields.number("snp", 1);
    fields.zeros(3);
  } else {
    fields.optional_number("fmc", 0);
    fields.zeros(4);
    fields.number("snp", 1);
  }
  fields.number("microcode", 1);
  return std::move(fields).finish();
}

Result<Bytes> read_version(const json::Value& value, std::string where) {
  Fields fields{value, std::move(where)};
  fields.number("build", 1);
  fields.number("minor", 1);
  fields.number("major", 1);
  fields.zeros(1);
  return std::move(fields).finish();
}

Result<Bytes> read_signature(const json::Value& value, std::string where) {
  Fields fields{value, std::move(where)};
  fields.bytes("r", 72);
  fields.bytes("s", 72);
  return std::move(fields).finish();
}

}  // namespace

Result<Bytes> snp_report_bytes(const json::Value& report) {
  Fields fields{report, std::string{kReport}};
  fields.number("version", 4);
  fields.number("guest_svn", 4);
  fields.number("policy", 8);
  fields.bytes("family_id", 16);
  fields.bytes("image_id", 16);
  fields.number("vmpl", 4);
  fields.number("sig_algo", 4);
  fields.nested("current_tcb", read_tcb);
  fields.number("plat_info", 8);
  fields.number("key_info", 4);
  fields.zeros(4);
  fields.bytes("report_data", 64);
  fields.bytes("measurement", 48);
  fields.bytes("host_data", 32);
  fields.bytes("id_key_digest", 48);
  fields.bytes("author_key_digest", 48);
  fields.bytes("report_id", 32);
  fields.bytes("report_id_ma", 32);
  fields.nested("reported_tcb", read_tcb);
  fields.optional_number("cpuid_fam_id", 1);
  fields.optional_number("cpuid_mod_id", 1);
  fields.optional_number("cpuid_step", 1);
  fields.zeros(21);
  fields.bytes("chip_id", 64);
  fields.nested("committed_tcb", read_tcb);
  fields.nested("current", read_version);
  fields.nested("committed", read_version);
  fields.nested("launch_tcb", read_tcb);
  fields.optional_number("launch_mit_vector", 8);
  fields.optional_number("current_mit_vector", 8);
  fields.zeros_to(kSignatureAt);
  fields.nested("signature", read_signature);
  fields.zeros_to(kReportSize);
  CLOISTER_TRY(out, std::move(fields).finish());
  CLOISTER_ASSERT(out.size() == kReportSize);
  return out;
}

Result<std::string> with_raw_snp_report(std::string_view evidence) {
  auto value = json::parse(evidence, kLimits);
  if (!value) return value.error().in("evidence");
  const auto* report = value->find(kReport);
  if (report == nullptr || report->as_object() == nullptr) return std::string{evidence};
  CLOISTER_TRY(bytes, snp_report_bytes(*report));
  return json::write(value->set(kReport, codec::to_hex(bytes)));
}

}  // namespace cloister::rcar
