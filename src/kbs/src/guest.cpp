#include "cloister/kbs/guest.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/token/verify.hpp"
#include "subjects.hpp"

namespace cloister::kbs {
namespace {

constexpr std::size_t kMaxKnown = 1024;  // tokens that need not be verified again; some 10 KiB each

}  // namespace

/// Tokens of one tenant are not for another.
GuestTokens::GuestTokens(const Services& services, const Options& options)
    : services_{services}, options_{options}, audience_{options.server_id + "/" + options.tenant.str()} {}

Result<std::string> GuestTokens::issue(const token::Attester& cpu, const std::vector<token::Attester>& devices,
                                       const token::GuestData& guest, std::string_view id, UnixTime now) const {
  const auto key = services_.keys.current();
  const token::Issuer issuer{options_.server_id, options_.build, key->key_id, key->key};
  const token::TokenTerms terms{now, services_.keys.lifetime(), audience_, std::nullopt};
  return token::issue_trustee(cpu, devices, guest, issuer, id, terms);
}

std::optional<AttestedGuest> GuestTokens::known(const Digest32& token, UnixTime now) const {
  const std::scoped_lock lock{mutex_};
  const auto found = known_.find(token);
  if (found == known_.end() || now < found->second.issued() || now >= found->second.expires()) return std::nullopt;
  return found->second;
}

void GuestTokens::remember(const Digest32& token, const AttestedGuest& guest, UnixTime now) const {
  const std::scoped_lock lock{mutex_};
  if (known_.size() >= kMaxKnown) std::erase_if(known_, [now](const auto& one) { return now >= one.second.expires(); });
  if (known_.size() >= kMaxKnown) known_.erase(known_.begin());  // by digest: any of them
  known_.insert_or_assign(token, guest);
}

Result<AttestedGuest> GuestTokens::verify_again(std::string_view text, UnixTime now) const {
  const auto digest = crypto::sha256(as_bytes(text));
  if (auto guest = known(digest, now)) return *std::move(guest);
  auto guest = verify(text, now);
  if (guest) remember(digest, *guest, now);
  return guest;
}

Result<AttestedGuest> GuestTokens::verify(std::string_view text, UnixTime now) const {
  token::Expected expected;
  expected.keys = services_.keys.published(now);
  expected.at = now;
  expected.issuer = options_.server_id;
  expected.audience = audience_;
  expected.worst = token::Tier::contraindicated;  // what a status is good for, the resource policy says
  expected.allow_lab = options_.allow_sample || std::ranges::any_of(services_.anchors.all(), [](const auto& anchor) {
    return anchor.kind() == attestation::AnchorKind::lab;
  });
  CLOISTER_TRY(verified, token::verify(text, expected));
  if (verified.kind() != token::Kind::trustee) {
    return Error{Errc::token_kind_unknown, "token: one that was issued by a handshake expected"};
  }
  const auto& claims = verified.claims();
  if (claims.find(token::kSampleClaim) != nullptr && !options_.allow_sample) {
    return Error{Errc::token_of_lab, "token: of sample evidence, which is not accepted here"};
  }
  const auto* id = claims.find("jti");
  const auto* jwk = token::tee_pubkey_of(claims);
  if (id == nullptr || id->as_string() == nullptr || jwk == nullptr) {
    return Error{Errc::token_claim_invalid, "token: jti and the guest's key expected"};
  }
  auto key = crypto::jose::EncryptionKey::parse(*jwk);
  if (!key) return key.error().in("token");
  return AttestedGuest{{*id->as_string(), *std::move(key), claims, subjects_in(claims), verified.issued(), verified.expires()}};
}

}  // namespace cloister::kbs
