#include "example.hpp"

#include "cloister/core/random.hpp"
#include "cloister/crypto/secret.hpp"

namespace cloister::cli {
namespace {

constexpr std::string_view kChallenge = "keyword-search";
constexpr std::string_view kSecretName = "index-salt";
constexpr std::string_view kSecretPath = "keyword-search/index-salt";

}  // namespace

policy::ReferenceValue Example::reference() const {
  return {spec.challenge.str(), planned.id.str(), planned.reference.mrtd, planned.reference.image_digest,
          planned.reference.configuration_digest};
}

Result<Example> plan_example(const std::filesystem::path& program, const std::filesystem::path& guest,
                             const std::vector<ByteArray<32>>& server_keys) {
  Example example;
  CLOISTER_TRY(image, builder::image_of_program(program));
  CLOISTER_TRY(mrtd, builder::guest_mrtd(guest));
  CLOISTER_TRY(challenge, ChallengeId::parse(kChallenge));
  example.image = std::move(image);
  example.spec.challenge = std::move(challenge);
  example.spec.image_digest = example.image.digest;
  example.spec.secrets = {{std::string{kSecretName}, std::string{kSecretPath}}};
  example.planned = builder::plan_version(example.spec, mrtd, server_keys);
  return example;
}

Result<void> register_example(client::Orchestrator& server, const Example& example) {
  for (const auto& [digest, bytes] : example.image.blobs) CLOISTER_CHECK(server.put_blob(digest, bytes));
  SystemRandom random;
  const auto salt = crypto::Secret<32>::random(random);
  CLOISTER_TRY(secret_version, server.put_secret(kSecretPath, salt.reveal()));
  static_cast<void>(secret_version);
  CLOISTER_TRY(version, server.register_version(example.spec));
  if (version.id != example.planned.id || !(version.reference == example.planned.reference)) {
    return Error{Errc::measurement_mismatch, "the server computes another reference value than these files give"};
  }
  return {};
}

}  // namespace cloister::cli
