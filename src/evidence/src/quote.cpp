#include "cloister/evidence/quote.hpp"

#include <string>

#include "fields.hpp"

namespace cloister::evidence {
namespace {

// --- layouts ---

template <class Io, class Body>
void td10_layout(Io& io, Body& b) {
  io(b.tee_tcb_svn);
  io(b.mr_seam);
  io(b.mr_signer_seam);
  io(b.seam_attributes);
  io(b.td_attributes);
  io(b.xfam);
  io(b.mr_td);
  io(b.mr_config_id);
  io(b.mr_owner);
  io(b.mr_owner_config);
  for (auto& rtmr : b.rtmr) io(rtmr);
  io(b.report_data);
}

template <class Io, class Body>
void td15_layout(Io& io, Body& b) {
  io(b.tee_tcb_svn2);
  io(b.mr_service_td);
}

template <class Io, class Body>
void td15_ex_layout(Io& io, Body& b) {
  io(b.vm_id);
  io(b.td_id);
  io(b.device_info);
  io(b.init_servtd_hash);
  io(b.init_servtd_attributes);
  io(b.init_cpu_svn);
  io(b.init_tee_tcb_svn);
  io(b.init_tee_fmspc);
  io(b.current_servtd_hash);
  io(b.current_servtd_attributes);
}

// --- refusals ---

Error malformed(std::string detail) { return Error{Errc::evidence_malformed, "quote: " + std::move(detail)}; }
Error unsupported(std::string detail) { return Error{Errc::evidence_unsupported, "quote: " + std::move(detail)}; }
Error too_large(std::string detail) { return Error{Errc::limit_exceeded, "quote: " + std::move(detail)}; }

std::string counts(std::size_t expected, std::size_t got) {
  return std::to_string(expected) + " bytes expected, got " + std::to_string(got);
}

Result<ByteView> take(codec::Reader& in, std::size_t n, std::string_view what) {
  const auto taken = in.take(n);
  if (!taken) return malformed("truncated in " + std::string{what} + ": " + counts(n, in.remaining()));
  return *taken;
}

template <std::size_t N>
Result<ByteArray<N>> take_array(codec::Reader& in, std::string_view what) {
  CLOISTER_TRY(taken, take(in, N, what));
  return to_array<N>(taken);
}

Result<std::uint16_t> take_u16(codec::Reader& in, std::string_view what) {
  CLOISTER_TRY(taken, take(in, 2, what));
  return *codec::Reader{taken}.u16le();
}

Result<std::uint32_t> take_u32(codec::Reader& in, std::string_view what) {
  CLOISTER_TRY(taken, take(in, 4, what));
  return *codec::Reader{taken}.u32le();
}

// --- reading ---

Result<TeeType> tee_type(std::uint32_t value) {
  switch (TeeType{value}) {
    case TeeType::sgx:
    case TeeType::tdx: return TeeType{value};
  }
  return unsupported("TEE type 0x00 or 0x81 expected, got " + std::to_string(value));
}

Result<QuoteHeader> read_header(codec::Reader& in) {
  CLOISTER_TRY(bytes, take(in, kQuoteHeaderSize, "the header"));
  QuoteHeader header;
  std::uint16_t key_type = 0;
  std::uint32_t tee = 0;
  FieldReader fields{bytes};
  fields(header.version);
  fields(key_type);
  fields(tee);
  fields(header.qe_svn);
  fields(header.pce_svn);
  fields(header.qe_vendor_id);
  fields(header.user_data);
  if (header.version < 3 || header.version > 5) {
    return unsupported("version 3 to 5 expected, got " + std::to_string(header.version));
  }
  if (key_type != kAttestationKeyP256) {
    return unsupported("attestation key type 2 expected, got " + std::to_string(key_type));
  }
  CLOISTER_TRY(known_tee, tee_type(tee));
  header.tee = known_tee;
  if (header.version == 3 && header.tee != TeeType::sgx) return unsupported("version 3 is SGX only");
  return header;
}

Result<BodyType> typed_body(codec::Reader& in, TeeType tee) {
  CLOISTER_TRY(number, take_u16(in, "the body type"));
  CLOISTER_TRY(size, take_u32(in, "the body size"));
  if (number < 1 || number > 4) return unsupported("body type 1 to 4 expected, got " + std::to_string(number));
  const BodyType type{number};
  if ((type == BodyType::sgx) != (tee == TeeType::sgx)) {
    return unsupported("body type " + std::to_string(number) + " does not belong to TEE " + std::string{to_string(tee)});
  }
  if (size != body_size(type)) {
    return malformed("body type " + std::to_string(number) + ": " + counts(body_size(type), size));
  }
  return type;
}

Result<QuoteBody> read_body(codec::Reader& in, BodyType type) {
  CLOISTER_TRY(bytes, take(in, body_size(type), "the body"));
  if (type == BodyType::sgx) {
    CLOISTER_TRY(report, parse_sgx_report(bytes));
    return QuoteBody{report};
  }
  TdBody body;
  FieldReader fields{bytes};
  td10_layout(fields, body);
  if (type != BodyType::td10) td15_layout(fields, body.v15.emplace());
  if (type == BodyType::td15_ex) td15_ex_layout(fields, body.v15->ex.emplace());
  CLOISTER_ASSERT(fields.at_end());
  return QuoteBody{std::move(body)};
}

Result<BasicCertificationData<ByteView>> read_certification(codec::Reader& in) {
  CLOISTER_TRY(type, take_u16(in, "the certification data"));
  CLOISTER_TRY(size, take_u32(in, "the certification data"));
  if (type < 1 || type > 6) return unsupported("certification data type 1 to 6 expected, got " + std::to_string(type));
  CLOISTER_TRY(data, take(in, size, "the certification data"));
  return BasicCertificationData<ByteView>{CertificationType{type}, data};
}

/// From the QE report to the inner certification data, which must be the end.
Result<QuoteView::Signature> read_qe_part(ByteView bytes) {
  QuoteView::Signature out;
  codec::Reader in{bytes};
  CLOISTER_TRY(report_bytes, take(in, kSgxReportSize, "the QE report"));
  CLOISTER_TRY(report, parse_sgx_report(report_bytes));
  out.qe_report = report;
  CLOISTER_TRY(signature, take_array<64>(in, "the QE report signature"));
  out.qe_report_signature = signature;
  CLOISTER_TRY(auth_size, take_u16(in, "the QE authentication data"));
  CLOISTER_TRY(auth, take(in, auth_size, "the QE authentication data"));
  out.qe_auth_data = auth;
  CLOISTER_TRY(certification, read_certification(in));
  if (certification.type == CertificationType::qe_report) return unsupported("certification data type 6 inside the QE part");
  out.certification = certification;
  if (!in.at_end()) return malformed(std::to_string(in.remaining()) + " bytes after the certification data");
  return out;
}

/// What the wrapper of type 6 holds, which must fill the rest of the section.
Result<ByteView> unwrap(codec::Reader& in) {
  CLOISTER_TRY(type, take_u16(in, "the certification data"));
  CLOISTER_TRY(size, take_u32(in, "the certification data"));
  if (type != 6) return unsupported("certification data type 6 expected, got " + std::to_string(type));
  if (size != in.remaining()) return malformed("certification data of type 6: " + counts(in.remaining(), size));
  return in.rest();
}

Result<QuoteView::Signature> read_signature(ByteView section, std::uint16_t version) {
  codec::Reader in{section};
  CLOISTER_TRY(signature, take_array<64>(in, "the signature"));
  CLOISTER_TRY(key, take_array<64>(in, "the attestation key"));
  auto qe_part = in.rest();
  if (version > 3) {
    CLOISTER_TRY(wrapped, unwrap(in));
    qe_part = wrapped;
  }
  CLOISTER_TRY(out, read_qe_part(qe_part));
  out.signature = signature;
  out.attestation_key = key;
  return out;
}

/// Where the QE report stands after the signed part: section size, signature, key and the wrapper's head.
std::size_t qe_report_distance(std::uint16_t version) noexcept { return 4 + 64 + 64 + (version > 3 ? 6U : 0U); }

/// The signature section with its parts of variable length in another kind of octets.
template <class To, class From>
BasicQuoteSignature<To> with_octets(const BasicQuoteSignature<From>& from) {
  return {.signature = from.signature,
          .attestation_key = from.attestation_key,
          .qe_report = from.qe_report,
          .qe_report_signature = from.qe_report_signature,
          .qe_auth_data = To(from.qe_auth_data.begin(), from.qe_auth_data.end()),
          .certification = {from.certification.type,
                            To(from.certification.data.begin(), from.certification.data.end())}};
}

// --- writing ---

void write_body(FieldWriter& out, const QuoteBody& body) {
  if (const auto* report = std::get_if<SgxReport>(&body)) {
    out(encode_sgx_report(*report));
    return;
  }
  const auto& td = std::get<TdBody>(body);
  td10_layout(out, td);
  if (td.v15) td15_layout(out, *td.v15);
  if (td.v15 && td.v15->ex) td15_ex_layout(out, *td.v15->ex);
}

Result<void> check_combination(const QuoteHeader& header, BodyType type) {
  const bool sgx = type == BodyType::sgx;
  if (sgx != (header.tee == TeeType::sgx)) return Error{Errc::invalid_argument, "quote: body and TEE type differ"};
  const bool fits = (header.version == 3 && sgx) || (header.version == 4 && (sgx || type == BodyType::td10)) ||
                    header.version == 5;
  if (!fits) return Error{Errc::invalid_argument, "quote: no such body in version " + std::to_string(header.version)};
  return {};
}

void write_certification(codec::Writer& out, CertificationType type, ByteView data) {
  out.u16le(static_cast<std::uint16_t>(type));
  out.u32le(static_cast<std::uint32_t>(data.size()));
  out.raw(data);
}

Bytes encode_qe_part(const QuoteSignature& signature) {
  codec::Writer out;
  out.raw(encode_sgx_report(signature.qe_report));
  out.raw(signature.qe_report_signature);
  out.u16le(static_cast<std::uint16_t>(signature.qe_auth_data.size()));
  out.raw(signature.qe_auth_data);
  write_certification(out, signature.certification.type, signature.certification.data);
  return std::move(out).take();
}

}  // namespace

std::string_view to_string(TeeType tee) noexcept {
  switch (tee) {
    case TeeType::sgx: return "sgx";
    case TeeType::tdx: return "tdx";
  }
  return "unknown";
}

BodyType body_type(const QuoteBody& body) noexcept {
  const auto* td = std::get_if<TdBody>(&body);
  if (td == nullptr) return BodyType::sgx;
  if (!td->v15) return BodyType::td10;
  return td->v15->ex ? BodyType::td15_ex : BodyType::td15;
}

std::size_t body_size(BodyType type) noexcept {
  switch (type) {
    case BodyType::sgx: return kSgxReportSize;
    case BodyType::td10: return kTdBody10Size;
    case BodyType::td15: return kTdBody15Size;
    case BodyType::td15_ex: return kTdBody15ExSize;
  }
  return 0;
}

Quote::Quote(const QuoteView& view)
    : content_{view.header(), view.body(), with_octets<Bytes>(view.signature())},
      bytes_{to_bytes(view.bytes())},
      signed_size_{view.signed_size_},
      qe_report_offset_{view.qe_report_offset_},
      trailing_{view.trailing_} {}

QuoteView Quote::view() const {
  QuoteView out{content_.header, content_.body, with_octets<ByteView>(content_.signature)};
  out.bytes_ = bytes_;
  out.signed_size_ = signed_size_;
  out.qe_report_offset_ = qe_report_offset_;
  out.trailing_ = trailing_;
  return out;
}

const Digest64& Quote::report_data() const noexcept {
  if (const auto* report = sgx()) return report->report_data;
  return td()->report_data;
}

Result<Quote> parse_quote(ByteView bytes) {
  CLOISTER_TRY(view, view_quote(bytes));
  return Quote{view};
}

Result<QuoteView> view_quote(ByteView bytes) {
  codec::Reader in{bytes};
  CLOISTER_TRY(header, read_header(in));
  auto type = header.tee == TeeType::sgx ? BodyType::sgx : BodyType::td10;
  if (header.version == 5) {
    CLOISTER_TRY(stated, typed_body(in, header.tee));
    type = stated;
  }
  CLOISTER_TRY(body, read_body(in, type));
  const auto signed_size = bytes.size() - in.remaining();
  CLOISTER_TRY(section_size, take_u32(in, "the signature's size"));
  CLOISTER_TRY(section, take(in, section_size, "the signature section"));
  const auto size = bytes.size() - in.remaining();
  if (size > kMaxQuoteSize) return too_large("at most " + counts(kMaxQuoteSize, size));
  if (in.remaining() > kMaxTrailingBytes) {
    return too_large("after the declared length at most " + counts(kMaxTrailingBytes, in.remaining()));
  }
  CLOISTER_TRY(signature, read_signature(section, header.version));
  QuoteView out{header, std::move(body), signature};
  out.bytes_ = bytes.first(size);
  out.signed_size_ = signed_size;
  out.qe_report_offset_ = signed_size + qe_report_distance(header.version);
  out.trailing_ = in.remaining();
  return out;
}

Result<Bytes> encode_signed_part(const QuoteHeader& header, const QuoteBody& body) {
  const auto type = body_type(body);
  CLOISTER_CHECK(check_combination(header, type));
  FieldWriter out;
  out(header.version);
  out(kAttestationKeyP256);
  out(static_cast<std::uint32_t>(header.tee));
  out(header.qe_svn);
  out(header.pce_svn);
  out(header.qe_vendor_id);
  out(header.user_data);
  if (header.version == 5) {
    out(static_cast<std::uint16_t>(type));
    out(static_cast<std::uint32_t>(body_size(type)));
  }
  write_body(out, body);
  return std::move(out).take();
}

Result<Bytes> encode_quote(const QuoteContent& content) {
  const auto& signature = content.signature;
  if (signature.qe_auth_data.size() > 0xFFFF) return Error{Errc::invalid_argument, "quote: QE authentication data too long"};
  if (signature.certification.type == CertificationType::qe_report) {
    return Error{Errc::invalid_argument, "quote: certification data type 6 inside the QE part"};
  }
  if (signature.certification.data.size() > kMaxQuoteSize) return too_large("certification data too long");
  CLOISTER_TRY(signed_part, encode_signed_part(content.header, content.body));
  codec::Writer section;
  section.raw(signature.signature);
  section.raw(signature.attestation_key);
  const auto qe_part = encode_qe_part(signature);
  if (content.header.version > 3) {
    write_certification(section, CertificationType::qe_report, qe_part);
  } else {
    section.raw(qe_part);
  }
  codec::Writer out;
  out.raw(signed_part);
  out.u32le(static_cast<std::uint32_t>(section.size()));
  out.raw(section.bytes());
  if (out.size() > kMaxQuoteSize) return too_large("at most " + counts(kMaxQuoteSize, out.size()));
  return std::move(out).take();
}

}  // namespace cloister::evidence
