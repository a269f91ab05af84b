#include <benchmark/benchmark.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <optional>

#include "attestation_cases.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"
#include "rivals.hpp"
#include "cloister/verdict/verdict.hpp"
#include "cloister_verify.h"
#include "support/synthetic_snp.hpp"

namespace {
thread_local std::uint64_t allocations = 0;

void* allocate(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc{};
}
}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

/// Verifications of evidence beside the signature verifications that they are made of; docs/benchmarks.md.
namespace cloister::bench {
namespace {

struct Signed {
  crypto::EcPublicKey key;
  Bytes message;
  Bytes signature;
};

/// As long as what a TDX version 4 quote signs.
constexpr std::size_t kMessage = evidence::kQuoteHeaderSize + evidence::kTdBody10Size;

std::vector<Signed> rotating(crypto::Curve curve) {
  std::vector<Signed> out;
  for (std::size_t i = 0; i < kRotation; ++i) {
    const auto key = crypto::EcPrivateKey::generate(curve);
    Bytes message(kMessage, static_cast<std::uint8_t>(i));
    auto signature = key.sign(message);
    out.push_back({key.public_key(), std::move(message), std::move(signature)});
  }
  return out;
}

/// Keys ready to verify; the message is hashed each time.
void bare(benchmark::State& state, const std::vector<Signed>& all) {
  std::size_t i = 0;
  for (auto _ : state) {
    const auto& one = all[i++ % all.size()];
    if (!one.key.verify(one.message, one.signature)) state.SkipWithError("a good signature was refused");
  }
}

/// OpenSSL's, with a context that is ready: what the library that signs would cost.
class OpensslKey {
 public:
  OpensslKey(const char* group, ByteView xy) {
    Bytes point{0x04};
    append(point, xy);
    auto* key = EVP_EC_gen(group);
    CLOISTER_ASSERT(EVP_PKEY_set1_encoded_public_key(key, point.data(), point.size()) == 1);
    context_ = EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr);
    EVP_PKEY_free(key);
    CLOISTER_ASSERT(EVP_PKEY_verify_init(context_) == 1);
  }
  OpensslKey(OpensslKey&& other) noexcept : context_{std::exchange(other.context_, nullptr)} {}
  ~OpensslKey() { EVP_PKEY_CTX_free(context_); }
  [[nodiscard]] bool verify(ByteView digest, ByteView der) const {
    return EVP_PKEY_verify(context_, der.data(), der.size(), digest.data(), digest.size()) == 1;
  }

 private:
  EVP_PKEY_CTX* context_;
};

void bare_openssl(benchmark::State& state, crypto::Curve curve) {
  std::vector<OpensslKey> keys;  // of this thread
  std::vector<Bytes> messages;
  std::vector<Bytes> signatures;
  for (std::size_t i = 0; i < kRotation; ++i) {
    const auto key = crypto::EcPrivateKey::generate(curve);
    messages.emplace_back(kMessage, static_cast<std::uint8_t>(i));
    signatures.push_back(key.sign_der(messages.back()));
    keys.emplace_back(curve == crypto::Curve::p256 ? "P-256" : "P-384", key.public_key().xy());
  }
  std::size_t i = 0;
  for (auto _ : state) {
    const auto at = i++ % kRotation;
    const auto digest = crypto::digest_for(curve, messages[at]);
    if (!keys[at].verify(digest.view(), signatures[at])) state.SkipWithError("a good signature was refused");
  }
}

/// From bytes to the verdict, as a process that knows nothing but its roots does it.
void cold(benchmark::State& state, const Case& one, const attestation::TrustAnchors& anchors) {
  std::size_t i = 0;
  for (auto _ : state) {
    const auto quote = evidence::parse_quote(one.quotes[i++ % one.quotes.size()]);
    const auto collateral = evidence::parse_quote_collateral(one.collateral);
    const auto documents = evidence::parse_documents(*collateral);
    const auto outcome = attestation::verify(*quote, *documents, anchors, one.now);
    if (!outcome.evidence) state.SkipWithError("good evidence was refused");
  }
}

/// The allocations of one verification, and of a copy of its outcome.
template <class Verify>
void count_allocations(benchmark::State& state, const Verify& verify) {
  const auto begin = allocations;
  const auto outcome = verify();
  const auto verified = allocations;
  const auto copy = outcome;
  benchmark::DoNotOptimize(copy);
  const auto verdict = static_cast<double>(allocations - verified);
  state.counters["allocations_of_verdict"] = benchmark::Counter(verdict, benchmark::Counter::kAvgThreads);
  state.counters["allocations_beyond"] =
      benchmark::Counter(static_cast<double>(verified - begin) - verdict, benchmark::Counter::kAvgThreads);
}

/// From a quote's bytes to the verdict, collateral and chain known. Either every QE report is new, so that two signatures
/// remain: when all quotes had their turn, the cache begins anew with one that is in no round. Or the cache knows all
/// QE reports, and one signature remains.
void warm(benchmark::State& state, const Case& one, const attestation::TrustAnchors& anchors, bool known_platform) {
  const auto documents = evidence::parse_documents(*evidence::parse_quote_collateral(one.collateral));
  SystemRandom random;
  std::optional<attestation::VerificationCache> cache;
  const auto verify = [&](const Bytes& bytes) {
    const auto quote = evidence::view_quote(bytes);
    return attestation::verify(*quote, *documents, anchors, one.now, &*cache);
  };
  const auto begin_anew = [&] {
    cache.emplace(random, attestation::VerificationCache::Limits{.signatures = 16 * kQuotes, .chains = 16});
    static_cast<void>(verify(one.quotes.front()));
  };
  begin_anew();
  if (known_platform) {
    for (const auto& quote : one.quotes) static_cast<void>(verify(quote));
  }
  std::size_t i = 0;
  for (auto _ : state) {
    if (++i == one.quotes.size()) {
      i = 1;
      if (!known_platform) {
        state.PauseTiming();
        begin_anew();
        state.ResumeTiming();
      }
    }
    const auto outcome = verify(one.quotes[i]);
    if (!outcome.evidence) state.SkipWithError("good evidence was refused");
  }
  count_allocations(state, [&] { return verify(one.quotes.front()); });
}

/// The verdict as JSON text, platform known: by the C++ call, for which the collateral was parsed once, and by the C
/// interface, which is given it as text each time.
void verdict_in_cpp(benchmark::State& state, const Case& one, const attestation::TrustAnchors& anchors) {
  const auto documents = verdict::shared(evidence::parse_documents(*evidence::parse_quote_collateral(one.collateral)));
  SystemRandom random;
  attestation::VerificationCache cache{random};
  verdict::Terms terms;
  terms.anchors = anchors;
  terms.at = one.now;
  terms.cache = &cache;
  std::size_t i = 0;
  for (auto _ : state) {
    const auto judged = verdict::judge(one.quotes[i++ % one.quotes.size()], "", terms, {[&](const auto&) { return documents; }, {}});
    if (!judged->accepted()) state.SkipWithError("good evidence was refused");
    benchmark::DoNotOptimize(codec::json::write(verdict::to_json(*judged)));
  }
}

void verdict_in_c(benchmark::State& state, const Case& one, const attestation::TrustAnchors& anchors, bool warm) {
  const auto view = [](ByteView bytes) { return cloister_verify_bytes{bytes.data(), bytes.size()}; };
  const cloister_verify_document collateral{nullptr, view(as_bytes(one.collateral))};
  std::vector<cloister_verify_bytes> roots;
  for (const auto& anchor : anchors.all()) roots.push_back(view(anchor.root().der));
  const std::unique_ptr<cloister_verify_cache, void (*)(cloister_verify_cache*)> cache{
      warm ? cloister_verify_cache_new() : nullptr, cloister_verify_cache_free};
  cloister_verify_request request{};
  request.struct_size = sizeof request;
  request.collateral = &collateral;
  request.collateral_count = 1;
  request.roots = roots.data();
  request.root_count = roots.size();
  request.time = to_micros(one.now) / 1'000'000;
  request.cache = cache.get();
  std::size_t i = 0;
  for (auto _ : state) {
    request.evidence = view(one.quotes[i++ % one.quotes.size()]);
    char* result = nullptr;
    if (cloister_verify_evidence(&request, &result) != CLOISTER_VERIFY_ACCEPTED) state.SkipWithError("good evidence was refused");
    cloister_verify_free(result);
  }
}

/// SEV-SNP reports of one chip, from their bytes to the verdict.
struct Chip {
  std::vector<Bytes> reports;
  evidence::SnpEndorsements endorsements;
  Bytes vek;  // DER, of the certificate that signs
  attestation::TrustAnchors anchors;
};

Chip synthetic_chip() {
  test::SyntheticSnp chip;
  Chip out;
  for (std::size_t i = 0; i < kRotation; ++i) {
    chip.body.report_data.fill(static_cast<std::uint8_t>(i));
    auto built = chip.build();
    out.reports.push_back(std::move(built.report));
    if (i > 0) continue;  // certificates that are issued again have other signatures
    out.vek = built.endorsements.certificates.front()->der;  // the chip's own comes first
    out.endorsements = std::move(built.endorsements);
    out.anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  }
  return out;
}

/// Certificates and CRL known: the report's signature remains.
void warm_snp(benchmark::State& state, const Chip& chip) {
  SystemRandom random;
  attestation::VerificationCache cache{random};
  const auto verify = [&](const Bytes& bytes) {
    const auto report = evidence::parse_snp_report(bytes);
    return attestation::verify(*report, chip.endorsements, chip.anchors, test::SyntheticSnp::now(), &cache);
  };
  static_cast<void>(verify(chip.reports.front()));
  std::size_t i = 0;
  for (auto _ : state) {
    const auto outcome = verify(chip.reports[i++ % chip.reports.size()]);
    if (!outcome.evidence) state.SkipWithError("good evidence was refused");
  }
  count_allocations(state, [&] { return verify(chip.reports.front()); });
}

/// The certificates' bytes too, and nothing known but the root: three signatures, and the CRL's.
void cold_snp(benchmark::State& state, const Chip& chip) {
  std::size_t i = 0;
  for (auto _ : state) {
    evidence::SnpEndorsements endorsements;
    for (const auto& one : chip.endorsements.certificates) {
      endorsements.certificates.push_back(*crypto::x509::parse_certificate(one->der));
    }
    for (const auto& one : chip.endorsements.crls) endorsements.crls.push_back(*crypto::x509::parse_crl(one.der));
    const auto report = evidence::parse_snp_report(chip.reports[i++ % chip.reports.size()]);
    const auto outcome = attestation::verify(*report, endorsements, chip.anchors, test::SyntheticSnp::now());
    if (!outcome.evidence) state.SkipWithError("good evidence was refused");
  }
}

// What rivals do of the same, by their own idea of it; their memory of earlier quotes is none.

void rival_cold(benchmark::State& state, const Case& one, const Rivals& rivals) {
  const auto rival = rivals.dcap(one.root, to_bytes(one.collateral), one.now);
  std::size_t i = 0;
  for (auto _ : state) {
    if (!rival.cold(one.quotes[i++ % one.quotes.size()])) state.SkipWithError("good evidence was refused");
  }
}

void rival_warm(benchmark::State& state, const Case& one, const Rivals& rivals) {
  const auto rival = rivals.dcap(one.root, to_bytes(one.collateral), one.now);
  std::size_t i = 0;
  for (auto _ : state) {
    if (!rival.warm(one.quotes[i++ % one.quotes.size()])) state.SkipWithError("good evidence was refused");
  }
}

void rival_warm_snp(benchmark::State& state, const Chip& chip, const Rivals& rivals) {
  const auto rival = rivals.snp(chip.vek);
  std::size_t i = 0;
  for (auto _ : state) {
    if (!rival.warm(chip.reports[i++ % chip.reports.size()])) state.SkipWithError("good evidence was refused");
  }
}

template <class... Arguments>
void measure(const std::string& name, Arguments&&... arguments) {
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), std::forward<Arguments>(arguments)...);
  registered->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

/// Takes `--NAME VALUE` out of the arguments.
std::optional<std::string> take_option(int& argc, char** argv, std::string_view name) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (argv[i] != name) continue;
    std::string value = argv[i + 1];
    std::copy(argv + i + 2, argv + argc, argv + i);
    argc -= 2;
    return value;
  }
  return std::nullopt;
}

int run(int argc, char** argv) {
  const auto* vectors = std::getenv("CLOISTER_VECTORS");
  auto cases = synthetic_cases();
  for (auto& one : real_cases(vectors == nullptr ? "../shared/vectors" : vectors)) cases.push_back(std::move(one));
  std::optional<Rivals> rivals;
  if (const auto library = take_option(argc, argv, "--rivals")) rivals.emplace(*library);

  const auto p256 = rotating(crypto::Curve::p256);
  const auto p384 = rotating(crypto::Curve::p384);
  measure("bare/p256", [&](benchmark::State& state) { bare(state, p256); });
  measure("bare/p384", [&](benchmark::State& state) { bare(state, p384); });
  measure("bare/p256_openssl", [](benchmark::State& state) { bare_openssl(state, crypto::Curve::p256); });
  measure("bare/p384_openssl", [](benchmark::State& state) { bare_openssl(state, crypto::Curve::p384); });
  for (const auto& one : cases) {
    const auto anchors = one.anchors();
    measure("cold/" + one.name, [&one, anchors](benchmark::State& state) { cold(state, one, anchors); });
    if (rivals) measure("cold_dcap_qvl/" + one.name, [&](benchmark::State& state) { rival_cold(state, one, *rivals); });
    if (one.quotes.size() < kQuotes) continue;
    measure("warm/" + one.name, [&one, anchors](benchmark::State& state) { warm(state, one, anchors, false); });
    measure("warm_known_platform/" + one.name,
            [&one, anchors](benchmark::State& state) { warm(state, one, anchors, true); });
    if (rivals) measure("warm_dcap_qvl/" + one.name, [&](benchmark::State& state) { rival_warm(state, one, *rivals); });
    measure("verdict_known_platform_cpp/" + one.name,
            [&one, anchors](benchmark::State& state) { verdict_in_cpp(state, one, anchors); });
    measure("verdict_known_platform_c/" + one.name,
            [&one, anchors](benchmark::State& state) { verdict_in_c(state, one, anchors, true); });
    measure("verdict_without_cache_c/" + one.name,
            [&one, anchors](benchmark::State& state) { verdict_in_c(state, one, anchors, false); });
  }
  const auto chip = synthetic_chip();
  measure("cold/snp", [&](benchmark::State& state) { cold_snp(state, chip); });
  measure("warm/snp", [&](benchmark::State& state) { warm_snp(state, chip); });
  if (rivals) measure("warm_sev/snp", [&](benchmark::State& state) { rival_warm_snp(state, chip, *rivals); });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace cloister::bench

int main(int argc, char** argv) { return cloister::bench::run(argc, argv); }
