#include <benchmark/benchmark.h>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab_sgx/quoting.hpp"
#include "cloister/measure/sgx.hpp"

/// What the lab does beside the bare cryptography that it is made of; docs/benchmarks.md.
namespace cloister::bench {
namespace {

constexpr std::size_t kEnclave = std::size_t{64} << 20;
constexpr std::size_t kPages = kEnclave / measure::kSgxPageSize;

/// 64 MiB of pages, each measured whole.
class Enclave {
 public:
  Enclave() : contents_(kEnclave) {
    for (std::size_t i = 0; i < contents_.size(); ++i) contents_[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
    for (std::size_t i = 0; i < kPages; ++i) {
      const auto at = i * measure::kSgxPageSize;
      pages_.push_back({.offset = at, .secinfo = measure::SecInfo::reg(true, true, false),
                        .contents = measure::SgxPageView{ByteView{contents_}.subspan(at).first<measure::kSgxPageSize>()}});
    }
  }
  [[nodiscard]] const std::vector<measure::EnclavePage>& pages() const { return pages_; }
  /// The same as an .sgxs stream, which is what MRENCLAVE hashes.
  [[nodiscard]] Bytes stream() const {
    codec::Writer out;
    out.raw(as_bytes(std::string_view{"ECREATE\0", 8}));
    out.u32le(1);
    out.u64le(kEnclave);
    out.zeros(44);
    for (const auto& page : pages_) {
      out.raw(as_bytes(std::string_view{"EADD\0\0\0\0", 8}));
      out.u64le(page.offset);
      out.u64le(page.secinfo.flags());
      out.zeros(40);
      for (std::size_t at = 0; at < measure::kSgxPageSize; at += measure::kSgxChunkSize) {
        out.raw(as_bytes(std::string_view{"EEXTEND\0", 8}));
        out.u64le(page.offset + at);
        out.zeros(48);
        out.raw(page.contents.subspan(at, measure::kSgxChunkSize));
      }
    }
    return std::move(out).take();
  }

 private:
  Bytes contents_;
  std::vector<measure::EnclavePage> pages_;
};

/// Bytes of pages, not of records: what a person calls the enclave's size.
void set_bytes(benchmark::State& state) { state.SetBytesProcessed(static_cast<std::int64_t>(kEnclave) * state.iterations()); }

void bare_sha256(benchmark::State& state, const Bytes& stream) {
  for (auto _ : state) benchmark::DoNotOptimize(crypto::sha256(stream));
  set_bytes(state);
}

void measure_pages(benchmark::State& state, const Enclave& enclave, const Digest32& expected) {
  for (auto _ : state) {
    if (measure::mrenclave_of_pages(1, kEnclave, enclave.pages()).value() != expected) state.SkipWithError("another MRENCLAVE");
  }
  set_bytes(state);
}

void measure_stream(benchmark::State& state, const Bytes& stream, const Digest32& expected) {
  for (auto _ : state) {
    if (measure::mrenclave_of_sgxs(stream).value() != expected) state.SkipWithError("another MRENCLAVE");
  }
  set_bytes(state);
}

void bare_signature(benchmark::State& state) {
  const auto key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  const Bytes message(432, 0x5A);  // as long as what a quote of version 3 signs
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(message));
  state.SetItemsProcessed(state.iterations());
}

/// From a report of another enclave to the quote's bytes.
void quote(benchmark::State& state) {
  const auto created = from_civil(2026, 3, 1, 12, 0, 0).value();
  const auto platform = lab::Platform::create(crypto::Secret<32>{ByteArray<32>{1}}, created);
  lab_sgx::Cpu cpu{platform.sgx_root(), {.cpu_svn = platform.machine().sgx_components, .pages = 16}};
  const auto signer = crypto::RsaPrivateKey::derive_3072_e3(ByteArray<32>{1}, as_bytes("bench"));
  lab_sgx::Certification pce{.sign = [&](const evidence::SgxReport& report) { return platform.certify(report); },
                             .pck_chain = platform.pck_chain(),
                             .pce_svn = platform.machine().pcesvn};
  const auto qe = lab_sgx::QuotingEnclave::start(cpu, 0, 0, platform.machine().qe_isvsvn, signer, std::move(pce)).value();
  Digest64 data{};
  for (auto _ : state) {
    ++data[0];
    benchmark::DoNotOptimize(qe.quote(cpu.ereport(0, lab_sgx::encode_target_info(qe.target()), data).value()).value());
  }
  state.SetItemsProcessed(state.iterations());
}

void add_all() {
  static const Enclave enclave;
  static const auto stream = enclave.stream();
  static const auto expected = crypto::sha256(stream);
  const auto in_ms = [](benchmark::internal::Benchmark* one) { one->Unit(benchmark::kMillisecond); };
  in_ms(benchmark::RegisterBenchmark("sgx_64mib/bare_sha256", [](benchmark::State& s) { bare_sha256(s, stream); }));
  in_ms(benchmark::RegisterBenchmark("sgx_64mib/pages", [](benchmark::State& s) { measure_pages(s, enclave, expected); }));
  in_ms(benchmark::RegisterBenchmark("sgx_64mib/sgxs", [](benchmark::State& s) { measure_stream(s, stream, expected); }));
  const auto in_us = [](benchmark::internal::Benchmark* one) { one->Unit(benchmark::kMicrosecond); };
  in_us(benchmark::RegisterBenchmark("sgx_quote/bare_p256_signature", bare_signature));
  in_us(benchmark::RegisterBenchmark("sgx_quote/quote_v3", quote));
}

}  // namespace
}  // namespace cloister::bench

int main(int count, char** arguments) {
  cloister::bench::add_all();
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
