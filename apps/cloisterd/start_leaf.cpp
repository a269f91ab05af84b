#include "start_leaf.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include "cloister/crypto/hash.hpp"

namespace cloister::server {
namespace {

Bytes bytes_of(ByteView bytes) { return to_bytes(bytes); }

Result<Digest32> digest_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error{Errc::io_error, file.string() + ": " + std::generic_category().message(errno)};
  const std::string text(std::istreambuf_iterator<char>(in), {});
  return crypto::sha256(as_bytes(text));
}

}  // namespace

Result<FileDigests> digest_files(const Config& config) {
  std::vector<std::pair<std::string, std::optional<std::filesystem::path>>> files{{"trust", config.trust},
                                                                                 {"tls_certificate", config.tls_certificate}};
  if (config.key_broker) {
    files.emplace_back("attestation_policy", config.key_broker->attestation_policy);
    files.emplace_back("resource_policy", config.key_broker->resource_policy);
    files.emplace_back("reference_values", config.key_broker->reference_values);
  }
  FileDigests out;
  for (const auto& [setting, file] : files) {
    if (!file) continue;
    CLOISTER_TRY(digest, digest_of(*file));
    out.emplace_back(setting, digest);
  }
  return out;
}

merkle::AuditLeaf start_leaf(const Config& config, const FileDigests& files, const ServerKeys& keys, const Digest48& guest,
                             const attestation::TrustAnchors& anchors, UnixTime now) {
  const bool lab = std::ranges::any_of(
      anchors.all(), [](const auto& anchor) { return anchor.kind() == attestation::AnchorKind::lab; });
  const bool sample = config.key_broker && config.key_broker->sample_evidence;
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kServerStarted;
  leaf.subject = keys.server_id;
  leaf.details = {{"program", std::string{"cloisterd " CLOISTER_VERSION}},
                  {"configuration", bytes_of(config.digest)},
                  {"guest", bytes_of(guest)},
                  {"keys", std::string{config.kms ? "hsm" : "file"}},
                  {"token_key", bytes_of(keys.token.public_key())},
                  {"channel_key", bytes_of(keys.channel_current.public_key())},
                  {"next_channel_key", bytes_of(keys.channel_next.public_key())},
                  {"lab", std::uint64_t{lab ? 1U : 0U}},
                  {"sample", std::uint64_t{sample ? 1U : 0U}}};
  for (const auto& [setting, digest] : files) leaf.details.emplace_back(setting, bytes_of(digest));
  return leaf;
}

}  // namespace cloister::server
