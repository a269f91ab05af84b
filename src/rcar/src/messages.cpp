#include "cloister/rcar/messages.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr json::Limits kLimits{.bytes = kMaxRequestSize, .depth = 16, .values = 1024};
constexpr json::Limits kTokenLimits{.bytes = 1U << 20, .depth = 4, .values = 64};
constexpr std::string_view kSeries = "0.4.";
constexpr std::size_t kMaxPatch = 9;  // digits

constexpr std::array<std::pair<Tee, std::string_view>, 14> kTees{{{Tee::az_snp_vtpm, "az-snp-vtpm"},
                                                                   {Tee::az_tdx_vtpm, "az-tdx-vtpm"},
                                                                   {Tee::cca, "cca"},
                                                                   {Tee::csv, "csv"},
                                                                   {Tee::hygondcu, "hygondcu"},
                                                                   {Tee::nvidia, "nvidia"},
                                                                   {Tee::nvidia_dpu, "nvidia-dpu"},
                                                                   {Tee::sample, "sample"},
                                                                   {Tee::sampledevice, "sampledevice"},
                                                                   {Tee::se, "se"},
                                                                   {Tee::sgx, "sgx"},
                                                                   {Tee::snp, "snp"},
                                                                   {Tee::tdx, "tdx"},
                                                                   {Tee::tpm, "tpm"}}};

/// 0.4.N, N a number without leading zeros.
bool understood(std::string_view version) {
  if (!version.starts_with(kSeries)) return false;
  const auto patch = version.substr(kSeries.size());
  const bool digits = std::ranges::all_of(patch, [](char c) { return c >= '0' && c <= '9'; });
  return digits && !patch.empty() && patch.size() <= kMaxPatch && (patch.size() == 1 || patch.front() != '0');
}

}  // namespace

std::string_view to_string(Tee tee) noexcept {
  const auto found = std::ranges::find(kTees, tee, &std::pair<Tee, std::string_view>::first);
  return found == kTees.end() ? std::string_view{} : found->second;
}

std::optional<Tee> tee_from_string(std::string_view name) noexcept {
  if (name == "nvidiadpu") return Tee::nvidia_dpu;  // the other name of it in kbs-types
  const auto found = std::ranges::find(kTees, name, &std::pair<Tee, std::string_view>::second);
  return found == kTees.end() ? std::nullopt : std::optional{found->first};
}

Result<Request> parse_request(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("request");
  json::Fields fields{*value, "request"};
  Request out;
  out.version = fields.string("version");
  const auto tee = fields.string("tee");
  static_cast<void>(fields.any("extra-params"));
  CLOISTER_CHECK(fields.finish_lenient());
  if (!understood(out.version)) {
    return Error{Errc::unsupported, "KBS Client Protocol Version Mismatch: expect =" + std::string{kVersion} +
                                        " while the request is " + out.version};
  }
  const auto known = tee_from_string(tee);
  if (!known) return Error{Errc::unsupported, "request.tee: no TEE is called " + tee};
  out.tee = *known;
  return out;
}

std::string write(const Request& request) {
  return json::write(json::Object{
      {"version", request.version},
      {"tee", to_string(request.tee)},
      {"extra-params", json::Object{{"supported-hash-algorithms", json::Array{"sha256", "sha384", "sha512", "sm3"}}}}});
}

std::string Challenge::nonce_text() const { return codec::to_base64(nonce); }

std::string write(const Challenge& challenge) {
  return json::write(json::Object{{"nonce", challenge.nonce_text()}, {"extra-params", ""}});
}

Result<Challenge> parse_challenge(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("challenge");
  json::Fields fields{*value, "challenge"};
  const auto nonce = fields.base64("nonce");
  const auto& extra = fields.any("extra-params");
  CLOISTER_CHECK(fields.finish_lenient());
  Challenge out;
  if (nonce.size() != out.nonce.size()) return Error{Errc::malformed, "challenge.nonce: 32 bytes expected"};
  out.nonce = to_array<32>(nonce);
  const auto* selected = extra.find("selected-hash-algorithm");
  if (selected != nullptr && *selected != json::Value{"sha384"}) {
    return Error{Errc::unsupported, "challenge.extra-params: selected-hash-algorithm: sha384 expected"};
  }
  return out;
}

std::string write_token(std::string_view token) { return json::write(json::Object{{"token", token}}); }

Result<std::string> parse_token(std::string_view text) {
  auto value = json::parse(text, kTokenLimits);
  if (!value) return value.error().in("response");
  json::Fields fields{*value, "response"};
  auto token = fields.string("token");
  CLOISTER_CHECK(fields.finish_lenient());
  return token;
}

}  // namespace cloister::rcar
