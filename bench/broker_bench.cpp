// The parts of which a handshake and a release of the key broker consist, beside bare P-256 operations of the same run.
#include <benchmark/benchmark.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <memory>
#include <string_view>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/core/random.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/kbs/resource_policy.hpp"
#include "cloister/rcar/attestation.hpp"
#include "cloister/rego/isolation.hpp"

namespace {

using namespace cloister;
namespace json = codec::json;
using crypto::DhCurve;

using Pkey = std::unique_ptr<EVP_PKEY, decltype([](EVP_PKEY* key) { EVP_PKEY_free(key); })>;
using Context = std::unique_ptr<EVP_PKEY_CTX, decltype([](EVP_PKEY_CTX* context) { EVP_PKEY_CTX_free(context); })>;

/// A fresh key and an agreement, as the library has them: what sealing to a key cannot do without.
void bare_ecdh(benchmark::State& state) {
  const Pkey peer{EVP_EC_gen("P-256")};
  for (auto _ : state) {
    const Context making{EVP_PKEY_CTX_new_from_pkey(nullptr, peer.get(), nullptr)};
    EVP_PKEY_keygen_init(making.get());
    EVP_PKEY* made = nullptr;
    EVP_PKEY_generate(making.get(), &made);
    const Pkey mine{made};
    const Context deriving{EVP_PKEY_CTX_new_from_pkey(nullptr, mine.get(), nullptr)};
    EVP_PKEY_derive_init(deriving.get());
    EVP_PKEY_derive_set_peer_ex(deriving.get(), peer.get(), 0);
    unsigned char out[32];
    std::size_t size = sizeof out;
    if (EVP_PKEY_derive(deriving.get(), out, &size) != 1) state.SkipWithError("ECDH");
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(bare_ecdh);

void bare_sign(benchmark::State& state) {
  const auto key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  const Digest32 digest{1};
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(ByteView{digest}));
}
BENCHMARK(bare_sign);

void bare_verify(benchmark::State& state) {
  const auto key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  const Digest32 message{1};
  const auto signature = key.sign(ByteView{message});
  const auto pub = key.public_key();
  for (auto _ : state) {
    if (!pub.verify(ByteView{message}, signature)) state.SkipWithError("ECDSA");
  }
}
BENCHMARK(bare_verify);

void read_key(benchmark::State& state) {
  const auto jwk = crypto::jose::DecryptionKey{crypto::DhPrivateKey::generate(DhCurve::p256)}.public_key().to_json();
  for (auto _ : state) {
    if (!crypto::jose::EncryptionKey::parse(jwk)) state.SkipWithError("JWK");
  }
}
BENCHMARK(read_key);

void seal_reply(benchmark::State& state) {
  const auto key = crypto::jose::DecryptionKey{crypto::DhPrivateKey::generate(DhCurve::p256)}.public_key();
  SystemRandom random;
  const Bytes secret(32, 1);
  for (auto _ : state) benchmark::DoNotOptimize(crypto::jose::write(crypto::jose::encrypt(key, secret, random).value()));
}
BENCHMARK(seal_reply);

json::Value claims() {
  return json::parse(R"({"submods":{"cpu0":{"ear.status":"affirming","ear.veraison.annotated-evidence":{"tdx":{}}}}})").value();
}

void decide(benchmark::State& state, const kbs::ResourcePolicy& policy) {
  const auto token = claims();
  const auto path = rcar::ResourcePath::parse("default/key/1").value();
  for (auto _ : state) {
    if (const auto allowed = policy.allows(token, path); !allowed || !*allowed) state.SkipWithError("denied");
  }
}
void decide_builtin(benchmark::State& state) { decide(state, kbs::ResourcePolicy::builtin()); }
BENCHMARK(decide_builtin);
void decide_allow_all(benchmark::State& state) {
  decide(state, kbs::ResourcePolicy::compile("allow.rego", "package policy\nallow = true").value());
}
BENCHMARK(decide_allow_all);

/// A policy that is not plain: here, and in a process as a server has it.
kbs::ResourcePolicy not_plain() {
  return kbs::ResourcePolicy::compile("regex.rego", "package policy\nallow if regex.match(\"^default/key/\", concat(\"/\", data[\"resource-path\"]))").value();
}
constexpr std::string_view kEvaluate = "--evaluate-policies";
void decide_not_plain(benchmark::State& state) { decide(state, not_plain()); }
BENCHMARK(decide_not_plain);
void decide_in_a_process(benchmark::State& state) {
  rego::Isolation::Options options;
  options.program = "/proc/self/exe";
  options.arguments = {std::string{kEvaluate}};
  const auto isolation = rego::Isolation::start(options);
  if (!isolation) return state.SkipWithError("no process");
  decide(state, not_plain());
}
BENCHMARK(decide_in_a_process)->UseRealTime();

void appraise_sample(benchmark::State& state) {
  const auto policy = appraisal::Policy::builtin();
  const auto input = json::parse(R"({"sample":{"svn":"1","launch_digest":"abcde","debug":false,)"
                                 R"("platform_version":{"major":1,"minor":4}},"report_data":"00"})").value();
  for (auto _ : state) benchmark::DoNotOptimize(appraisal::decide_sample(policy, input, json::Value{}, {rego::Explain::no}));
}
BENCHMARK(appraise_sample);

void bind_key(benchmark::State& state) {
  const auto key = crypto::jose::DecryptionKey{crypto::DhPrivateKey::generate(DhCurve::p256)}.public_key();
  for (auto _ : state) benchmark::DoNotOptimize(rcar::primary_report_data("nonce", key, ""));
}
BENCHMARK(bind_key);

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == kEvaluate) return rego::serve_evaluations(3);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
