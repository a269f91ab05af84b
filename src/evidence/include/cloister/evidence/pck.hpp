#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"

/// The SGX extension of PCK certificates (Intel SGX PCK Certificate and CRL Profile Specification, section 1.3.5).
namespace cloister::evidence {

inline constexpr std::string_view kPckExtensionOid = "1.2.840.113741.1.13.1";

enum class SgxType : std::uint8_t { standard = 0, scalable = 1, scalable_with_integrity = 2 };

/// Each flag is there or not, on its own.
struct PckConfiguration {
  std::optional<bool> dynamic_platform;
  std::optional<bool> cached_keys;
  std::optional<bool> smt_enabled;

  friend bool operator==(const PckConfiguration&, const PckConfiguration&) = default;
};

struct PckExtension {
  ByteArray<16> ppid{};
  ByteArray<16> components{};  // SGX TCB component SVNs 1 to 16
  std::uint16_t pce_svn = 0;
  ByteArray<16> cpu_svn{};     // raw
  ByteArray<2> pce_id{};
  ByteArray<6> fmspc{};
  SgxType sgx_type = SgxType::standard;
  // Platform CA only:
  std::optional<ByteArray<16>> platform_instance_id;
  std::optional<PckConfiguration> configuration;

  friend bool operator==(const PckExtension&, const PckExtension&) = default;
};

/// `value` is the extension's value (the outer SEQUENCE). Members in any order; a missing required one, one given
/// twice or one that the profile does not have: `certificate_malformed`.
[[nodiscard]] Result<PckExtension> parse_pck_extension(ByteView value);
/// From a certificate; `certificate_malformed` when it has no such extension.
[[nodiscard]] Result<PckExtension> pck_extension(const crypto::x509::Certificate& certificate);
/// In the order of the profile's numbering.
[[nodiscard]] Bytes encode_pck_extension(const PckExtension& extension);

}  // namespace cloister::evidence
