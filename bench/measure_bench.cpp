#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/measure/sgx.hpp"
#include "cloister/measure/snp_launch.hpp"

/// Launch measurements of 64 MiB beside the bare hashes of the same records; docs/benchmarks.md.
namespace cloister::bench {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kPage = 4096;

/// Bytes that no hash could guess, the same in every run.
Bytes noise(std::size_t size) {
  Bytes out(size);
  std::uint64_t state = 88172645463325252;
  for (auto& byte : out) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<std::uint8_t>(state);
  }
  return out;
}

/// Firmware with one section for the hashes of a kernel: the GUIDed table ends 32 bytes before the end.
Bytes firmware_of(std::size_t size) {
  codec::Writer table;
  const auto entry = [&table](std::string_view guid) {
    table.u16le(static_cast<std::uint16_t>(18 + 4 + (guid.starts_with("1f37") ? 4 : 0)));
    table.raw(codec::from_hex(guid).value());
  };
  table.raw(as_bytes("ASEV"));
  for (const std::uint32_t number : {28U, 1U, 1U, 0x810000U, 0x1000U, 0x10U}) table.u32le(number);
  const auto metadata = table.size();
  table.u32le(0x810C00);
  table.u32le(0x400);
  entry("1f3755723b3a044b927b1da6efa8d454");
  table.u32le(static_cast<std::uint32_t>(metadata + 26 + 22 + 18 + 32));
  entry("666588dc4a989847a75e5585a7bf67cc");
  table.u16le(26 + 22 + 18);
  table.raw(codec::from_hex("de82b596b21ff745baeaa366c55a082d").value());
  table.zeros(32);
  auto out = noise(size);
  std::ranges::copy(table.bytes(), out.end() - static_cast<std::ptrdiff_t>(table.size()));
  return out;
}

/// OpenSSL's hash with a context that stays.
class Bare {
 public:
  explicit Bare(const EVP_MD* algorithm) : algorithm_{algorithm} {}
  ~Bare() { EVP_MD_CTX_free(context_); }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  void start() { CLOISTER_ASSERT(EVP_DigestInit_ex2(context_, algorithm_, nullptr) == 1); }
  void add(ByteView data) { CLOISTER_ASSERT(EVP_DigestUpdate(context_, data.data(), data.size()) == 1); }
  void end() {
    CLOISTER_ASSERT(EVP_DigestFinal_ex(context_, out_.data(), nullptr) == 1);
    benchmark::DoNotOptimize(out_);
  }
  void whole(ByteView data) {
    start();
    add(data);
    end();
  }

 private:
  const EVP_MD* algorithm_;
  EVP_MD_CTX* context_ = EVP_MD_CTX_new();
  Digest64 out_{};
};

/// A launch of `firmware` bytes of firmware, and a kernel of the rest of 64 MiB.
struct Launch {
  explicit Launch(std::size_t firmware_size) : firmware{firmware_of(firmware_size)}, kernel{noise(64 * kMiB - firmware_size)} {}
  Bytes firmware;
  Bytes kernel;
};

void snp(benchmark::State& state) {
  const Launch launch{static_cast<std::size_t>(state.range(0)) * kMiB};
  for (auto _ : state) {
    const auto digest = measure::snp_launch_digest(
        {.firmware = launch.firmware, .kernel = measure::KernelHashes::of(launch.kernel, {}, "console=ttyS0"), .vcpu_signature = 0xA00F11});
    if (!digest) state.SkipWithError("the launch was refused");
    benchmark::DoNotOptimize(digest);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * 64 * kMiB));
}

void bare_snp(benchmark::State& state) {
  const Launch launch{static_cast<std::size_t>(state.range(0)) * kMiB};
  Bare sha384{EVP_MD_fetch(nullptr, "SHA2-384", nullptr)};
  Bare sha256{EVP_MD_fetch(nullptr, "SHA2-256", nullptr)};
  const Bytes record(0x70);
  for (auto _ : state) {
    sha256.whole(launch.kernel);
    for (std::size_t at = 0; at < launch.firmware.size(); at += kPage) {
      sha384.whole(ByteView{launch.firmware}.subspan(at, kPage));
      sha384.whole(record);
    }
    for (int page = 0; page < 2; ++page) {  // the hashes, the virtual CPU
      sha384.whole(ByteView{launch.firmware}.first(kPage));
      sha384.whole(record);
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * 64 * kMiB));
}

/// A 64 MiB enclave as a list of pages.
void sgx(benchmark::State& state) {
  const auto memory = noise(64 * kMiB);
  std::vector<measure::EnclavePage> pages;
  for (std::size_t at = 0; at < memory.size(); at += kPage) {
    pages.push_back({.offset = at, .secinfo = measure::SecInfo::reg(true, true, false),
                     .contents = measure::SgxPageView{ByteView{memory}.subspan(at).first<kPage>()}});
  }
  for (auto _ : state) {
    const auto digest = measure::mrenclave_of_pages(1, 64 * kMiB, pages);
    if (!digest) state.SkipWithError("the enclave was refused");
    benchmark::DoNotOptimize(digest);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * 64 * kMiB));
}

void bare_sgx(benchmark::State& state) {
  const auto memory = noise(64 * kMiB);
  Bare sha256{EVP_MD_fetch(nullptr, "SHA2-256", nullptr)};
  const Bytes record(64);
  for (auto _ : state) {
    sha256.start();
    sha256.add(record);
    for (std::size_t at = 0; at < memory.size(); at += 256) {
      if (at % kPage == 0) sha256.add(record);
      sha256.add(record);
      sha256.add(ByteView{memory}.subspan(at, 256));
    }
    sha256.end();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * 64 * kMiB));
}

BENCHMARK(snp)->Name("snp/firmware_MiB")->Arg(64)->Arg(16)->Unit(benchmark::kMillisecond);
BENCHMARK(bare_snp)->Name("bare/snp/firmware_MiB")->Arg(64)->Arg(16)->Unit(benchmark::kMillisecond);
BENCHMARK(sgx)->Name("sgx")->Unit(benchmark::kMillisecond);
BENCHMARK(bare_sgx)->Name("bare/sgx")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cloister::bench

BENCHMARK_MAIN();
