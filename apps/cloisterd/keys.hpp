#pragma once

#include <string>

#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/kms/kms.hpp"

namespace cloister::server {

/// Every key of a server follows from its master key, so that a restart, or a second replica with the same master key,
/// is the same server.
struct ServerKeys {
  std::string server_id;                  // "srv-" and 26 characters, from the token key
  crypto::X25519Key channel_current;      // what TDs pin
  crypto::X25519Key channel_next;         // pinned beside it, so that rotation changes no measurement at once
  crypto::Ed25519Key token;               // signs tokens of operators, clients and hosts
  crypto::Ed25519Public audit;            // of the kms's key that signs audit heads
};
[[nodiscard]] Result<ServerKeys> derive_keys(const kms::Kms& kms);

}  // namespace cloister::server
