#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/kms/kms.hpp"

namespace cloister::server {

/// The keys by which others know a server. They follow from its master key, so that a restart, or a second replica with the same
/// master key, is the same server; after a move to another keeper of keys they lie in the data directory, wrapped by that one.
struct ServerKeys {
  std::string server_id;                  // "srv-" and 26 characters, from the token key
  crypto::X25519Key channel_current;      // what TDs pin
  crypto::X25519Key channel_next;         // pinned beside it, so that rotation changes no measurement at once
  crypto::Ed25519Key token;               // signs tokens of operators, clients and hosts
  crypto::Ed25519Public audit;            // of the kms's key that signs audit heads
  crypto::Secret<32> guest_sessions;      // marks the cookies of guests' sessions; always the master key's, so a move ends them
};
/// Those of a data directory: wrapped in its file "identity.cbor", or, where there is none, derived. `configuration_invalid` for a
/// file that this keeper did not wrap.
[[nodiscard]] Result<ServerKeys> load_keys(const kms::Kms& kms, const std::filesystem::path& data);
/// The file for another keeper: ["cloister/identity/1", channel_current, channel_next, token], each wrapped. The audit key stays
/// where it is: it may never have left its keeper.
[[nodiscard]] Result<Bytes> wrap_keys(const kms::Kms& kms, const ServerKeys& keys);
inline constexpr std::string_view kIdentityFile = "identity.cbor";
/// The setting of the database that says whose data it is, once that does not follow from the master key.
inline constexpr std::string_view kIdentitySetting = "server-id";

}  // namespace cloister::server
