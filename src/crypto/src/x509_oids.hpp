#pragma once

#include "cloister/core/bytes.hpp"

/// Contents octets of the object identifiers that the X.509 reader and issuer know.
namespace cloister::crypto::x509::oids {

inline constexpr ByteArray<8> kEcdsaSha256{0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02};  // 1.2.840.10045.4.3.2
inline constexpr ByteArray<8> kEcdsaSha384{0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03};  // 1.2.840.10045.4.3.3
inline constexpr ByteArray<9> kRsaPss{0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A};     // 1.2.840.113549.1.1.10
inline constexpr ByteArray<9> kRsaSha256{0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B};  // 1.2.840.113549.1.1.11
inline constexpr ByteArray<9> kRsaSha384{0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C};  // 1.2.840.113549.1.1.12
inline constexpr ByteArray<9> kRsaKey{0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01};     // 1.2.840.113549.1.1.1
inline constexpr ByteArray<9> kMgf1{0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x08};       // 1.2.840.113549.1.1.8
inline constexpr ByteArray<9> kSha384{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02};  // 2.16.840.1.101.3.4.2.2
inline constexpr ByteArray<7> kEcKey{0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01};               // 1.2.840.10045.2.1
inline constexpr ByteArray<8> kP256{0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07};          // 1.2.840.10045.3.1.7
inline constexpr ByteArray<5> kP384{0x2B, 0x81, 0x04, 0x00, 0x22};                            // 1.3.132.0.34

inline constexpr ByteArray<3> kCommonName{0x55, 0x04, 0x03};          // 2.5.4.3
inline constexpr ByteArray<3> kSubjectKeyId{0x55, 0x1D, 0x0E};        // 2.5.29.14
inline constexpr ByteArray<3> kKeyUsage{0x55, 0x1D, 0x0F};            // 2.5.29.15
inline constexpr ByteArray<3> kSubjectAltName{0x55, 0x1D, 0x11};      // 2.5.29.17
inline constexpr ByteArray<3> kBasicConstraints{0x55, 0x1D, 0x13};    // 2.5.29.19
inline constexpr ByteArray<3> kCrlNumber{0x55, 0x1D, 0x14};           // 2.5.29.20
inline constexpr ByteArray<3> kDeltaCrl{0x55, 0x1D, 0x1B};            // 2.5.29.27
inline constexpr ByteArray<3> kIssuingPoint{0x55, 0x1D, 0x1C};        // 2.5.29.28
inline constexpr ByteArray<3> kNameConstraints{0x55, 0x1D, 0x1E};     // 2.5.29.30
inline constexpr ByteArray<3> kDistributionPoints{0x55, 0x1D, 0x1F};  // 2.5.29.31
inline constexpr ByteArray<3> kAuthorityKeyId{0x55, 0x1D, 0x23};      // 2.5.29.35
inline constexpr ByteArray<3> kExtendedKeyUsage{0x55, 0x1D, 0x25};    // 2.5.29.37

}  // namespace cloister::crypto::x509::oids
