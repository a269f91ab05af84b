#include "cloister/evidence/snp/report.hpp"

#include <algorithm>
#include <string>

#include "../fields.hpp"

namespace cloister::evidence {
namespace {

constexpr std::uint32_t kFirstVersion = 2;
constexpr std::uint32_t kCpuidSince = 3;
constexpr std::uint32_t kMitigationsSince = 5;
constexpr std::uint32_t kLastVersion = 5;
constexpr std::uint32_t kEcdsaP384Sha384 = 1;
constexpr std::uint32_t kNotSigned = 7;
constexpr std::size_t kNumberSize = 72;  // r and s, 48 bytes each, zero-padded

/// KEY_INFO at offset 0x48: author key enabled, chip key masked, three bits of signing key.
constexpr std::uint32_t kAuthorKey = 1U << 0;
constexpr std::uint32_t kMaskChipKey = 1U << 1;
constexpr unsigned kSigningKeyShift = 2;
constexpr std::uint32_t kKeyInfoDefined = 0x1F;

/// Fields that have no place in `SnpReportBody`.
struct Wire {
  std::uint32_t signature_algorithm = kEcdsaP384Sha384;
  std::uint32_t key_info = 0;
  bool reserved_zero = true;
};

template <std::size_t N, class Io>
void reserved(Io& io, Wire& wire) {
  ByteArray<N> bytes{};
  io(bytes);
  wire.reserved_zero = wire.reserved_zero && all_zero(bytes);
}

template <class Io>
void version_layout(Io& io, SnpFirmwareVersion& version, Wire& wire) {
  io(version.build);
  io(version.minor);
  io(version.major);
  reserved<1>(io, wire);
}

template <class Io>
void body_layout(Io& io, SnpReportBody& b, Wire& wire) {
  io(b.version);
  io(b.guest_svn);
  io(b.policy);
  io(b.family_id);
  io(b.image_id);
  io(b.vmpl);
  io(wire.signature_algorithm);
  io(b.current_tcb);
  io(b.platform_info);
  io(wire.key_info);
  reserved<4>(io, wire);
  io(b.report_data);
  io(b.measurement);
  io(b.host_data);
  io(b.id_key_digest);
  io(b.author_key_digest);
  io(b.report_id);
  io(b.report_id_ma);
  io(b.reported_tcb);
  if (b.version >= kCpuidSince) {
    if (!b.cpuid) b.cpuid.emplace();
    io(b.cpuid->family);
    io(b.cpuid->model);
    io(b.cpuid->stepping);
    reserved<21>(io, wire);
  } else {
    b.cpuid.reset();
    reserved<24>(io, wire);
  }
  io(b.chip_id);
  io(b.committed_tcb);
  version_layout(io, b.current_version, wire);
  version_layout(io, b.committed_version, wire);
  io(b.launch_tcb);
  if (b.version >= kMitigationsSince) {
    if (!b.mitigations) b.mitigations.emplace();
    io(b.mitigations->launch);
    io(b.mitigations->current);
    reserved<152>(io, wire);
  } else {
    reserved<168>(io, wire);
  }
}

Error malformed(std::string detail) { return Error{Errc::evidence_malformed, "SNP report: " + std::move(detail)}; }
Error unsupported(std::string detail) { return Error{Errc::evidence_unsupported, "SNP report: " + std::move(detail)}; }

Result<void> read_key_info(std::uint32_t info, SnpReportBody& body) {
  if ((info & ~kKeyInfoDefined) != 0) return malformed("reserved bits of the key information are set");
  body.author_key_enabled = (info & kAuthorKey) != 0;
  body.chip_key_masked = (info & kMaskChipKey) != 0;
  switch (const auto key = info >> kSigningKeyShift) {
    case static_cast<std::uint32_t>(VekKind::vcek): body.signing_key = VekKind::vcek; return {};
    case static_cast<std::uint32_t>(VekKind::vlek): body.signing_key = VekKind::vlek; return {};
    case kNotSigned: body.signing_key.reset(); return {};
    default: return unsupported("signing key " + std::to_string(key));
  }
}

std::uint32_t key_info_of(const SnpReportBody& body) {
  const auto key = body.signing_key ? static_cast<std::uint32_t>(*body.signing_key) : kNotSigned;
  return (body.author_key_enabled ? kAuthorKey : 0) | (body.chip_key_masked ? kMaskChipKey : 0) |
         (key << kSigningKeyShift);
}

/// A number of the signature, little-endian with padding, to 48 bytes big-endian.
Result<void> read_number(ByteView bytes, std::span<std::uint8_t> out) {
  if (!all_zero(bytes.subspan(out.size()))) return malformed("the padding of the signature is not zero");
  std::ranges::reverse_copy(bytes.first(out.size()), out.begin());
  return {};
}

Result<ByteArray<96>> read_signature(ByteView bytes) {
  ByteArray<96> out;
  const auto numbers = std::span{out};
  CLOISTER_CHECK(read_number(bytes.first(kNumberSize), numbers.first(48)));
  CLOISTER_CHECK(read_number(bytes.subspan(kNumberSize, kNumberSize), numbers.last(48)));
  if (!all_zero(bytes.subspan(2 * kNumberSize))) return malformed("the bytes behind the signature are not zero");
  return out;
}

}  // namespace

std::string_view to_string(VekKind kind) noexcept { return kind == VekKind::vlek ? "vlek" : "vcek"; }

std::optional<SnpProduct> SnpReport::product() const noexcept {
  return body_.cpuid ? snp_product_from_cpuid(body_.cpuid->family, body_.cpuid->model) : std::nullopt;
}

Result<SnpReport> parse_snp_report(ByteView bytes) {
  if (bytes.size() != kSnpReportSize) {
    return malformed(std::to_string(kSnpReportSize) + " bytes expected, got " + std::to_string(bytes.size()));
  }
  const auto version = codec::Reader{bytes}.u32le().value_or(0);
  if (version < kFirstVersion || version > kLastVersion) {
    return unsupported("version 2 to 5 expected, got " + std::to_string(version));
  }
  FieldReader in{bytes.first(kSnpSignedSize)};
  SnpReportBody body;
  Wire wire;
  body_layout(in, body, wire);
  CLOISTER_ASSERT(in.at_end());
  if (wire.signature_algorithm != kEcdsaP384Sha384) {
    return unsupported("signature algorithm 1 (ECDSA P-384 with SHA-384) expected, got " +
                       std::to_string(wire.signature_algorithm));
  }
  if (!wire.reserved_zero) return malformed("bytes that version " + std::to_string(version) + " reserves are not zero");
  CLOISTER_CHECK(read_key_info(wire.key_info, body));
  if ((body.policy & snp_policy::kMustBeOne) == 0) return malformed("bit 17 of the guest policy is zero");
  if (body.vmpl > 3 && body.vmpl != kSnpVmplHost) return malformed("VMPL " + std::to_string(body.vmpl));
  CLOISTER_TRY(signature, read_signature(bytes.subspan(kSnpSignedSize)));
  return SnpReport{to_array<kSnpReportSize>(bytes), std::move(body), signature};
}

Result<ByteArray<kSnpSignedSize>> encode_snp_body(const SnpReportBody& body) {
  if (body.version < kFirstVersion || body.version > kLastVersion || body.cpuid.has_value() != (body.version >= kCpuidSince) ||
      body.mitigations.has_value() != (body.version >= kMitigationsSince)) {
    return Error{Errc::invalid_argument, "SNP report: members that go with its version expected"};
  }
  auto copy = body;
  Wire wire{.signature_algorithm = kEcdsaP384Sha384, .key_info = key_info_of(body), .reserved_zero = true};
  FieldWriter out;
  body_layout(out, copy, wire);
  return to_array<kSnpSignedSize>(std::move(out).take());
}

ByteArray<kSnpReportSize> encode_snp_report(const ByteArray<kSnpSignedSize>& body, const ByteArray<96>& signature) {
  ByteArray<kSnpReportSize> out{};
  const auto numbers = ByteView{signature};
  std::ranges::copy(body, out.begin());
  std::ranges::reverse_copy(numbers.first(48), out.begin() + kSnpSignedSize);
  std::ranges::reverse_copy(numbers.last(48), out.begin() + kSnpSignedSize + kNumberSize);
  return out;
}

}  // namespace cloister::evidence
