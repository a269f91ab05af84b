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
  constexpr std::size_t kFirst = offsetof(cloister_verify_request, cache);  // as the request was at first
  constexpr std::size_t kThis = sizeof(cloister_verify_request);
  constexpr std::size_t kLargest = 4096;
  const auto size = given->struct_size;
  if (size != kFirst && (size < kThis || size > kLargest)) {
    return unfit("struct_size", std::to_string(kThis) + " expected, got " + std::to_string(size));
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(given);  // to bytes: allowed aliasing
  if (size > kThis && !all_zero(ByteView{bytes, size}.subspan(kThis))) {
    return unfit("request", "it has members that this version of the library does not know");
  }
  cloister_verify_request out{};
  std::memcpy(&out, given, std::min(size, kThis));
  return out;
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

Result<void> add_documents(std::vector<Part>& out, const cloister_verify_request& request) {
  CLOISTER_TRY(documents,
               list_of(request.collateral, request.collateral_count, "collateral", CLOISTER_VERIFY_MAX_DOCUMENTS));
  constexpr std::size_t kLongestName = 255;
  std::size_t rest = CLOISTER_VERIFY_MAX_COLLATERAL;
  for (const auto& document : documents) {
    const std::string_view name{document.name == nullptr ? "" : document.name,
                                document.name == nullptr ? 0 : ::strnlen(document.name, kLongestName)};
    CLOISTER_TRY(content, view_of(document.content, name.empty() ? "collateral" : name, CLOISTER_VERIFY_MAX_DOCUMENT));
    if (content.size() > rest) {
      return Error{Errc::limit_exceeded, "collateral: more than " + std::to_string(CLOISTER_VERIFY_MAX_COLLATERAL) + " bytes"};
    }
    rest -= content.size();
    out.push_back({Member::collateral, name, content});
  }
  return {};
}

Result<void> add_certificates(std::vector<Part>& out, Member member, std::string_view name,
                              const cloister_verify_bytes* given, std::size_t count) {
  CLOISTER_TRY(elements, list_of(given, count, name, CLOISTER_VERIFY_MAX_CERTIFICATES));
  for (const auto& element : elements) {
    CLOISTER_TRY(bytes, view_of(element, name, CLOISTER_VERIFY_MAX_CERTIFICATE));
    out.push_back({member, {}, bytes});
  }
  return {};
}

Result<std::vector<Part>> parts_of(const cloister_verify_request& request) {
  std::vector<Part> out;
  CLOISTER_CHECK(add_documents(out, request));
  CLOISTER_CHECK(add_certificates(out, Member::certificates, "certificates", request.certificates, request.certificate_count));
  CLOISTER_CHECK(add_certificates(out, Member::roots, "roots", request.roots, request.root_count));
  CLOISTER_CHECK(add_certificates(out, Member::lab_roots, "lab_roots", request.lab_roots, request.lab_root_count));
  CLOISTER_TRY(policy, view_of(request.policy, "policy", CLOISTER_VERIFY_MAX_POLICY));
  if (request.policy.data != nullptr) out.push_back({Member::policy, {}, policy});
  return out;
}

Result<SettingPtr> setting_of(const cloister_verify_request& request) {
  CLOISTER_TRY(parts, parts_of(request));
  if (request.cache == nullptr) return Setting::parse(parts);
  if (auto known = request.cache->settings.find(parts)) return known;
  CLOISTER_TRY(parsed, Setting::parse(parts));
  request.cache->settings.keep(parsed);
  return parsed;
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
  if (request.time < 0 || request.time > CLOISTER_VERIFY_MAX_TIME) return unfit("time", "seconds since 1970 expected");
  out.terms.at = UnixTime{std::chrono::seconds{request.time}};
  CLOISTER_TRY(report_data, read_report_data(request));
  out.terms.report_data = report_data;
  CLOISTER_TRY(setting, setting_of(request));
  out.terms.anchors = setting->anchors();
  out.terms.policy = setting->policy();
  out.terms.cache = request.cache == nullptr ? nullptr : &request.cache->known;
  out.setting = std::move(setting);
  return out;
}

}  // namespace cloister::capi
