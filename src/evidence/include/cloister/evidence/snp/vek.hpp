#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/snp/product.hpp"
#include "cloister/evidence/snp/report.hpp"

/// The extensions of versioned endorsement keys, VCEK and VLEK (AMD 57230, Tables 10 and 11).
namespace cloister::evidence {

inline constexpr std::string_view kVekExtensionArc = "1.3.6.1.4.1.3704.1";

struct VekExtension {
  std::uint64_t struct_version = 0;
  std::string product_name;         // "Milan-B0", "Genoa", "Turin"
  std::uint8_t bootloader = 0;
  std::uint8_t tee = 0;
  std::uint8_t snp = 0;
  std::uint8_t microcode = 0;
  std::optional<std::uint8_t> fmc;  // Turin and later
  std::optional<std::uint8_t> spl4; // before Turin
  std::uint8_t spl5 = 0;            // reserved security patch levels
  std::uint8_t spl6 = 0;
  std::uint8_t spl7 = 0;
  std::optional<Bytes> hwid;        // VCEK: 64 bytes, 8 from Turin on
  std::optional<std::string> csp_id;  // VLEK: whom AMD gave it to

  /// A VCEK has a HWID and no CSP_ID, a VLEK the opposite.
  [[nodiscard]] VekKind kind() const noexcept { return hwid ? VekKind::vcek : VekKind::vlek; }
  /// The product of `product_name`, where it is known.
  [[nodiscard]] std::optional<SnpProduct> product() const noexcept { return snp_product_from_name(product_name); }
  /// What a report of this key must report, all eight bytes.
  [[nodiscard]] SnpTcbVersion tcb_version() const noexcept;
  friend bool operator==(const VekExtension&, const VekExtension&) = default;
};

/// Values are INTEGER (0 to 255 for patch levels) and IA5String; the HWID may stand raw or as an OCTET STRING.
/// `certificate_malformed` for a missing, mistyped or contradicting member, and for a patch level that is not known.
/// Extensions outside of the arc, and others in it, are left alone.
[[nodiscard]] Result<VekExtension> parse_vek_extension(std::span<const crypto::x509::Extension> extensions);
/// From a certificate.
[[nodiscard]] Result<VekExtension> vek_extension(const crypto::x509::Certificate& certificate);
/// True when the certificate has any extension of the arc: whether it means to be a VEK.
[[nodiscard]] bool is_vek(const crypto::x509::Certificate& certificate);

enum class HwidForm { raw, octet_string };
/// In the order of the arc's numbers, none critical.
[[nodiscard]] std::vector<crypto::x509::Extension> encode_vek_extension(const VekExtension& extension,
                                                                        HwidForm form = HwidForm::octet_string);

}  // namespace cloister::evidence
