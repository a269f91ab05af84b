#include "cloister/evidence/snp/endorsements.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "cloister/codec/cursor.hpp"
#include "cloister/evidence/snp/vek.hpp"

namespace cloister::evidence {
namespace {

namespace x509 = crypto::x509;
using Guid = ByteArray<16>;

constexpr Guid kArk{0xC0, 0xB4, 0x06, 0xA4, 0xA8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3F, 0xB6, 0x01, 0x4C, 0xD0, 0xAE};
constexpr Guid kAsk{0x4A, 0xB7, 0xB3, 0x79, 0xBB, 0xAC, 0x4F, 0xE4, 0xA0, 0x2F, 0x05, 0xAE, 0xF3, 0x27, 0xC7, 0x82};
constexpr Guid kVcek{0x63, 0xDA, 0x75, 0x8D, 0xE6, 0x64, 0x45, 0x64, 0xAD, 0xC5, 0xF4, 0xB9, 0x3B, 0xE8, 0xAC, 0xCD};
constexpr Guid kVlek{0xA8, 0x07, 0x4B, 0xC2, 0xA2, 0x5A, 0x48, 0x3E, 0xAA, 0xE6, 0x39, 0xC0, 0x45, 0xA0, 0xB8, 0xA1};
constexpr Guid kCrl{0x92, 0xF8, 0x1B, 0xC3, 0x58, 0x11, 0x4D, 0x3D, 0x97, 0xFF, 0xD1, 0x9F, 0x88, 0xDC, 0x67, 0xEA};

constexpr std::size_t kEntrySize = 24;
constexpr std::size_t kMaxEntries = 64;

Error malformed(std::string detail) {
  return Error{Errc::evidence_malformed, "SNP certificate table: " + std::move(detail)};
}

bool holds_certificate(const Guid& guid) { return guid == kArk || guid == kAsk || guid == kVcek || guid == kVlek; }

Result<x509::CertificatePtr> read_certificate(ByteView content) {
  if (!as_text(content).starts_with("-----BEGIN ")) return x509::parse_certificate(content);
  CLOISTER_TRY(chain, x509::parse_chain(as_text(content), 1));
  return std::move(chain.front());
}

Guid guid_of(const x509::Certificate& certificate) {
  if (certificate.issuer == certificate.subject) return kArk;
  if (!is_vek(certificate)) return kAsk;
  const auto extension = vek_extension(certificate);
  return extension && extension->kind() == VekKind::vlek ? kVlek : kVcek;
}

}  // namespace

void SnpEndorsements::add(SnpEndorsements other) {
  std::ranges::move(other.certificates, std::back_inserter(certificates));
  std::ranges::move(other.crls, std::back_inserter(crls));
}

Result<SnpEndorsements> parse_snp_certificate_table(ByteView bytes) {
  SnpEndorsements out;
  codec::Reader in{bytes};
  for (std::size_t count = 0;; ++count) {
    if (count == kMaxEntries) return malformed("at most 64 entries expected");
    const auto guid = in.array<16>();
    const auto offset = in.u32le();
    const auto length = in.u32le();
    if (!guid || !offset || !length) return malformed("it ends before its last entry");
    if (all_zero(*guid)) {
      if (*offset != 0 || *length != 0) return malformed("the last entry is not zero");
      return out;
    }
    if (*offset > bytes.size() || *length > bytes.size() - *offset) return malformed("an entry points outside of it");
    const auto content = bytes.subspan(*offset, *length);
    if (holds_certificate(*guid)) {
      auto certificate = read_certificate(content);
      if (!certificate) return malformed(certificate.error().detail());
      out.certificates.push_back(std::move(certificate).value());
    }
    if (*guid == kCrl) {
      auto crl = x509::parse_crl(content);
      if (!crl) return malformed(crl.error().detail());
      out.crls.push_back(std::move(crl).value());
    }
  }
}

Bytes encode_snp_certificate_table(const SnpEndorsements& endorsements) {
  std::vector<std::pair<Guid, ByteView>> entries;
  for (const auto& certificate : endorsements.certificates) entries.emplace_back(guid_of(*certificate), certificate->der);
  for (const auto& crl : endorsements.crls) entries.emplace_back(kCrl, crl.der);
  codec::Writer out;
  auto offset = (entries.size() + 1) * kEntrySize;
  for (const auto& [guid, content] : entries) {
    out.raw(guid);
    out.u32le(static_cast<std::uint32_t>(offset));
    out.u32le(static_cast<std::uint32_t>(content.size()));
    offset += content.size();
  }
  out.zeros(kEntrySize);
  for (const auto& [guid, content] : entries) out.raw(content);
  return std::move(out).take();
}

}  // namespace cloister::evidence
