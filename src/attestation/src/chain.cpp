#include "chain.hpp"

#include <algorithm>

#include "cloister/evidence/lab_marker.hpp"
#include "constraints.hpp"

namespace cloister::attestation {
namespace {

namespace x509 = crypto::x509;

constexpr std::size_t length_of(ChainShape shape) { return shape == ChainShape::tcb_signing ? 2 : 3; }

constexpr crypto::Curve curve_of(ChainShape shape) {
  return shape == ChainShape::vek ? crypto::Curve::p384 : crypto::Curve::p256;
}

std::string quoted(const x509::Certificate& certificate) { return '"' + certificate.subject_common_name + '"'; }

bool is_root(const x509::Certificate& certificate) { return certificate.issuer == certificate.subject; }

Result<void> expect(const x509::Certificate& certificate, std::initializer_list<std::string_view> names) {
  if (std::ranges::find(names, certificate.subject_common_name) != names.end()) return {};
  return Error{Errc::certificate_malformed, "\"" + std::string{*names.begin()} + "\" expected, got " + quoted(certificate)};
}

Error other_vendor(const x509::Certificate& root) {
  return Error{Errc::certificate_malformed, quoted(root) + " does not vouch for keys of this kind"};
}

/// Intel SGX PCK Certificate and CRL Profile Specification, section 1.3: subjects of the hierarchy.
Result<void> check_intel_names(std::span<const x509::CertificatePtr> chain, ChainShape shape) {
  if (shape == ChainShape::vek) return other_vendor(*chain.back());
  CLOISTER_CHECK(expect(*chain.back(), {"Intel SGX Root CA"}));
  if (shape == ChainShape::tcb_signing) return expect(*chain.front(), {"Intel SGX TCB Signing"});
  CLOISTER_CHECK(expect(*chain[1], {"Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"}));
  return expect(*chain.front(), {"Intel SGX PCK Certificate"});
}

/// AMD 57230, section 2: subjects of the hierarchy of one product.
Result<void> check_amd_names(std::span<const x509::CertificatePtr> chain, ChainShape shape) {
  constexpr std::string_view kArk = "ARK-";
  const std::string_view root = chain.back()->subject_common_name;
  if (shape != ChainShape::vek) return other_vendor(*chain.back());
  if (!root.starts_with(kArk)) return expect(*chain.back(), {kArk});
  const auto product = std::string{root.substr(kArk.size())};
  const std::string ask = "SEV-" + product;
  const std::string asvk = "SEV-VLEK-" + product;
  CLOISTER_CHECK(expect(*chain[1], {ask, asvk}));
  const bool loaded = chain[1]->subject_common_name == asvk;
  return expect(*chain.front(), {loaded ? "SEV-VLEK" : "SEV-VCEK"});
}

Result<void> check_names(std::span<const x509::CertificatePtr> chain, ChainShape shape, AnchorKind kind) {
  switch (kind) {
    case AnchorKind::intel: return check_intel_names(chain, shape);
    case AnchorKind::amd: return check_amd_names(chain, shape);
    case AnchorKind::given:
    case AnchorKind::lab: return {};
  }
  return {};
}

/// From the trusted root down, so that what the cache takes is what the root vouches for.
Result<void> check_links(std::span<const x509::CertificatePtr> chain, crypto::SignatureCache* cache) {
  for (std::size_t i = chain.size() - 1; i-- > 0;) {
    const auto& certificate = *chain[i];
    const auto& issuer = *chain[i + 1];
    if (certificate.issuer != issuer.subject) {
      return Error{Errc::certificate_malformed, quoted(certificate) + " was not issued by " + quoted(issuer)};
    }
    if (auto signature = x509::verify_signature(certificate, issuer, cache); !signature) {
      return signature.error().in("signature of " + quoted(certificate));
    }
  }
  return {};
}

Result<void> check_constraints(std::span<const x509::CertificatePtr> chain, ChainShape shape) {
  CLOISTER_CHECK(check_end_entity(*chain.front()));
  for (std::size_t i = 1; i < chain.size(); ++i) CLOISTER_CHECK(check_ca(*chain[i], static_cast<unsigned>(i - 1)));
  const auto* key = std::get_if<crypto::EcPublicKey>(&chain.front()->key);
  if (key == nullptr || key->curve() != curve_of(shape)) {
    return Error{Errc::certificate_malformed, quoted(*chain.front()) + " has no " + (shape == ChainShape::vek ? "P-384" : "P-256") + " key"};
  }
  return {};
}

Result<void> check_markers(std::span<const x509::CertificatePtr> chain, AnchorKind kind) {
  for (const auto& certificate : chain) {
    const bool marked = evidence::has_lab_marker(*certificate);
    if (marked && kind != AnchorKind::lab) {
      return Error{Errc::lab_root_not_trusted, quoted(*certificate) + " is a lab's, under a root that is not listed as a lab root"};
    }
    if (!marked && kind == AnchorKind::lab) {
      return Error{Errc::lab_root_not_trusted, quoted(*certificate) + " carries no lab marker, under a lab root"};
    }
  }
  return {};
}

Error no_anchor(std::span<const x509::CertificatePtr> given) {
  const auto& last = *given.back();
  if (any_lab_marker(given)) {
    return Error{Errc::lab_root_not_trusted,
                 "these are a lab's certificates (simulated hardware), and no trust file that lists their root under lab_roots was given"};
  }
  const auto name = is_root(last) ? quoted(last) : "the issuer of " + quoted(last);
  return Error{Errc::root_untrusted, name + " is not among the trusted roots (by name and key)"};
}

Error coded(const Error& error, Errc invalid) {
  return Error{error.code() == Errc::lab_root_not_trusted ? error.code() : invalid, error.detail()};
}

}  // namespace

bool any_lab_marker(std::span<const x509::CertificatePtr> certificates) {
  return std::ranges::any_of(certificates, [](const auto& certificate) { return evidence::has_lab_marker(*certificate); });
}

Result<Chain> resolve_chain(std::span<const x509::CertificatePtr> given, ChainShape shape, const TrustAnchors& anchors,
                            Errc invalid, crypto::SignatureCache* cache) {
  const auto length = length_of(shape);
  const bool with_root = given.size() == length;
  if (!with_root && given.size() + 1 != length) {
    return Error{invalid, std::to_string(length) + " certificates expected, leaf to root (which may be missing), got " +
                              std::to_string(given.size())};
  }
  if (with_root && !is_root(*given.back())) {
    return Error{invalid, quoted(*given.back()) + " stands where the root belongs, but is not self-signed"};
  }
  const auto* anchor = with_root ? anchors.find(*given.back()) : anchors.issuer_of(*given.back(), cache);
  if (anchor == nullptr) return no_anchor(given);

  // The root as it was given has a signature of its own to be checked, unless it is the anchor byte for byte.
  Chain chain{.certificates = {}, .kind = anchor->kind()};
  for (const auto& certificate : given) chain.certificates.push_back(certificate);
  if (!with_root) chain.certificates.push_back(anchor->shared_root());
  if (chain.root().der != anchor->root().der) {
    if (auto signature = x509::verify_signature(chain.root(), anchor->root()); !signature) {
      return Error{invalid, "signature of " + quoted(chain.root()) + ": " + signature.error().detail()};
    }
  }
  if (auto links = check_links(chain.certificates, cache); !links) return coded(links.error(), invalid);
  if (auto constraints = check_constraints(chain.certificates, shape); !constraints) return coded(constraints.error(), invalid);
  if (auto markers = check_markers(chain.certificates, chain.kind); !markers) return coded(markers.error(), invalid);
  if (auto names = check_names(chain.certificates, shape, chain.kind); !names) return coded(names.error(), invalid);
  return chain;
}

Result<void> check_window(UnixTime from, UnixTime until, UnixTime now, WindowCodes codes, std::string_view what) {
  if (now < from) {
    return Error{codes.early, std::string{what} + " is valid from " + to_rfc3339(from) + ", and it is " + to_rfc3339(now)};
  }
  if (now > until) {
    return Error{codes.late, std::string{what} + " was valid until " + to_rfc3339(until) + ", and it is " + to_rfc3339(now)};
  }
  return {};
}

Result<void> check_dates(const Chain& chain, UnixTime now, WindowCodes leaf) {
  auto codes = leaf;
  for (const auto& certificate : chain.certificates) {
    if (now < certificate->not_before || now > certificate->not_after) {
      return check_window(certificate->not_before, certificate->not_after, now, codes, quoted(*certificate));
    }
    codes = {Errc::ca_certificate_not_yet_valid, Errc::ca_certificate_expired};
  }
  return {};
}

Result<void> check_crl(const x509::Crl& crl, const x509::Certificate& issuer, UnixTime now, CrlCodes codes,
                       crypto::SignatureCache* cache) {
  if (crl.issuer != issuer.subject) {
    return Error{codes.invalid, "issued by \"" + crl.issuer_common_name + "\", " + quoted(issuer) + " expected"};
  }
  if (auto usage = check_crl_issuer(issuer); !usage) return Error{codes.invalid, usage.error().detail()};
  if (auto signature = x509::verify_signature(crl, issuer, cache); !signature) {
    return Error{codes.invalid, "signature: " + signature.error().detail()};
  }
  if (!crl.next_update) return Error{codes.invalid, "it does not say when the next one comes (nextUpdate)"};
  if (crl.this_update <= now && now <= *crl.next_update) return {};
  return check_window(crl.this_update, *crl.next_update, now, codes.window, "the CRL of \"" + crl.issuer_common_name + '"');
}

}  // namespace cloister::attestation
