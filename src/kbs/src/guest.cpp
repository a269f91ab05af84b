#include "cloister/kbs/guest.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/token/verify.hpp"
#include "leaves.hpp"
#include "subjects.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;

constexpr std::size_t kMaxKnown = 1024;  // tokens that need not be verified again; some 10 KiB each

/// What whoever gets the token reads in it.
Result<json::Value> readable(std::string_view text) {
  const auto token = crypto::jose::parse_signed(text);
  if (!token) return token.error().in("the token of this evidence");
  auto claims = crypto::jose::payload_of(*token);
  if (!claims) return claims.error().in("the token of this evidence");
  return claims;
}

}  // namespace

/// Tokens of one tenant are not for another.
GuestTokens::GuestTokens(const Services& services, const Options& options)
    : services_{services}, options_{options}, audience_{options.server_id + "/" + options.tenant.str()} {}

Result<GuestTokens::Issued> GuestTokens::issue(const token::Attester& cpu, const std::vector<token::Attester>& devices,
                                                const token::GuestData& guest, const crypto::jose::EncryptionKey& tee_key,
                                                const std::string& id, UnixTime now) const {
  const auto key = services_.keys.current();
  const token::Issuer issuer{options_.server_id, options_.build, key->key_id, key->key};
  const token::TokenTerms terms{now, services_.keys.lifetime(), audience_, std::nullopt};
  CLOISTER_TRY(text, token::issue_trustee(cpu, devices, guest, issuer, id, terms));
  CLOISTER_TRY(claims, readable(text));
  const auto* expires = claims.find("exp");
  const auto seconds = expires == nullptr ? std::nullopt : expires->as_int();
  CLOISTER_ASSERT(seconds.has_value());  // it was written a line before
  const auto known = guest_of(id, tee_key, std::move(claims), now, UnixTime{std::chrono::seconds{*seconds}});
  remember(crypto::sha256(as_bytes(text)), known);
  return Issued{std::move(text), known};
}

AttestedGuest GuestTokens::guest_of(std::string id, crypto::jose::EncryptionKey key, json::Value claims, UnixTime issued, UnixTime expires) {
  const auto digest = key_digest(key);
  auto subjects = subjects_in(claims);
  return AttestedGuest{{std::move(id), std::move(key), digest, std::move(claims), std::move(subjects), issued, expires}};
}

std::optional<AttestedGuest> GuestTokens::known(const Digest32& token, UnixTime now) const {
  const std::scoped_lock lock{mutex_};
  const auto found = known_.find(token);
  if (found == known_.end() || now < found->second.issued() || now >= found->second.expires()) return std::nullopt;
  return found->second;
}

void GuestTokens::remember(const Digest32& token, const AttestedGuest& guest) const {
  const std::scoped_lock lock{mutex_};
  if (!known_.emplace(token, guest).second) return;
  order_.push_back(token);
  if (order_.size() <= kMaxKnown) return;
  known_.erase(order_.front());
  order_.pop_front();
}

Result<AttestedGuest> GuestTokens::verify_again(std::string_view text, UnixTime now) const {
  const auto digest = crypto::sha256(as_bytes(text));
  if (auto guest = known(digest, now)) return *std::move(guest);
  auto guest = verify(text, now);
  if (guest) remember(digest, *guest);
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
  return guest_of(*id->as_string(), *std::move(key), claims, verified.issued(), verified.expires());
}

}  // namespace cloister::kbs
