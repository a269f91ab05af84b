#include "cloister/collateral/recognise.hpp"

#include "cloister/codec/der.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::collateral {
namespace {

namespace json = codec::json;
namespace x509 = crypto::x509;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank{" \t\r\n\0", 5};
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// RFC 3986 section 2.1; a malformed escape stays as it is.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && text.size() - i > 2) {
      if (const auto byte = codec::from_hex(text.substr(i + 1, 2))) {
        out.push_back(static_cast<char>(byte->front()));
        i += 2;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

Result<Recognised> recognise_pem(std::string_view text) {
  CLOISTER_TRY(blocks, codec::parse_pem(text));
  if (blocks.empty()) return Recognised{OtherFile{}};
  if (blocks.front().label == "X509 CRL") {
    CLOISTER_TRY(crl, x509::parse_crl(blocks.front().der));
    return Recognised{std::move(crl)};
  }
  if (blocks.front().label != "CERTIFICATE") return Recognised{OtherFile{}};
  CLOISTER_TRY(chain, x509::parse_chain(text, 16));
  return Recognised{std::move(chain)};
}

Result<Recognised> recognise_json(std::string_view text) {
  CLOISTER_TRY(value, json::parse(text, {.bytes = evidence::kMaxCollateralSize}));
  if (value.find("tcbInfo") != nullptr) {
    CLOISTER_TRY(info, evidence::parse_tcb_info(text));
    return Recognised{std::move(info)};
  }
  if (const auto* identity = value.find("enclaveIdentity")) {
    const auto* id = identity->find("id");
    const auto* name = id == nullptr ? nullptr : id->as_string();
    // The identity of the quote verification enclave has the same form, and is nobody's QE.
    if (name != nullptr && *name == "QVE") return Recognised{OtherFile{}};
    CLOISTER_TRY(parsed, evidence::parse_qe_identity(text));
    return Recognised{std::move(parsed)};
  }
  if (value.find("tcb_info") != nullptr && value.find("qe_identity") != nullptr) {
    CLOISTER_TRY(whole, evidence::parse_quote_collateral(text));
    return Recognised{std::move(whole)};
  }
  return Recognised{OtherFile{}};
}

/// A sequence of this size has a long length, which text that begins with "0" does not look like.
bool looks_like_der(ByteView bytes) {
  constexpr std::uint8_t kLongLength = 0x80;
  return bytes.size() > 2 && bytes[0] == codec::der::tag::kSequence && bytes[1] >= kLongLength;
}

Result<Recognised> recognise_der(ByteView der) {
  if (auto certificate = x509::parse_certificate(der)) return Recognised{Certificates{*certificate}};
  CLOISTER_TRY(crl, x509::parse_crl(der));
  return Recognised{std::move(crl)};
}

}  // namespace

CaType ca_type(std::string_view issuer_common_name) {
  return issuer_common_name.find("Processor") != std::string_view::npos ? CaType::processor : CaType::platform;
}

Result<Recognised> recognise(ByteView content) {
  const auto text = trimmed(as_text(content));
  if (text.starts_with('{')) return recognise_json(text);
  if (text.starts_with("-----BEGIN%20")) return recognise_pem(percent_decoded(text));
  if (text.find("-----BEGIN ") != std::string_view::npos && codec::is_utf8(content)) return recognise_pem(text);
  if (looks_like_der(content)) return recognise_der(content);
  auto decoded = codec::from_hex(text);
  if (!decoded) decoded = codec::from_base64_lines(text);
  if (decoded && looks_like_der(*decoded)) return recognise_der(*decoded);
  return Recognised{OtherFile{}};
}

}  // namespace cloister::collateral
