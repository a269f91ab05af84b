#include "cloister/lab_service/byte_map.hpp"

#include <array>

#include "cloister/codec/text.hpp"
#include "numbers.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
constexpr std::size_t kShown = 64;  // bytes of a value

enum class As { hex, number, zeros, text };

/// A field of a fixed layout.
struct Part {
  std::string_view name;
  std::size_t size;
  As as = As::hex;
};

std::string shown(ByteView bytes, As as) {
  if (as == As::number) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8U | bytes[i];  // little-endian, at most 8 bytes
    return bytes.size() == 8 ? hex_number(value) : std::to_string(value);
  }
  if (as == As::zeros && all_zero(bytes)) return "zeros";
  const auto head = bytes.first(std::min(bytes.size(), kShown));
  auto out = as == As::text ? std::string{as_text(head)} : codec::to_hex(head);
  if (head.size() < bytes.size()) out += "…";
  return out;
}

class Mapper {
 public:
  explicit Mapper(ByteView bytes) : bytes_{bytes} {}
  void add(std::string name, std::size_t size, As as) {
    out_.push_back({std::move(name), at_, size, shown(bytes_.subspan(at_, size), as)});
    at_ += size;
  }
  void add(std::string_view prefix, std::span<const Part> parts) {
    for (const auto& part : parts) add(std::string{prefix} + std::string{part.name}, part.size, part.as);
  }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }
  [[nodiscard]] std::vector<ByteField> take() { return std::move(out_); }

 private:
  ByteView bytes_;
  std::vector<ByteField> out_;
  std::size_t at_ = 0;
};

/// Intel SGX ECDSA QuoteLibReference DCAP API, appendix A, Table 2.
constexpr std::array kHeader{Part{"version", 2, As::number},
                             Part{"attestation_key_type", 2, As::number},
                             Part{"tee_type", 4, As::number},
                             Part{"qe_svn", 2, As::number},
                             Part{"pce_svn", 2, As::number},
                             Part{"qe_vendor_id", 16},
                             Part{"user_data", 20}};
/// Intel SDM vol. 3D, "REPORT".
constexpr std::array kSgxBody{Part{"cpu_svn", 16},
                              Part{"misc_select", 4, As::number},
                              Part{"reserved1", 12, As::zeros},
                              Part{"isv_ext_prod_id", 16},
                              Part{"attributes", 16},
                              Part{"mr_enclave", 32},
                              Part{"reserved2", 32, As::zeros},
                              Part{"mr_signer", 32},
                              Part{"reserved3", 32, As::zeros},
                              Part{"config_id", 64},
                              Part{"isv_prod_id", 2, As::number},
                              Part{"isv_svn", 2, As::number},
                              Part{"config_svn", 2, As::number},
                              Part{"reserved4", 42, As::zeros},
                              Part{"isv_family_id", 16},
                              Part{"report_data", 64}};
/// AMD 56860, SEV-SNP Firmware ABI 1.58, Table 23.
constexpr std::array kSnpBody{Part{"version", 4, As::number},
                              Part{"guest_svn", 4, As::number},
                              Part{"policy", 8, As::number},
                              Part{"family_id", 16},
                              Part{"image_id", 16},
                              Part{"vmpl", 4, As::number},
                              Part{"signature_algo", 4, As::number},
                              Part{"current_tcb", 8},
                              Part{"platform_info", 8, As::number},
                              Part{"flags", 4, As::number},
                              Part{"reserved1", 4, As::zeros},
                              Part{"report_data", 64},
                              Part{"measurement", 48},
                              Part{"host_data", 32},
                              Part{"id_key_digest", 48},
                              Part{"author_key_digest", 48},
                              Part{"report_id", 32},
                              Part{"report_id_ma", 32},
                              Part{"reported_tcb", 8},
                              Part{"cpuid_family", 1, As::number},
                              Part{"cpuid_model", 1, As::number},
                              Part{"cpuid_stepping", 1, As::number},
                              Part{"reserved2", 21, As::zeros},
                              Part{"chip_id", 64},
                              Part{"committed_tcb", 8},
                              Part{"current_build", 1, As::number},
                              Part{"current_minor", 1, As::number},
                              Part{"current_major", 1, As::number},
                              Part{"reserved3", 1, As::zeros},
                              Part{"committed_build", 1, As::number},
                              Part{"committed_minor", 1, As::number},
                              Part{"committed_major", 1, As::number},
                              Part{"reserved4", 1, As::zeros},
                              Part{"launch_tcb", 8},
                              Part{"launch_mitigations", 8, As::number},
                              Part{"current_mitigations", 8, As::number},
                              Part{"reserved5", 152, As::zeros}};
constexpr std::array kSnpSignature{Part{"r", 72}, Part{"s", 72}, Part{"reserved", 368, As::zeros}};

}  // namespace

Result<ByteMap> map_quote(const evidence::Quote& quote) {
  if (quote.header().version != 3) return Error{Errc::unsupported, "a map of quotes of version 3 alone"};
  Mapper map{quote.bytes()};
  map.add("header.", kHeader);
  map.add("body.", kSgxBody);
  map.add("signature_size", 4, As::number);
  map.add("signature.signature", 64, As::hex);
  map.add("signature.attestation_key", 64, As::hex);
  map.add("signature.qe_report.", kSgxBody);
  map.add("signature.qe_report_signature", 64, As::hex);
  map.add("signature.qe_auth_size", 2, As::number);
  map.add("signature.qe_auth_data", quote.signature().qe_auth_data.size(), As::hex);
  map.add("signature.certification.type", 2, As::number);
  map.add("signature.certification.size", 4, As::number);
  map.add("signature.certification.data", quote.signature().certification.data.size(), As::text);
  CLOISTER_ASSERT(map.left() == 0);
  return ByteMap{.format = "quote-v3", .fields = map.take(), .signed_size = quote.signed_bytes().size()};
}

ByteMap map_report(const evidence::SnpReport& report) {
  Mapper map{report.bytes()};
  map.add("", kSnpBody);
  map.add("signature.", kSnpSignature);
  CLOISTER_ASSERT(map.left() == 0);
  return {.format = "snp-report-v" + std::to_string(report.body().version),
          .fields = map.take(),
          .signed_size = evidence::kSnpSignedSize};
}

json::Value to_json(const ByteMap& map) {
  json::Array fields;
  for (const auto& field : map.fields) {
    fields.emplace_back(json::Object{{"name", field.name},
                                     {"offset", std::uint64_t{field.offset}},
                                     {"size", std::uint64_t{field.size}},
                                     {"value", field.value}});
  }
  return json::Object{
      {"format", map.format}, {"signed_size", std::uint64_t{map.signed_size}}, {"fields", std::move(fields)}};
}

}  // namespace cloister::lab_service
