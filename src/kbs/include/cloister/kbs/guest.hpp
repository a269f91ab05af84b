#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/rego/recent_inputs.hpp"
#include "cloister/revocation/subjects.hpp"
#include "cloister/token/trustee.hpp"

namespace cloister::kbs {

/// A guest whose token was verified. Made by `GuestTokens::verify` only; a value, cheap to copy.
class AttestedGuest {
 public:
  [[nodiscard]] const std::string& token_id() const noexcept { return what_->token_id; }
  [[nodiscard]] const crypto::jose::EncryptionKey& key() const noexcept { return what_->key; }
  /// The digest by which leaves name the key.
  [[nodiscard]] const Digest32& key_digest() const noexcept { return what_->key_digest; }
  [[nodiscard]] const codec::json::Value& claims() const noexcept { return what_->claims; }
  /// The same as a policy's input; null for claims that are too many to keep so.
  [[nodiscard]] std::shared_ptr<const rego::KnownInput> input(rego::RecentInputs& recent) const { return recent.get(what_->input, claims()); }
  /// What it can be revoked by.
  [[nodiscard]] const revocation::Subjects& subjects() const noexcept { return what_->subjects; }
  [[nodiscard]] UnixTime issued() const noexcept { return what_->issued; }
  [[nodiscard]] UnixTime expires() const noexcept { return what_->expires; }

 private:
  friend class GuestTokens;
  struct What {
    std::string token_id;
    crypto::jose::EncryptionKey key;
    Digest32 key_digest;
    codec::json::Value claims;
    revocation::Subjects subjects;
    UnixTime issued;
    UnixTime expires;
    mutable rego::RecentInputs::Slot input{};
  };
  explicit AttestedGuest(What what) : what_{std::make_shared<const What>(std::move(what))} {}
  std::shared_ptr<const What> what_;  // shared with those that are known, and immutable
};

/// The tokens of one tenant's guests: made of what was appraised, and verified. Thread-safe.
class GuestTokens {
 public:
  GuestTokens(const Services& services, const Options& options);

  struct Issued {
    std::string token;
    AttestedGuest guest;
  };
  /// A token, signed, for `key`; `id` is its "jti". The errors of parsing for one that nobody could read, since there is too
  /// much in it. Who gets it need not have it verified again (`verify_again`).
  [[nodiscard]] Result<Issued> issue(const token::Attester& cpu, const std::vector<token::Attester>& devices,
                                     const token::GuestData& guest, const crypto::jose::EncryptionKey& key, const std::string& id,
                                     UnixTime now) const;
  /// This server's own tokens, for this tenant, and none of sample evidence unless that is allowed. The errors of
  /// `token::verify`.
  [[nodiscard]] Result<AttestedGuest> verify(std::string_view token, UnixTime now) const;
  /// The same, without the signature of a token that was issued or verified lately.
  [[nodiscard]] Result<AttestedGuest> verify_again(std::string_view token, UnixTime now) const;

 private:
  [[nodiscard]] static AttestedGuest guest_of(std::string id, crypto::jose::EncryptionKey key, codec::json::Value claims, UnixTime issued,
                                              UnixTime expires);
  [[nodiscard]] std::optional<AttestedGuest> known(const Digest32& token, UnixTime now) const;
  void remember(const Digest32& token, const AttestedGuest& guest) const;
  const Services& services_;
  const Options& options_;
  std::string audience_;
  mutable std::mutex mutex_;                         // guards the two below
  mutable std::map<Digest32, AttestedGuest> known_;  // by the digest of a token: spares its signature
  mutable std::deque<Digest32> order_;               // oldest first
};

}  // namespace cloister::kbs
