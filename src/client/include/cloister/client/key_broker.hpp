#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/http/client.hpp"
#include "cloister/rcar/attestation.hpp"
#include "cloister/rcar/resource.hpp"

namespace cloister::client {

/// What a guest shows: JSON of its TEE's evidence, bound to the report data that it is given, and JSON of its devices'
/// evidence, as `rcar::Attestation` has both.
struct GuestEvidence {
  rcar::Tee tee = rcar::Tee::sample;
  /// With the report data of the TEE.
  std::function<Result<std::string>(const Digest48&)> primary;
  /// With the report data of devices; gives an empty text, or an object of them. Nothing when not set.
  std::function<Result<std::string>(const Digest48&)> additional;
  std::optional<rcar::InitData> init_data = std::nullopt;
};

/// The guest's side of RCAR, as the public client of Confidential Containers plays it, with any key broker that speaks it.
/// One thread at a time.
class KeyBroker {
 public:
  /// `key` is what resources are sealed to. `base_url` may have a path, of the broker of a tenant: https://HOST/t/TENANT.
  [[nodiscard]] static Result<KeyBroker> connect(std::string base_url, crypto::jose::DecryptionKey key, http::ClientTls tls = {});

  /// Request, challenge, attestation: the token. The session goes on with the cookie that the broker set. A refusal is
  /// `unauthenticated` with the broker's kind and words.
  [[nodiscard]] Result<std::string> attest(const GuestEvidence& evidence);
  /// Nothing: the current one. Brokers that have no versions give that one whatever is asked for.
  using Version = std::optional<std::uint64_t>;
  /// Background check: by the session of the last `attest`. Errors: `not_found`; `unauthenticated` as above.
  [[nodiscard]] Result<crypto::SecretBytes> resource(const rcar::ResourcePath& path, Version version = {});
  /// Passport: by a token from wherever, that was issued for the key of this client.
  [[nodiscard]] Result<crypto::SecretBytes> resource(const rcar::ResourcePath& path, std::string_view token, Version version = {});

  /// The whole of it, as guests do it: tries, attests on 401, and tries again, three times at most.
  [[nodiscard]] Result<crypto::SecretBytes> fetch(const rcar::ResourcePath& path, const GuestEvidence& evidence, Version version = {});

 private:
  KeyBroker(std::unique_ptr<http::BlockingClient> client, std::string prefix, crypto::jose::DecryptionKey key)
      : client_{std::move(client)}, prefix_{std::move(prefix)}, key_{std::move(key)} {}
  [[nodiscard]] Result<std::string> post(const std::string& target, std::string_view body);
  [[nodiscard]] Result<crypto::SecretBytes> get(const rcar::ResourcePath& path, Version version, http::Headers headers);
  std::unique_ptr<http::BlockingClient> client_;
  std::string prefix_;  // of every path: "/kbs/v0", behind that of the base URL
  crypto::jose::DecryptionKey key_;
  std::string cookie_;  // "kbs-session-id=…"; empty before the first handshake
};

}  // namespace cloister::client
