#include "request.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "cloister/evidence/detect.hpp"

namespace cloister::capi {
namespace {

namespace x509 = crypto::x509;

static_assert(CLOISTER_VERIFY_MAX_EVIDENCE == evidence::kMaxEvidenceFileSize);
static_assert(CLOISTER_VERIFY_MAX_DOCUMENT == collateral::kMaxBundleFileSize);
static_assert(CLOISTER_VERIFY_MAX_DOCUMENTS == collateral::kMaxBundleFiles);
static_assert(CLOISTER_VERIFY_MAX_CERTIFICATE == 16 * x509::kMaxCertificateSize);
static_assert(CLOISTER_VERIFY_MAX_POLICY == policy::kMaxPolicySize);

Error unfit(std::string_view member, std::string why) {
  return Error{Errc::invalid_argument, std::string{member} + ": " + std::move(why)};
}

/// A request of a program that was compiled with another header: shorter ones end with members that were not given,
/// longer ones may have nothing in what is not known here.
Result<cloister_verify_request> of_any_size(const cloister_verify_request* given) {
  if (given == nullptr) return unfit("request", "NULL");
  constexpr std::size_t kSmallest = sizeof(cloister_verify_request);  // of version 1
  constexpr std::size_t kLargest = 4096;
  const auto size = given->struct_size;
  if (size < kSmallest || size > kLargest) {
    return unfit("struct_size", std::to_string(kSmallest) + " expected, got " + std::to_string(size));
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(given);  // to bytes: allowed aliasing
  if (!all_zero(ByteView{bytes, size}.subspan(sizeof(cloister_verify_request)))) {
    return unfit("request", "it has members that this version of the library does not know");
  }
  return *given;
}

/// `at_most`: bytes.
Result<ByteView> view_of(const cloister_verify_bytes& given, std::string_view member, std::size_t at_most) {
  if (given.data == nullptr && given.size != 0) return unfit(member, "NULL with a size");
  if (given.size > at_most) {
    return Error{Errc::limit_exceeded, std::string{member} + ": at most " + std::to_string(at_most) +
                                           " bytes expected, got " + std::to_string(given.size)};
  }
  return ByteView{given.data, given.size};
}

template <class T>
Result<std::span<const T>> list_of(const T* given, std::size_t count, std::string_view member, std::size_t at_most) {
  if (given == nullptr && count != 0) return unfit(member, "NULL with a count");
  if (count > at_most) {
    return Error{Errc::limit_exceeded, std::string{member} + ": at most " + std::to_string(at_most) +
                                           " expected, got " + std::to_string(count)};
  }
  return std::span<const T>{given, count};
}

/// A document without a name is known by its place, from 1.
std::string name_of(const cloister_verify_document& document, std::size_t place) {
  constexpr std::size_t kLongest = 255;
  if (document.name != nullptr) return {document.name, ::strnlen(document.name, kLongest)};
  return "document " + std::to_string(place);
}

Result<std::vector<collateral::BundleFile>> read_collateral(const cloister_verify_request& request) {
  CLOISTER_TRY(documents,
               list_of(request.collateral, request.collateral_count, "collateral", CLOISTER_VERIFY_MAX_DOCUMENTS));
  std::vector<collateral::BundleFile> out;
  std::size_t rest = CLOISTER_VERIFY_MAX_COLLATERAL;
  for (const auto& document : documents) {
    auto name = name_of(document, out.size() + 1);
    CLOISTER_TRY(content, view_of(document.content, name, CLOISTER_VERIFY_MAX_DOCUMENT));
    if (content.size() > rest) {
      return Error{Errc::limit_exceeded, "collateral: more than " + std::to_string(CLOISTER_VERIFY_MAX_COLLATERAL) + " bytes"};
    }
    rest -= content.size();
    out.push_back({std::move(name), to_bytes(content)});
  }
  return out;
}

Result<std::vector<x509::CertificatePtr>> read_certificates(const cloister_verify_bytes* given, std::size_t count,
                                                            std::string_view member) {
  CLOISTER_TRY(elements, list_of(given, count, member, CLOISTER_VERIFY_MAX_CERTIFICATES));
  std::vector<x509::CertificatePtr> out;
  for (const auto& element : elements) {
    CLOISTER_TRY(bytes, view_of(element, member, CLOISTER_VERIFY_MAX_CERTIFICATE));
    if (auto one = x509::parse_certificate(bytes)) {
      out.push_back(*one);
      continue;
    }
    auto chain = x509::parse_chain(as_text(bytes));
    if (!chain) return chain.error().in(member);
    out.insert(out.end(), chain->begin(), chain->end());
  }
  return out;
}

/// The rules of `--trust-root` and of a trust file's `lab_roots`.
Result<attestation::TrustAnchors> read_anchors(const cloister_verify_request& request) {
  using attestation::AnchorKind;
  using attestation::TrustAnchor;
  CLOISTER_TRY(roots, read_certificates(request.roots, request.root_count, "roots"));
  CLOISTER_TRY(lab_roots, read_certificates(request.lab_roots, request.lab_root_count, "lab_roots"));
  auto anchors = request.root_count == 0 ? attestation::TrustAnchors::vendors() : attestation::TrustAnchors{};
  for (const auto& root : roots) {
    auto anchor = TrustAnchor::make(root, AnchorKind::given);
    if (!anchor && anchor.error().code() == Errc::lab_root_not_trusted) continue;
    if (!anchor) return anchor.error().in("roots");
    anchors.add(*anchor);
  }
  for (const auto& root : lab_roots) {
    auto anchor = TrustAnchor::make(root, AnchorKind::lab);
    if (!anchor) return anchor.error().in("lab_roots");
    anchors.add(*anchor);
  }
  return anchors;
}

Result<std::optional<Digest64>> read_report_data(const cloister_verify_request& request) {
  CLOISTER_TRY(report_data, view_of(request.report_data, "report_data", Digest64{}.size()));
  CLOISTER_TRY(nonce, view_of(request.nonce, "nonce", Digest64{}.size()));
  if (request.report_data.data != nullptr && request.nonce.data != nullptr) {
    return unfit("nonce", "not beside report_data");
  }
  if (request.report_data.data != nullptr) {
    if (report_data.size() != Digest64{}.size()) {
      return unfit("report_data", "64 bytes expected, got " + std::to_string(report_data.size()));
    }
    return std::optional{to_array<64>(report_data)};
  }
  if (request.nonce.data == nullptr) return std::optional<Digest64>{};
  if (nonce.empty()) return unfit("nonce", "1 to 64 bytes expected, got 0");
  CLOISTER_TRY(data, verdict::report_data_of_nonce(nonce));
  return std::optional{data};
}

Result<verdict::Terms> read_terms(const cloister_verify_request& request) {
  CLOISTER_TRY(anchors, read_anchors(request));
  if (request.time < 0 || request.time > CLOISTER_VERIFY_MAX_TIME) return unfit("time", "seconds since 1970 expected");
  CLOISTER_TRY(report_data, read_report_data(request));
  CLOISTER_TRY(text, view_of(request.policy, "policy", CLOISTER_VERIFY_MAX_POLICY));
  policy::Policy policy;
  if (request.policy.data != nullptr) {
    auto parsed = policy::parse_policy(as_text(text));
    if (!parsed) return parsed.error().in("policy");
    policy = std::move(parsed).value();
  }
  return verdict::Terms{std::move(anchors), UnixTime{std::chrono::seconds{request.time}}, report_data, std::move(policy)};
}

}  // namespace

Result<Request> read_request(const cloister_verify_request* given) {
  CLOISTER_TRY(request, of_any_size(given));
  Request out;
  if (request.evidence.data == nullptr) return unfit("evidence", "required");
  out.evidence = ByteView{request.evidence.data, request.evidence.size};
  if (request.tee != nullptr) {
    out.tee = request.tee;
    if (out.tee != "sgx" && out.tee != "tdx" && out.tee != "snp") return unfit("tee", "sgx, tdx or snp expected");
  }
  CLOISTER_TRY(documents, read_collateral(request));
  out.collateral = std::move(documents);
  CLOISTER_TRY(certificates, read_certificates(request.certificates, request.certificate_count, "certificates"));
  out.certificates = std::move(certificates);
  CLOISTER_TRY(terms, read_terms(request));
  out.terms = std::move(terms);
  return out;
}

Result<evidence::CollateralDocuments> collateral_for(const Request& request, const evidence::Quote& quote) {
  if (request.collateral.empty()) return Error{Errc::collateral_missing, "a quote needs its platform's collateral"};
  evidence::QuoteCollateral found;
  if (request.collateral.size() == 1) {
    CLOISTER_TRY(whole, evidence::parse_quote_collateral(as_text(request.collateral.front().content)));
    found = std::move(whole);
  } else {
    CLOISTER_TRY(bundle, collateral::Bundle::from_files(request.collateral));
    CLOISTER_TRY(assembled, bundle.find(collateral::wanted_by(quote)));
    found = std::move(assembled);
  }
  CLOISTER_TRY(documents, evidence::parse_documents(found));
  if (!request.certificates.empty()) documents.pck_certificate_chain = request.certificates;
  return documents;
}

Result<evidence::SnpEndorsements> endorsements_of(const Request& request) {
  evidence::SnpEndorsements out;
  out.certificates = request.certificates;
  if (request.collateral.empty()) return out;
  CLOISTER_TRY(bundle, collateral::Bundle::from_files(request.collateral));
  CLOISTER_TRY(found, bundle.snp_endorsements());
  out.add(std::move(found));
  return out;
}

}  // namespace cloister::capi
