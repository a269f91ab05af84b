#pragma once

#include "cloister/codec/der.hpp"
#include "cloister/crypto/x509.hpp"

/// What certificates and CRLs are made of, read once for both. Each takes an element's contents octets.
namespace cloister::crypto::x509::parts {

/// The result with `place` put before the detail of its error.
[[nodiscard]] inline Result<void> at(std::string_view place, Result<void> result) {
  if (!result) return result.error().in(place);
  return result;
}

/// The commonName of a Name that was checked throughout; empty when it has none.
[[nodiscard]] Result<std::string> read_name(ByteView contents);
[[nodiscard]] Result<SignatureAlgorithm> read_signature_algorithm(ByteView contents);
/// At least one extension, no OID twice.
[[nodiscard]] Result<std::vector<Extension>> read_extensions(ByteView contents);
/// True for a UTF8String, PrintableString or IA5String within its alphabet, without a NUL.
[[nodiscard]] bool valid_string(const codec::der::Element& value);
[[nodiscard]] bool is_ascii(ByteView text);
/// INTEGER contents of at most 20 octets of magnitude, of any sign.
[[nodiscard]] Result<void> check_serial(ByteView contents);

}  // namespace cloister::crypto::x509::parts
