#include "cloister/evidence/collateral.hpp"

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "documents.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;
namespace docs = documents;
namespace x509 = crypto::x509;

/// Hex of base64 of PEM is the deepest that anybody writes.
constexpr int kMaxWrappings = 3;

ByteView trimmed(ByteView bytes) {
  const auto blank = [](std::uint8_t c) { return c == 0 || c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!bytes.empty() && blank(bytes.back())) bytes = bytes.first(bytes.size() - 1);
  while (!bytes.empty() && blank(bytes.front())) bytes = bytes.subspan(1);
  return bytes;
}

/// A SEQUENCE with a long length: no text begins like that, and every CRL does.
bool is_der(ByteView bytes) { return bytes.size() >= 2 && bytes[0] == 0x30 && (bytes[1] & 0x80) != 0; }

Result<Bytes> pem_crl(std::string_view text) {
  CLOISTER_TRY(blocks, codec::parse_pem(text, 1));
  if (blocks.size() != 1 || blocks.front().label != "X509 CRL") return Error{Errc::malformed, "one X509 CRL block expected"};
  return std::move(blocks.front().der);
}

Result<Bytes> unwrap_text(std::string_view text) {
  if (text.starts_with("-----BEGIN")) return pem_crl(text);
  if (auto hex = codec::from_hex(text)) return hex;
  return codec::from_base64_lines(text);
}

Result<Bytes> octets(const json::Array& values) {
  Bytes out;
  out.reserve(values.size());
  for (const auto& value : values) {
    const auto byte = value.as_uint();
    if (!byte || *byte > 0xFF) return Error{Errc::malformed, "byte values expected"};
    out.push_back(static_cast<std::uint8_t>(*byte));
  }
  return out;
}

/// Text as its characters, or an array of byte values.
Bytes text_or_octets(json::Fields& fields, std::string_view name) {
  const auto& value = fields.any(name);
  if (fields.failed()) return {};
  if (const auto* text = value.as_string()) return to_bytes(*text);
  if (const auto* values = value.as_array()) {
    auto bytes = octets(*values);
    if (bytes) return std::move(bytes).value();
    fields.fail(bytes.error().code(), name, bytes.error().detail());
    return {};
  }
  fields.fail(Errc::malformed, name, "text or an array of byte values expected");
  return {};
}

Bytes crl(json::Fields& fields, std::string_view name) {
  const auto given = text_or_octets(fields, name);
  if (fields.failed()) return {};
  auto der = crl_to_der(given);
  if (der) return std::move(der).value();
  fields.fail(der.error().code(), name, der.error().detail());
  return {};
}

std::string chain(json::Fields& fields, std::string_view name) {
  return std::string{as_text(text_or_octets(fields, name))};
}

struct SignedText {
  std::string body;
  ByteArray<64> signature{};
};

/// The names of one signed document's parts.
struct DocumentNames {
  std::string_view member;     // in the collateral
  std::string_view signature;  // in the collateral, beside it
  std::string_view inner;      // in the vendor's envelope
};
constexpr DocumentNames kTcbInfoNames{"tcb_info", "tcb_info_signature", "tcbInfo"};
constexpr DocumentNames kQeIdentityNames{"qe_identity", "qe_identity_signature", "enclaveIdentity"};

/// Whether this is the vendor's envelope and not the signed value alone, which has no such member.
bool is_envelope(std::string_view text, std::string_view inner) {
  return text.find('"' + std::string{inner} + '"') != std::string_view::npos;
}

SignedText from_envelope(json::Fields& fields, std::string_view text, const DocumentNames& names) {
  auto opened = docs::open_envelope(text, names.inner);
  if (!opened) {
    fields.fail(opened.error().code(), names.member, opened.error().detail());
    return {};
  }
  const auto beside = fields.optional_string(names.signature);
  const auto stated = beside ? codec::from_hex(*beside) : Result<Bytes>{to_bytes(opened->signature)};
  if (!stated || !same_bytes(*stated, opened->signature)) {
    fields.fail(Errc::malformed, names.signature, "differs from the one in the document");
  }
  return {std::move(opened->body), opened->signature};
}

/// Strings of the C structure are handed on with their terminating NUL by some.
std::string_view without_nul(std::string_view text) {
  while (text.ends_with('\0')) text.remove_suffix(1);
  return text;
}

SignedText signed_text(json::Fields& fields, std::string_view whole, const DocumentNames& names) {
  const auto& value = fields.any(names.member);
  if (fields.failed()) return {};
  const auto* string = value.as_string();
  if (string == nullptr && value.as_object() == nullptr) {
    fields.fail(Errc::malformed, names.member, "a JSON document expected");
    return {};
  }
  const auto text = string != nullptr ? without_nul(*string) : value.raw(whole);
  if (is_envelope(text, names.inner)) return from_envelope(fields, text, names);
  return {std::string{text}, fields.hex_array<64>(names.signature)};
}

using Certificates = std::vector<x509::CertificatePtr>;

/// The chains of one collateral, whose certificates repeat: each is parsed once.
class Chains {
 public:
  Result<Certificates> parse(const std::string& pem, std::string_view member) {
    auto parsed = x509::parse_chain(pem, known_);
    if (!parsed) return parsed.error().in(member);
    if (parsed->empty()) return Error{Errc::certificate_malformed, std::string{member} + ": no certificate"};
    known_.insert(known_.end(), parsed->begin(), parsed->end());
    return parsed;
  }
  /// Leaf first.
  Result<Certificates> parse_ordered(const std::string& pem, std::string_view member) {
    CLOISTER_TRY(certificates, parse(pem, member));
    return x509::leaf_first(std::move(certificates));
  }

 private:
  Certificates known_;
};

Result<x509::Crl> parse_crl(const Bytes& der, std::string_view member) {
  auto parsed = x509::parse_crl(der);
  if (!parsed) return parsed.error().in(member);
  return parsed;
}

}  // namespace

Result<Bytes> crl_to_der(ByteView text_or_der) {
  Bytes current = to_bytes(text_or_der);
  for (int layer = 0; layer <= kMaxWrappings; ++layer) {
    if (is_der(current)) return current;
    auto inner = unwrap_text(as_text(trimmed(current)));
    if (!inner) break;
    current = std::move(inner).value();
  }
  return Error{Errc::collateral_malformed, "CRL: DER, PEM, hex or base64 expected"};
}

Result<QuoteCollateral> parse_quote_collateral(std::string_view text) {
  json::Limits limits;
  limits.bytes = kMaxCollateralSize;
  limits.values = kMaxCollateralSize;  // arrays of byte values
  const auto root = json::parse(text, limits);
  if (!root) return docs::refused(root.error(), "collateral");
  json::Fields fields{*root, "collateral"};
  QuoteCollateral out;
  out.pck_crl_issuer_chain = chain(fields, "pck_crl_issuer_chain");
  out.root_ca_crl = crl(fields, "root_ca_crl");
  out.pck_crl = crl(fields, "pck_crl");
  out.tcb_info_issuer_chain = chain(fields, "tcb_info_issuer_chain");
  auto tcb_info = signed_text(fields, text, kTcbInfoNames);
  out.tcb_info = std::move(tcb_info.body);
  out.tcb_info_signature = tcb_info.signature;
  out.qe_identity_issuer_chain = chain(fields, "qe_identity_issuer_chain");
  auto qe_identity = signed_text(fields, text, kQeIdentityNames);
  out.qe_identity = std::move(qe_identity.body);
  out.qe_identity_signature = qe_identity.signature;
  out.pck_certificate_chain = fields.optional_string("pck_certificate_chain");
  if (const auto done = fields.finish_lenient(); !done) return docs::refused(done.error(), "collateral");
  return out;
}

std::string write_quote_collateral(const QuoteCollateral& collateral) {
  json::Object out;
  out.emplace_back("pck_crl_issuer_chain", collateral.pck_crl_issuer_chain);
  out.emplace_back("root_ca_crl", codec::to_hex(collateral.root_ca_crl));
  out.emplace_back("pck_crl", codec::to_hex(collateral.pck_crl));
  out.emplace_back("tcb_info_issuer_chain", collateral.tcb_info_issuer_chain);
  out.emplace_back("tcb_info", collateral.tcb_info);
  out.emplace_back("tcb_info_signature", codec::to_hex(collateral.tcb_info_signature));
  out.emplace_back("qe_identity_issuer_chain", collateral.qe_identity_issuer_chain);
  out.emplace_back("qe_identity", collateral.qe_identity);
  out.emplace_back("qe_identity_signature", codec::to_hex(collateral.qe_identity_signature));
  if (collateral.pck_certificate_chain) out.emplace_back("pck_certificate_chain", *collateral.pck_certificate_chain);
  return json::write(json::Value{std::move(out)});
}

Result<CollateralDocuments> parse_documents(const QuoteCollateral& collateral) {
  Chains chains;
  CLOISTER_TRY(pck_crl_chain, chains.parse(collateral.pck_crl_issuer_chain, "pck_crl_issuer_chain"));
  CLOISTER_TRY(root_crl, parse_crl(collateral.root_ca_crl, "root_ca_crl"));
  CLOISTER_TRY(pck_crl, parse_crl(collateral.pck_crl, "pck_crl"));
  CLOISTER_TRY(tcb_chain, chains.parse_ordered(collateral.tcb_info_issuer_chain, "tcb_info_issuer_chain"));
  CLOISTER_TRY(tcb_info, parse_tcb_info_body(collateral.tcb_info));
  CLOISTER_TRY(qe_chain, chains.parse_ordered(collateral.qe_identity_issuer_chain, "qe_identity_issuer_chain"));
  CLOISTER_TRY(qe_identity, parse_qe_identity_body(collateral.qe_identity));
  Certificates pck_chain;
  if (collateral.pck_certificate_chain) {
    CLOISTER_TRY(given, chains.parse(*collateral.pck_certificate_chain, "pck_certificate_chain"));
    pck_chain = std::move(given);
  }
  return CollateralDocuments{
      std::move(pck_crl_chain),
      std::move(root_crl),
      std::move(pck_crl),
      std::move(tcb_chain),
      SignedTcbInfo{std::move(tcb_info), HashedText{collateral.tcb_info}, collateral.tcb_info_signature},
      std::move(qe_chain),
      SignedQeIdentity{std::move(qe_identity), HashedText{collateral.qe_identity}, collateral.qe_identity_signature},
      std::move(pck_chain),
  };
}

}  // namespace cloister::evidence
