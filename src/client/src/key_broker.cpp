#include "cloister/client/key_broker.hpp"

#include "cloister/rcar/messages.hpp"
#include "cloister/rcar/refusal.hpp"

namespace cloister::client {
namespace {

using http::Headers;
using http::Method;

constexpr std::chrono::seconds kPatience{30};
constexpr std::string_view kCookie = "kbs-session-id=";
constexpr int kAttempts = 3;
constexpr std::string_view kPrefix = "/kbs/v0";

/// 404 is `not_found`, 401 `unauthenticated`; anything else by status. A body that is no refusal is a failure of its own.
Error refused(const http::ClientResponse& response) {
  const auto refusal = rcar::parse_refusal(as_text(response.body));
  const auto words = refusal ? refusal->kind + ": " + refusal->detail : "the broker's answer is no refusal that it may give";
  if (response.status == 401 && refusal) return Error{Errc::unauthenticated, words};
  if (response.status == 404) return Error{Errc::not_found, words};
  return http::response_error(response).in(words);
}

}  // namespace

Result<KeyBroker> KeyBroker::connect(std::string base_url, crypto::jose::DecryptionKey key, http::ClientTls tls) {
  // What follows the authority goes before the paths of the protocol.
  const auto scheme = base_url.find("://");
  const auto slash = scheme == std::string::npos ? scheme : base_url.find('/', scheme + 3);
  std::string prefix = slash == std::string::npos ? std::string{} : base_url.substr(slash);
  while (prefix.ends_with('/')) prefix.pop_back();
  http::ClientOptions options;
  options.base_url = base_url.substr(0, slash);
  options.tls = std::move(tls);
  CLOISTER_TRY(client, http::BlockingClient::make(std::move(options)));
  return KeyBroker{std::move(client), std::move(prefix) + std::string{kPrefix}, std::move(key)};
}

Result<std::string> KeyBroker::post(const std::string& target, std::string_view body) {
  Headers headers{{"Content-Type", "application/json"}};
  if (!cookie_.empty()) headers.set("Cookie", cookie_);
  CLOISTER_TRY(response, client_->request(Method::post, prefix_ + target, std::move(headers), to_bytes(body), kPatience));
  if (!response.ok()) return refused(response);
  if (const auto field = response.headers.find("Set-Cookie"); field && field->starts_with(kCookie)) {
    cookie_ = field->substr(0, field->find(';'));
  }
  return std::string{as_text(response.body)};
}

Result<std::string> KeyBroker::attest(const GuestEvidence& evidence) {
  cookie_.clear();
  CLOISTER_TRY(answer, post("/auth", rcar::write(rcar::Request{std::string{rcar::kVersion}, evidence.tee})));
  CLOISTER_TRY(challenge, rcar::parse_challenge(answer));
  const auto nonce = challenge.nonce_text();
  const auto key = key_.public_key();
  std::string additional;
  if (evidence.additional) {
    CLOISTER_TRY(data, rcar::device_report_data(nonce, key));
    CLOISTER_TRY(devices, evidence.additional(data));
    additional = std::move(devices);
  }
  CLOISTER_TRY(data, rcar::primary_report_data(nonce, key, additional));
  CLOISTER_TRY(primary, evidence.primary(data));
  const rcar::Attestation message{evidence.init_data, nonce, key, std::move(primary), std::move(additional)};
  CLOISTER_TRY(attested, post("/attest", rcar::write(message)));
  return rcar::parse_token(attested);
}

Result<crypto::SecretBytes> KeyBroker::get(const rcar::ResourcePath& path, Version version, Headers headers) {
  auto target = prefix_ + "/resource/" + path.str();
  if (version) target += "?version=" + std::to_string(*version);
  CLOISTER_TRY(response, client_->request(Method::get, std::move(target), std::move(headers), {}, kPatience));
  if (!response.ok()) return refused(response);
  CLOISTER_TRY(message, crypto::jose::parse_jwe(as_text(response.body)));
  return crypto::jose::decrypt(message, key_);
}

Result<crypto::SecretBytes> KeyBroker::resource(const rcar::ResourcePath& path, Version version) {
  Headers headers;
  if (!cookie_.empty()) headers.set("Cookie", cookie_);
  return get(path, version, std::move(headers));
}

Result<crypto::SecretBytes> KeyBroker::resource(const rcar::ResourcePath& path, std::string_view token, Version version) {
  return get(path, version, {{"Authorization", "Bearer " + std::string{token}}});
}

Result<crypto::SecretBytes> KeyBroker::fetch(const rcar::ResourcePath& path, const GuestEvidence& evidence, Version version) {
  for (int attempt = 1;; ++attempt) {
    auto value = resource(path, version);
    if (value || value.error().code() != Errc::unauthenticated || attempt == kAttempts) return value;
    CLOISTER_TRY(token, attest(evidence));
    static_cast<void>(token);
  }
}

}  // namespace cloister::client
