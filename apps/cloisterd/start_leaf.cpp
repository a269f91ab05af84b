#include "start_leaf.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cloister/crypto/hash.hpp"

namespace cloister::server {
namespace {

Bytes bytes_of(ByteView bytes) { return to_bytes(bytes); }

}  // namespace

merkle::AuditLeaf start_leaf(const Config& config, const Inputs& inputs, const ServerKeys& keys,
                             const attestation::TrustAnchors& anchors, UnixTime now) {
  const bool lab = std::ranges::any_of(
      anchors.all(), [](const auto& anchor) { return anchor.kind() == attestation::AnchorKind::lab; });
  const bool sample = config.key_broker && config.key_broker->sample_evidence;
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kServerStarted;
  leaf.subject = keys.server_id;
  leaf.details = {{"program", std::string{"cloisterd " CLOISTER_VERSION}},
                  {"configuration", bytes_of(inputs.config)},
                  {"guest", bytes_of(inputs.guest_mrtd)},
                  {"keys", std::string{config.kms ? "hsm" : "file"}},
                  {"token_key", bytes_of(keys.token.public_key())},
                  {"channel_key", bytes_of(keys.channel_current.public_key())},
                  {"next_channel_key", bytes_of(keys.channel_next.public_key())},
                  {"lab", std::uint64_t{lab ? 1U : 0U}},
                  {"sample", std::uint64_t{sample ? 1U : 0U}}};
  const auto add = [&leaf](std::string setting, const std::optional<std::string>& text) {
    if (text) leaf.details.emplace_back(std::move(setting), bytes_of(crypto::sha256(as_bytes(*text))));
  };
  add("trust", inputs.trust);
  add("tls_certificate", inputs.tls_certificate);
  add("attestation_policy", inputs.attestation_policy);
  add("resource_policy", inputs.resource_policy);
  add("reference_values", inputs.reference_values);
  return leaf;
}

}  // namespace cloister::server
