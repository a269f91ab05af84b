#include "certificates.hpp"

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::collateral {
namespace {

namespace der = codec::der;
namespace x509 = crypto::x509;

constexpr std::string_view kAmdArc = "1.3.6.1.4.1.3704.1.";
constexpr std::string_view kVcekName = "SEV-VCEK";
constexpr std::string_view kArkPrefix = "ARK-";
constexpr std::string_view kAskPrefix = "SEV-";
constexpr std::string_view kAsvkPrefix = "SEV-VLEK-";

Error malformed(std::string what) { return Error{Errc::collateral_malformed, "VCEK: " + std::move(what)}; }

const x509::Extension* find(const x509::Certificate& certificate, std::string_view arc) {
  return certificate.find(der::oid(std::string{kAmdArc} + std::string{arc}));
}

Result<std::uint8_t> version_at(const x509::Certificate& certificate, std::string_view arc) {
  const auto* extension = find(certificate, arc);
  if (extension == nullptr) return malformed("no extension " + std::string{kAmdArc} + std::string{arc});
  der::Reader reader{extension->value};
  const auto value = reader.uint();
  if (!reader.finish() || value > UINT8_MAX) return malformed("extension " + std::string{arc} + " holds no version of one byte");
  return static_cast<std::uint8_t>(value);
}

/// "Milan-B0" and "Milan" are Milan.
Result<Product> product_at(const x509::Certificate& certificate) {
  const auto* extension = find(certificate, "2");
  if (extension == nullptr) return malformed("no product name");
  der::Reader reader{extension->value};
  const auto name = as_text(reader.expect(der::tag::kIa5String).contents);
  if (!reader.finish()) return malformed("its product name is no IA5String");
  const auto product = product_from_string(name.substr(0, name.find('-')));
  if (!product) return malformed("unknown product \"" + std::string{name.substr(0, 32)} + '"');
  return *product;
}

/// The bytes alone, or in an OCTET STRING: both are issued.
Result<Bytes> hwid_at(const x509::Certificate& certificate, std::size_t size) {
  const auto* extension = find(certificate, "4");
  if (extension == nullptr) return malformed("no HWID");
  if (extension->value.size() == size) return extension->value;
  der::Reader reader{extension->value};
  const auto inner = reader.octet_string();
  if (!reader.finish() || inner.size() != size) return malformed("HWID of " + std::to_string(size) + " bytes expected");
  return to_bytes(inner);
}

/// A lab's names are AMD's behind its own, so that its documents have the same places.
std::string_view without_lab(std::string_view common_name) noexcept {
  if (!common_name.starts_with(evidence::kLabRootName)) return common_name;
  common_name.remove_prefix(evidence::kLabRootName.size());
  return common_name.starts_with(' ') ? common_name.substr(1) : common_name;
}

}  // namespace

std::string to_pem(const Certificates& chain) {
  std::string out;
  for (const auto& certificate : chain) out += codec::to_pem("CERTIFICATE", certificate->der);
  return out;
}

bool is_vcek(const x509::Certificate& certificate) noexcept { return without_lab(certificate.subject_common_name) == kVcekName; }

Result<VcekKey> vcek_key_of(const x509::Certificate& certificate) {
  if (!is_vcek(certificate)) return malformed("the common name " + std::string{kVcekName} + " expected");
  CLOISTER_TRY(product, product_at(certificate));
  VcekKey key;
  key.product = product;
  CLOISTER_TRY(hwid, hwid_at(certificate, hwid_size(product)));
  key.hwid = std::move(hwid);
  if (product == Product::turin) {
    CLOISTER_TRY(fmc, version_at(certificate, "3.9"));
    key.tcb.fmc = fmc;
  }
  CLOISTER_TRY(boot_loader, version_at(certificate, "3.1"));
  CLOISTER_TRY(tee, version_at(certificate, "3.2"));
  CLOISTER_TRY(snp, version_at(certificate, "3.3"));
  CLOISTER_TRY(microcode, version_at(certificate, "3.8"));
  key.tcb.boot_loader = boot_loader;
  key.tcb.tee = tee;
  key.tcb.snp = snp;
  key.tcb.microcode = microcode;
  return key;
}

std::optional<Product> product_of_ark(std::string_view common_name) noexcept {
  common_name = without_lab(common_name);
  if (!common_name.starts_with(kArkPrefix)) return std::nullopt;
  return product_from_string(common_name.substr(kArkPrefix.size()));
}

std::optional<AmdChainKey> chain_key_of(std::string_view common_name) noexcept {
  common_name = without_lab(common_name);
  const bool vlek = common_name.starts_with(kAsvkPrefix);
  if (!vlek && !common_name.starts_with(kAskPrefix)) return std::nullopt;
  const auto product = product_from_string(common_name.substr(vlek ? kAsvkPrefix.size() : kAskPrefix.size()));
  if (!product) return std::nullopt;
  return AmdChainKey{.product = *product, .endorsement = vlek ? EndorsementKey::vlek : EndorsementKey::vcek};
}

}  // namespace cloister::collateral
