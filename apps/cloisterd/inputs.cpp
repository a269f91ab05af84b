#include "inputs.hpp"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

#include "cloister/builder/builder.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::server {
namespace {

Result<std::optional<std::string>> read(const std::optional<std::filesystem::path>& file) {
  if (!file) return std::optional<std::string>{};
  std::ifstream in(*file, std::ios::binary);
  std::string text;
  if (in) text.assign(std::istreambuf_iterator<char>(in), {});
  if (!in || in.bad()) return Error{Errc::io_error, file->string() + ": " + std::generic_category().message(errno)};
  return std::optional{std::move(text)};
}

}  // namespace

protocol::ServerConfiguration Inputs::measured() const {
  protocol::ServerConfiguration out{{"config", to_bytes(ByteView{config})}, {"guest-mrtd", to_bytes(ByteView{guest_mrtd})}};
  const auto add = [&](std::string name, const std::optional<std::string>& text) {
    if (text) out.emplace_back(std::move(name), to_bytes(ByteView{crypto::sha256(as_bytes(*text))}));
  };
  add("trust", trust);
  add("key_broker.attestation_policy", attestation_policy);
  add("key_broker.resource_policy", resource_policy);
  add("key_broker.reference_values", reference_values);
  return out;
}

Digest32 Inputs::configuration_digest() const { return crypto::sha256(protocol::encode_server_configuration(measured())); }

Result<Inputs> read_inputs(const Config& config) {
  Inputs out;
  out.config = config.digest;
  CLOISTER_TRY(trust, read(config.trust));
  out.trust = std::move(trust);
  CLOISTER_TRY(tls_certificate, read(config.tls_certificate));
  out.tls_certificate = std::move(tls_certificate);
  if (const auto& broker = config.key_broker) {
    CLOISTER_TRY(attestation_policy, read(broker->attestation_policy));
    CLOISTER_TRY(resource_policy, read(broker->resource_policy));
    CLOISTER_TRY(reference_values, read(broker->reference_values));
    out.attestation_policy = std::move(attestation_policy);
    out.resource_policy = std::move(resource_policy);
    out.reference_values = std::move(reference_values);
  }
  CLOISTER_TRY(mrtd, builder::guest_mrtd(config.guest));
  out.guest_mrtd = mrtd;
  return out;
}

}  // namespace cloister::server
