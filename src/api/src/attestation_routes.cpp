#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/protocol/server_proof.hpp"
#include "cloister/token/ear.hpp"
#include "cloister/verdict/verdict.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::size_t kMaxRequest = 4U << 20;
constexpr std::size_t kMaxAudience = 256;
constexpr std::string_view kAppraised = "evidence.appraised";

struct Submission {
  Bytes evidence;
  std::string tee;
  std::optional<evidence::QuoteCollateral> collateral;
  evidence::SnpEndorsements endorsements;
  verdict::Terms terms;
  bool token = false;
  std::optional<std::string> audience;  // of the token
  std::optional<std::string> nonce;     // as it was given
};

Result<Digest64> nonce_data(std::string_view text) {
  CLOISTER_TRY(nonce, codec::from_hex(text));
  return verdict::report_data_of_nonce(nonce);
}

/// PEM of one or more certificates, or base64 of one in DER.
Result<std::vector<crypto::x509::CertificatePtr>> read_certificates(const std::string& text) {
  if (text.find("-----BEGIN") != std::string::npos) return crypto::x509::parse_chain(text);
  CLOISTER_TRY(der, codec::from_base64_lines(text));
  CLOISTER_TRY(certificate, crypto::x509::parse_certificate(der));
  return std::vector{std::move(certificate)};
}

Result<evidence::SnpEndorsements> read_endorsements(const json::Array& certificates, const json::Array& crls) {
  evidence::SnpEndorsements out;
  for (const auto& item : certificates) {
    const auto* text = item.as_string();
    if (text == nullptr) return Error{Errc::invalid_argument, "certificates: PEM or base64 expected"};
    CLOISTER_TRY(read, read_certificates(*text));
    out.add({std::move(read), {}});
    if (out.certificates.size() > evidence::kMaxSnpCertificates) return Error{Errc::limit_exceeded, "certificates: too many"};
  }
  for (const auto& item : crls) {
    const auto* text = item.as_string();
    if (text == nullptr) return Error{Errc::invalid_argument, "crls: PEM or base64 expected"};
    CLOISTER_TRY(der, evidence::crl_to_der(as_bytes(*text)));
    CLOISTER_TRY(crl, crypto::x509::parse_crl(der));
    out.crls.push_back(std::move(crl));
    if (out.crls.size() > evidence::kMaxSnpCertificates) return Error{Errc::limit_exceeded, "crls: too many"};
  }
  return out;
}

Result<Submission> read(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request, {.bytes = kMaxRequest}));
  json::Fields fields{body, "request"};
  Submission out;
  out.evidence = to_bytes(fields.string("evidence"));
  out.tee = fields.optional_string("tee").value_or("");
  const auto* collateral = fields.optional_object("collateral");
  const auto& certificates = fields.optional_array("certificates");
  const auto& crls = fields.optional_array("crls");
  const auto at = fields.optional_string("at");
  const auto report_data = fields.optional_string("report_data");
  const auto nonce = fields.optional_string("nonce");
  const auto* policy = fields.optional_object("policy");
  out.token = fields.optional_boolean("token").value_or(false);
  out.audience = fields.optional_string("audience");
  CLOISTER_CHECK(fields.finish());
  if (!out.tee.empty() && out.tee != "sgx" && out.tee != "tdx" && out.tee != "snp") {
    return Error{Errc::invalid_argument, "tee: sgx, tdx or snp expected"};
  }
  if (report_data && nonce) return Error{Errc::invalid_argument, "nonce: not beside report_data"};
  if (out.token && !report_data && !nonce) {
    return Error{Errc::invalid_argument, "token: report_data or nonce expected beside it, since a token vouches for what is bound"};
  }
  if (out.token && at) return Error{Errc::invalid_argument, "token: not of another time, at"};
  if (out.audience && (!out.token || out.audience->empty() || out.audience->size() > kMaxAudience)) {
    return Error{Errc::invalid_argument, "audience: 1 to 256 bytes expected, beside token"};
  }
  out.nonce = nonce;
  out.terms.anchors = s.anchors;
  out.terms.at = s.clock.now();
  out.terms.cache = s.cache;
  if (at) {
    auto time = parse_rfc3339(*at);
    if (!time) return time.error().in("at");
    out.terms.at = *time;
  }
  if (report_data || nonce) {
    auto data = report_data ? codec::array_from_hex<64>(*report_data) : nonce_data(*nonce);
    if (!data) return data.error().in(report_data ? "report_data" : "nonce");
    out.terms.report_data = *data;
  }
  if (policy != nullptr) {
    CLOISTER_TRY(parsed, policy::parse_policy(json::write(*policy)));
    out.terms.policy = std::move(parsed);
  }
  if (collateral != nullptr) {
    CLOISTER_TRY(parsed, evidence::parse_quote_collateral(json::write(*collateral)));
    out.collateral = std::move(parsed);
  }
  CLOISTER_TRY(endorsements, read_endorsements(certificates, crls));
  out.endorsements = std::move(endorsements);
  return out;
}

/// The token of accepted evidence.
Result<std::string> issue(const Services& s, const Submission& submission, const policy::Appraised& appraised) {
  const auto key = s.result_keys.current();
  const token::Issuer issuer{s.server_id, "cloisterd " + s.version, key->key_id, key->key};
  const token::TokenTerms terms{s.clock.now(), s.result_keys.lifetime(), submission.audience, submission.nonce};
  return token::issue_ear(appraised, submission.terms.policy, issuer, terms);
}

/// What was made of whose evidence. A token that vouches for it leaves only when this is on disk.
Result<void> record(const Services& s, const Request& request, const Submission& submission, const verdict::Verdict& judged,
                    bool with_token) {
  merkle::AuditLeaf leaf;
  leaf.time = s.clock.now();
  leaf.kind = kAppraised;
  leaf.subject = codec::to_hex(crypto::sha256(submission.evidence));
  leaf.details = {{"by", request.principal->subject},
                  {"tenant", request.principal->tenant},
                  {"verdict", std::string{judged.accepted() ? "accepted" : "rejected"}},
                  {"policy", to_bytes(ByteView{policy::digest(submission.terms.policy)})},
                  {"token", std::uint64_t{with_token ? 1U : 0U}}};
  if (!judged.format.empty()) leaf.details.emplace_back("format", judged.format);
  if (judged.error) leaf.details.emplace_back("code", std::string{to_string(judged.error->code())});
  if (judged.appraised) leaf.details.emplace_back("lab", std::uint64_t{judged.appraised->lab() ? 1U : 0U});
  CLOISTER_TRY(transaction, s.database.write());
  CLOISTER_CHECK(s.log.append(transaction, leaf));
  return transaction.commit();
}

/// A verdict is an answer, whatever it says; refused is what cannot be judged at all.
Result<Response> verify(const Services& s, const Request& request) {
  CLOISTER_TRY(submission, read(s, request));
  const auto find = [&](const evidence::Quote& quote) -> Result<verdict::DocumentsPtr> {
    if (submission.collateral) return verdict::shared(evidence::parse_documents(*submission.collateral));
    CLOISTER_TRY(found, s.collateral(quote));
    return verdict::shared(evidence::parse_documents(found));
  };
  const auto endorse = [&](const evidence::SnpReport& report,
                           const evidence::SnpEndorsements& brought) -> Result<evidence::SnpEndorsements> {
    auto out = submission.endorsements;
    if (!s.endorsements || (s.fetches && submission.collateral)) return out;  // what is given is all that is taken
    // A list that the evidence brings may be an old one: the newest is looked for all the same.
    evidence::SnpEndorsements known{brought.certificates, {}};
    known.add(out);
    CLOISTER_TRY(found, s.endorsements(report, known));
    out.add(std::move(found));
    return out;
  };
  const verdict::Sources sources{find, endorse, s.fetches && !submission.collateral};
  CLOISTER_TRY(judged, verdict::judge(submission.evidence, submission.tee, submission.terms, sources));
  const bool wanted = submission.token && judged.appraised.has_value();
  const auto issued = wanted ? issue(s, submission, *judged.appraised) : Result<std::string>{std::string{}};
  CLOISTER_CHECK(record(s, request, submission, judged, wanted && issued.ok()));
  if (!issued) return issued.error();
  auto answer = verdict::to_json(judged);
  if (!submission.token) return http::json_response(answer);
  json::Value token;
  if (wanted) token = *issued;
  return http::json_response(answer.set("token", std::move(token)));
}

/// For whoever verifies our tokens: RFC 7517 section 5.
Result<Response> jwks(const Services& s, const Request& request) {
  const auto text = json::write(to_json(s.result_keys.published(s.clock.now())));
  return tagged(request, http::bytes_response("application/jwk-set+json", to_bytes(text)));
}

Result<Response> rotate(const Services& s, const Request& request) {
  CLOISTER_TRY(key_id, s.result_keys.rotate(s.clock.now(), request.principal->subject));
  return http::json_response(json::Object{{"key_id", key_id}});
}

/// What the server itself runs in, bound to the nonce of whoever asks. Without a TEE there is nothing to show: an answer that
/// looks like evidence and proves nothing would be worse than none.
Task<Response> self(const Services* s, Request request) {
  if (!s->prove) {
    co_return refuse(request, Error{Errc::not_found, "this server does not run in a TEE, or is not told of one: [tee] in its "
                                                     "configuration names it"});
  }
  const auto text = request.query.find("nonce").value_or("");
  auto nonce = codec::from_hex(text);
  if (!nonce || nonce->size() < protocol::kMinServerNonce || nonce->size() > protocol::kMaxServerNonce) {
    co_return refuse(request, Error{Errc::invalid_argument, "nonce: 16 to 64 bytes, hex, expected"});
  }
  const Deadline deadline{std::chrono::steady_clock::now() + s->patience};
  auto work = [s, nonce = *std::move(nonce)] { return s->prove(nonce); };
  auto proof = co_await s->proofs->run_until(deadline, std::move(work));
  if (!proof && proof.error().code() == Errc::deadline_exceeded) {
    co_return refuse(request, Error{Errc::unavailable, "the server's TEE did not answer in time"});
  }
  if (!proof) co_return refuse(request, proof.error());
  auto response = http::json_response(to_json(*proof));
  response.headers.set("Cache-Control", "no-store");
  co_return response;
}

}  // namespace

void add_attestation_routes(Routes& routes, const Services& services) {
  http::RouteOptions large;
  large.max_body = kMaxRequest;
  routes.add(Method::post, "/api/v1/attestation/verify", operators(),
             Doc{"What this server makes of evidence, by its own trust anchors"}
                 .takes("EvidenceToVerify")
                 .answers(200, "Verdict"),
             blocking(services, verify), large);
  routes.add(Method::get, "/.well-known/jwks.json", http::kPublic,
             Doc{"The keys that sign attestation results: the one in use, the next, and those whose tokens may be valid; with ETag"}
                 .answers_as(200, "application/jwk-set+json")
                 .answers(304),
             blocking(services, jwks));
  routes.add(Method::post, "/api/v1/attestation/keys/rotate", administrators(),
             Doc{"Lets the next key sign attestation results from now on"}.of_the_server().answers(200, "RotatedKey"),
             blocking(services, rotate));
  routes.add(Method::get, "/api/v1/attestation/self", http::kPublic,
             Doc{"The server's own evidence, where it runs in a TEE, over a nonce of yours; 404 where it does not"}
                 .query("nonce", "Nonce", "Yours, fresh: what the evidence is bound to")
                 .answers(200, "ServerAttestation"),
             [&services](Request request) { return self(&services, std::move(request)); });
}

}  // namespace cloister::api
