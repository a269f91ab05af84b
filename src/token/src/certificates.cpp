#include "certificates.hpp"

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::token {
namespace {

namespace jose = crypto::jose;
namespace x509 = crypto::x509;
using jose::Algorithm;
using x509::Certificate;
using x509::CertificatePtr;

constexpr std::size_t kMaxChain = 6;
constexpr std::uint16_t kDigitalSignature = 0x8000;
constexpr std::uint16_t kKeyCertSign = 0x0400;
constexpr std::string_view kBasicConstraints = "2.5.29.19";
constexpr std::string_view kKeyUsage = "2.5.29.15";

std::string name_of(const Certificate& certificate) { return '"' + certificate.subject_common_name + '"'; }
Error refused(std::string why) { return Error{Errc::token_key_unknown, "token: x5c: " + std::move(why)}; }

Result<std::vector<CertificatePtr>> read_chain(const std::vector<std::string>& texts) {
  if (texts.empty() || texts.size() > kMaxChain) return refused("one to six certificates expected");
  std::vector<CertificatePtr> out;
  for (const auto& text : texts) {
    auto der = codec::from_base64(text);
    if (!der) return der.error().in("token: x5c");
    auto certificate = x509::parse_certificate(*der);
    if (!certificate) return certificate.error().in("token: x5c");
    out.push_back(std::move(certificate).value());
  }
  return out;
}

bool allows(const Certificate& certificate, std::uint16_t usage) {
  return !certificate.key_usage || (*certificate.key_usage & usage) != 0;
}

Result<void> check_own(const Certificate& certificate, UnixTime at) {
  if (at < certificate.not_before) return refused(name_of(certificate) + " is valid from " + to_rfc3339(certificate.not_before));
  if (at > certificate.not_after) return refused(name_of(certificate) + " expired at " + to_rfc3339(certificate.not_after));
  for (const auto& extension : certificate.extensions) {
    const bool known = extension.oid == codec::der::oid(kBasicConstraints) || extension.oid == codec::der::oid(kKeyUsage);
    if (extension.critical && !known) return refused(name_of(certificate) + " has a critical extension that is not known");
  }
  return {};
}

/// `below`: how many authorities stand between issuer and leaf.
Result<void> check_issuer(const Certificate& issuer, const Certificate& issued, std::size_t below) {
  if (!issuer.is_ca.value_or(false)) return refused(name_of(issuer) + " is no authority");
  if (!allows(issuer, kKeyCertSign)) return refused(name_of(issuer) + " may not sign certificates");
  if (issuer.path_length && *issuer.path_length < below) return refused(name_of(issuer) + " allows no chain of this length");
  if (issued.issuer != issuer.subject) return refused(name_of(issued) + " is not issued by " + name_of(issuer));
  auto held = x509::verify_signature(issued, issuer);
  if (!held) return held.error().in("token: x5c: " + name_of(issued));
  return {};
}

/// With the root at its end, which the header may leave out.
Result<std::vector<CertificatePtr>> anchored(std::vector<CertificatePtr> chain, std::span<const CertificatePtr> roots) {
  const auto& last = *chain.back();
  const auto is_last = [&](const CertificatePtr& root) { return root->der == last.der; };
  if (std::ranges::any_of(roots, is_last)) return chain;
  const auto issued_last = [&](const CertificatePtr& root) {
    return root->subject == last.issuer && x509::verify_signature(last, *root).ok();
  };
  const auto root = std::ranges::find_if(roots, issued_last);
  if (root == roots.end()) return Error{Errc::root_untrusted, "token: x5c: its chain ends in none of the roots that were given"};
  chain.push_back(*root);
  return chain;
}

Result<jose::Jwk> key_of(const Certificate& leaf, Algorithm named) {
  if (leaf.is_ca.value_or(false)) return refused(name_of(leaf) + " is an authority, and signs no tokens");
  if (!allows(leaf, kDigitalSignature)) return refused(name_of(leaf) + " may not sign");
  if (const auto* ec = std::get_if<crypto::EcPublicKey>(&leaf.key)) {
    return jose::Jwk{*ec, ec->curve() == crypto::Curve::p384 ? Algorithm::es384 : Algorithm::es256, jose::thumbprint(*ec)};
  }
  if (const auto* rsa = std::get_if<x509::RsaPublicKey>(&leaf.key)) {
    // The certificate names no algorithm: the header's, when it is one of such keys.
    return jose::Jwk{*rsa, named == Algorithm::rs256 ? Algorithm::rs256 : Algorithm::ps384, jose::thumbprint(*rsa)};
  }
  return Error{Errc::unsupported, "token: x5c: a key on P-256 or P-384, or of RSA, expected"};
}

Result<CertifiedKey> leaf_key(const std::vector<std::string>& certificates, Algorithm named,
                              std::span<const CertificatePtr> roots, UnixTime at) {
  CLOISTER_TRY(given, read_chain(certificates));
  CLOISTER_TRY(chain, anchored(std::move(given), roots));
  for (std::size_t i = 0; i < chain.size(); ++i) {
    CLOISTER_CHECK(check_own(*chain[i], at));
    if (i > 0) CLOISTER_CHECK(check_issuer(*chain[i], *chain[i - 1], i - 1));
  }
  CLOISTER_TRY(key, key_of(*chain.front(), named));
  const bool lab = std::ranges::any_of(chain, [](const CertificatePtr& one) { return evidence::has_lab_marker(*one); });
  return CertifiedKey{std::move(key), lab};
}

}  // namespace

Result<CertifiedKey> certified_key(const jose::SignedToken& token, std::span<const CertificatePtr> roots, UnixTime at) {
  CLOISTER_TRY(out, leaf_key(token.certificates, token.algorithm, roots, at));
  if (token.key && jose::thumbprint(*token.key) != out.key.key_id) {
    return refused("its first certificate has another key than the jwk of the header");
  }
  return out;
}

Result<CertifiedKey> certified_key(const jose::Jwk& key, std::span<const CertificatePtr> roots, UnixTime at) {
  CLOISTER_TRY(out, leaf_key(key.certificates, key.algorithm, roots, at));
  // Reading a key has compared them; a key that was made otherwise is compared here.
  if (jose::thumbprint(key.key) != out.key.key_id) return refused("its first certificate has another key than the given one");
  return CertifiedKey{key, out.lab};
}

}  // namespace cloister::token
