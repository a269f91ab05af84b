#include "cloister/protocol/launch.hpp"

#include "cbor_util.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::protocol {
namespace {

constexpr std::string_view kDomain = "cloister/configuration/1";
constexpr std::string_view kDomainWithDemand = "cloister/configuration/2";
constexpr std::size_t kMaxServerKeys = 4;

}  // namespace

std::string_view to_string(Role role) noexcept { return role == Role::instance ? "instance" : "validator"; }

Bytes encode(const Configuration& configuration) {
  codec::cbor::Writer out;
  const auto& demand = configuration.demand;
  out.array(demand ? 6 : 5).text(demand ? kDomainWithDemand : kDomain).text(to_string(configuration.role));
  if (configuration.version) out.text(configuration.version->str());
  else out.null();
  detail::optional_bytes(out, configuration.image_digest);
  out.array(configuration.server_keys.size());
  for (const auto& key : configuration.server_keys) out.bytes(key);
  if (demand) write(out, *demand);
  return std::move(out).take();
}

Result<Configuration> decode_configuration(ByteView bytes) {
  codec::cbor::Reader in{bytes};
  Configuration configuration;
  const auto members = in.array_up_to(6);
  if (!in.failed() && members < 5) in.fail(Errc::malformed, "a configuration has five members, or six with a demand");
  in.domain(members == 6 ? kDomainWithDemand : kDomain);
  const auto role = in.text();
  if (role == to_string(Role::validator)) configuration.role = Role::validator;
  else if (role != to_string(Role::instance)) in.fail(Errc::unsupported, "role 'instance' or 'validator' expected");
  configuration.version = detail::optional_id<VersionId>(in);
  configuration.image_digest = detail::optional_bytes<32>(in);
  const auto keys = in.array_up_to(kMaxServerKeys);
  for (std::size_t i = 0; i < keys && !in.failed(); ++i) configuration.server_keys.push_back(in.bytes<32>());
  if (members == 6 && !in.failed()) configuration.demand = model::read_evidence_demand(in);
  CLOISTER_CHECK(in.finish());
  const bool instance = configuration.role == Role::instance;
  if (configuration.version.has_value() != instance || configuration.image_digest.has_value() != instance) {
    return Error{Errc::malformed, "an instance names its version and image, a validator's TD neither"};
  }
  if (configuration.demand && !instance) return Error{Errc::malformed, "a validator's TD demands nothing of the server"};
  if (configuration.server_keys.empty()) return Error{Errc::malformed, "at least one server key expected"};
  return configuration;
}

Digest32 configuration_digest(ByteView encoded) { return crypto::sha256(encoded); }

VersionId version_id_of(const model::ChallengeSpec& spec) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const auto digest = crypto::sha256(model::encode(spec));
  std::string text = "ver-";
  // 26 characters of base32: the first 130 bits of the digest.
  for (std::size_t i = 0; i < 26; ++i) {
    const std::size_t bit = i * 5;
    const auto pair = static_cast<unsigned>(digest[bit / 8] << 8U | digest[bit / 8 + 1]);
    text += kAlphabet[(pair >> (11 - bit % 8)) & 31U];
  }
  auto id = VersionId::parse(text);
  CLOISTER_ASSERT(id.ok());
  return *std::move(id);
}

}  // namespace cloister::protocol
