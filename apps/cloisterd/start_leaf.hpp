#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/merkle/log.hpp"
#include "config.hpp"
#include "keys.hpp"

/// What the audit log says of a start, so that a policy that was changed in a file is in the log too.
namespace cloister::server {

inline constexpr std::string_view kServerStarted = "server.started";  // subject: the server's id

/// By setting, the SHA-256 of every file that the configuration names and that decides what is accepted.
using FileDigests = std::vector<std::pair<std::string, Digest32>>;
/// `io_error` with the file.
[[nodiscard]] Result<FileDigests> digest_files(const Config& config);

/// `guest`: the measurement of the guest program.
[[nodiscard]] merkle::AuditLeaf start_leaf(const Config& config, const FileDigests& files, const ServerKeys& keys,
                                           const Digest48& guest, const attestation::TrustAnchors& anchors, UnixTime now);

}  // namespace cloister::server
