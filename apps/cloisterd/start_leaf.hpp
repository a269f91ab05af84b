#pragma once

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/time.hpp"
#include "cloister/merkle/log.hpp"
#include "config.hpp"
#include "inputs.hpp"
#include "keys.hpp"

/// What the audit log says of a start, so that a policy that was changed in a file is in the log too.
namespace cloister::server {

inline constexpr std::string_view kServerStarted = "server.started";  // subject: the server's id

/// Every input stands there by its digest.
[[nodiscard]] merkle::AuditLeaf start_leaf(const Config& config, const Inputs& inputs, const ServerKeys& keys,
                                           const attestation::TrustAnchors& anchors, UnixTime now);

}  // namespace cloister::server
