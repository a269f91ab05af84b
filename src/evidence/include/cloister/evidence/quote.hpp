#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/sgx_report.hpp"

/// Intel DCAP quotes (Intel SGX ECDSA QuoteLibReference DCAP API, appendix A; Intel TDX DCAP Quoting Library API,
/// appendix A): version 3 (SGX), 4 (SGX or TDX), 5 (typed body). All integers little-endian. Parsing proves nothing.
namespace cloister::evidence {

enum class TeeType : std::uint32_t { sgx = 0x00, tdx = 0x81 };
[[nodiscard]] std::string_view to_string(TeeType tee) noexcept;  // "sgx", "tdx"

/// The QE vendor id of Intel's quoting enclaves, 939a7233-f79c-4ca9-940a-0db3957f0607.
inline constexpr ByteArray<16> kIntelQeVendorId{0x93, 0x9A, 0x72, 0x33, 0xF7, 0x9C, 0x4C, 0xA9,
                                                0x94, 0x0A, 0x0D, 0xB3, 0x95, 0x7F, 0x06, 0x07};
/// The one attestation key type that exists in practice: ECDSA with SHA-256 on P-256.
inline constexpr std::uint16_t kAttestationKeyP256 = 2;

inline constexpr std::size_t kQuoteHeaderSize = 48;
/// Header, SGX report, length, and a signature section with nothing of variable length in it.
inline constexpr std::size_t kMinQuoteSize = kQuoteHeaderSize + kSgxReportSize + 4 + 64 + 64 + kSgxReportSize + 64 + 2 + 6;
/// Of the declared quote (header to the end of the signature section).
inline constexpr std::size_t kMaxQuoteSize = 256 * 1024;
inline constexpr std::size_t kMaxTrailingBytes = 16 * 1024;

/// 48 bytes. The attestation key type is always `kAttestationKeyP256`; others are refused.
struct QuoteHeader {
  std::uint16_t version = 0;  // 3, 4 or 5
  TeeType tee = TeeType::sgx;
  std::uint16_t qe_svn = 0;   // zero in practice from version 4 on
  std::uint16_t pce_svn = 0;
  ByteArray<16> qe_vendor_id{};  // as it stands: whether it is Intel's is the verifier's check
  ByteArray<20> user_data{};

  friend bool operator==(const QuoteHeader&, const QuoteHeader&) = default;
};

/// What the 1.5 extended body (type 4) adds.
struct TdBody15Ex {
  std::uint8_t vm_id = 0;
  ByteArray<32> td_id{};
  ByteArray<48> device_info{};
  ByteArray<48> init_servtd_hash{};
  ByteArray<8> init_servtd_attributes{};
  ByteArray<16> init_cpu_svn{};
  ByteArray<16> init_tee_tcb_svn{};
  ByteArray<12> init_tee_fmspc{};
  ByteArray<48> current_servtd_hash{};
  ByteArray<8> current_servtd_attributes{};

  friend bool operator==(const TdBody15Ex&, const TdBody15Ex&) = default;
};

/// What the TDX 1.5 body (type 3) adds.
struct TdBody15 {
  ByteArray<16> tee_tcb_svn2{};  // of the module that runs now; `tee_tcb_svn` is the one at launch
  Digest48 mr_service_td{};
  std::optional<TdBody15Ex> ex;

  friend bool operator==(const TdBody15&, const TdBody15&) = default;
};

/// A TD's part of a quote: 584 bytes (1.0), 648 (1.5) or 885 (1.5 extended).
struct TdBody {
  ByteArray<16> tee_tcb_svn{};
  Digest48 mr_seam{};
  Digest48 mr_signer_seam{};
  ByteArray<8> seam_attributes{};
  std::uint64_t td_attributes = 0;  // bit 0 DEBUG, 28 SEPT_VE_DISABLE, 29 MIGRATABLE, 30 PKS, 31 KL, 63 PERFMON
  std::uint64_t xfam = 0;
  Digest48 mr_td{};
  Digest48 mr_config_id{};
  Digest48 mr_owner{};
  Digest48 mr_owner_config{};
  std::array<Digest48, 4> rtmr{};
  Digest64 report_data{};
  std::optional<TdBody15> v15;

  friend bool operator==(const TdBody&, const TdBody&) = default;
};
inline constexpr std::size_t kTdBody10Size = 584;
inline constexpr std::size_t kTdBody15Size = 648;
inline constexpr std::size_t kTdBody15ExSize = 885;

using QuoteBody = std::variant<SgxReport, TdBody>;

/// The body's type number in a version 5 quote.
enum class BodyType : std::uint16_t { sgx = 1, td10 = 2, td15 = 3, td15_ex = 4 };
[[nodiscard]] BodyType body_type(const QuoteBody& body) noexcept;
/// Bytes of a body of this type.
[[nodiscard]] std::size_t body_size(BodyType type) noexcept;

enum class CertificationType : std::uint16_t {
  ppid_plain = 1,
  ppid_rsa2048 = 2,  // PPID encrypted, then CPUSVN, PCESVN, PCE id
  ppid_rsa3072 = 3,
  pck_leaf = 4,      // one certificate
  pck_chain = 5,     // PEM, leaf to root, sometimes with a NUL at the end
  qe_report = 6,     // the outer wrapper from version 4 on; never the inner type
};

/// `Octets` is Bytes, or ByteView where a quote is only looked at.
template <class Octets>
struct BasicCertificationData {
  CertificationType type = CertificationType::pck_chain;
  Octets data;

  friend bool operator==(const BasicCertificationData&, const BasicCertificationData&) = default;
};
using CertificationData = BasicCertificationData<Bytes>;

/// The signature section. Versions 4 and 5 wrap everything after the attestation key in certification data of
/// type 6; here it is the same for all versions.
template <class Octets>
struct BasicQuoteSignature {
  ByteArray<64> signature{};        // r || s, big-endian, over `Quote::signed_bytes`
  ByteArray<64> attestation_key{};  // x || y
  SgxReport qe_report;
  ByteArray<64> qe_report_signature{};  // r || s by the PCK key, over `Quote::qe_report_bytes`
  Octets qe_auth_data;                  // any length that 16 bits can say
  BasicCertificationData<Octets> certification;

  friend bool operator==(const BasicQuoteSignature&, const BasicQuoteSignature&) = default;
};
using QuoteSignature = BasicQuoteSignature<Bytes>;

struct QuoteContent {
  QuoteHeader header;
  QuoteBody body;
  QuoteSignature signature;

  friend bool operator==(const QuoteContent&, const QuoteContent&) = default;
};

/// A quote as it was read, in bytes of somebody else, which must outlive it; nothing of it is allocated. Immutable,
/// thread-safe. Made by `view_quote` and `Quote::view` only.
class QuoteView {
 public:
  using Signature = BasicQuoteSignature<ByteView>;
  [[nodiscard]] const QuoteHeader& header() const noexcept { return header_; }
  [[nodiscard]] const QuoteBody& body() const noexcept { return body_; }
  [[nodiscard]] const Signature& signature() const noexcept { return signature_; }
  [[nodiscard]] TeeType tee() const noexcept { return header_.tee; }
  /// Null when the quote is of the other kind.
  [[nodiscard]] const TdBody* td() const noexcept { return std::get_if<TdBody>(&body_); }
  /// As those of `Quote`.
  [[nodiscard]] ByteView bytes() const noexcept { return bytes_; }
  [[nodiscard]] ByteView signed_bytes() const noexcept { return bytes_.first(signed_size_); }
  [[nodiscard]] ByteView qe_report_bytes() const noexcept { return bytes_.subspan(qe_report_offset_, kSgxReportSize); }
  [[nodiscard]] std::size_t trailing_bytes() const noexcept { return trailing_; }

 private:
  friend class Quote;
  friend Result<QuoteView> view_quote(ByteView);
  QuoteView(QuoteHeader header, QuoteBody body, Signature signature)
      : header_{header}, body_{std::move(body)}, signature_{signature} {}
  QuoteHeader header_;
  QuoteBody body_;
  Signature signature_;
  ByteView bytes_;
  std::size_t signed_size_ = 0;
  std::size_t qe_report_offset_ = 0;
  std::size_t trailing_ = 0;
};

/// A quote as it was read; owns its bytes. Immutable, thread-safe. Made by `parse_quote` only.
class Quote {
 public:
  [[nodiscard]] const QuoteHeader& header() const noexcept { return content_.header; }
  [[nodiscard]] const QuoteBody& body() const noexcept { return content_.body; }
  [[nodiscard]] const QuoteSignature& signature() const noexcept { return content_.signature; }
  [[nodiscard]] const QuoteContent& content() const noexcept { return content_; }
  [[nodiscard]] TeeType tee() const noexcept { return content_.header.tee; }
  /// Null when the quote is of the other kind.
  [[nodiscard]] const SgxReport* sgx() const noexcept { return std::get_if<SgxReport>(&content_.body); }
  [[nodiscard]] const TdBody* td() const noexcept { return std::get_if<TdBody>(&content_.body); }
  [[nodiscard]] const Digest64& report_data() const noexcept;

  /// The quote, header to the end of its declared length; trailing bytes are not kept. Views live as long as this.
  [[nodiscard]] ByteView bytes() const noexcept { return bytes_; }
  /// What the attestation key signed: header and body, as they stood.
  [[nodiscard]] ByteView signed_bytes() const noexcept { return ByteView{bytes_}.first(signed_size_); }
  /// What the PCK key signed: the QE report's 384 bytes.
  [[nodiscard]] ByteView qe_report_bytes() const noexcept {
    return ByteView{bytes_}.subspan(qe_report_offset_, kSgxReportSize);
  }
  /// How many bytes followed the declared length; never interpreted.
  [[nodiscard]] std::size_t trailing_bytes() const noexcept { return trailing_; }
  /// The same without the ownership; this must outlive it.
  [[nodiscard]] QuoteView view() const;

 private:
  friend Result<Quote> parse_quote(ByteView);
  explicit Quote(const QuoteView& view);
  QuoteContent content_;
  Bytes bytes_;
  std::size_t signed_size_;
  std::size_t qe_report_offset_;
  std::size_t trailing_;
};

/// Up to `kMaxTrailingBytes` may follow the declared length. `evidence_unsupported` for a version, key, TEE, body or
/// certification type that does not exist (or not together); `evidence_malformed` for lengths that do not fit;
/// `limit_exceeded` for more than the limits above.
[[nodiscard]] Result<Quote> parse_quote(ByteView bytes);
/// The same without a copy: `bytes` must outlive the view.
[[nodiscard]] Result<QuoteView> view_quote(ByteView bytes);

/// Header and body, i.e. what the attestation key has to sign. `invalid_argument` when version, TEE and body do not
/// go together (3: SGX; 4: SGX or TD 1.0; 5: any).
[[nodiscard]] Result<Bytes> encode_signed_part(const QuoteHeader& header, const QuoteBody& body);
/// The whole quote; also refuses variable parts beyond the limits, and certification type 6 inside.
/// encode_quote(parse_quote(x).content()) == x, without the trailing bytes.
[[nodiscard]] Result<Bytes> encode_quote(const QuoteContent& content);

}  // namespace cloister::evidence
