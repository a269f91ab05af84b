// Runs jobs to their verified, opened results, several at a time: prints how many and how fast.
// usage: bench-jobs SERVER TOKEN-FILE TRUST-FILE CHALLENGE VERSION PAYLOAD-FILE JOBS AT-A-TIME
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "cloister/client/job_runner.hpp"
#include "cloister/core/ids.hpp"
#include "samples.hpp"

namespace {

using namespace cloister;

template <class T>
T must(Result<T> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "bench-jobs: %s\n", result.error().text().c_str());
  std::exit(1);
}

std::string read(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string word(const char* path) {
  auto text = read(path);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fprintf(stderr, "usage: bench-jobs SERVER TOKEN-FILE TRUST-FILE CHALLENGE VERSION PAYLOAD-FILE JOBS AT-A-TIME\n");
    return 1;
  }
  const auto trust = must(policy::parse_trust_file(read(argv[3])));
  const auto challenge = must(ChallengeId::parse(argv[4]));
  const auto version = must(VersionId::parse(argv[5]));
  const auto payload = to_bytes(read(argv[6]));
  const int jobs = std::atoi(argv[7]);
  SystemRandom random;
  const SystemClock clock;
  const auto secret = crypto::Secret<32>::random(random);
  std::atomic<int> next = 0;
  std::mutex mutex;
  bench::Samples samples;
  const auto work = [&] {
    auto server = must(client::Orchestrator::connect(argv[1], word(argv[2])));
    SystemRandom fresh;
    client::JobRunner runner{server, trust, secret, clock, fresh};
    bench::Samples own;
    for (int i = next++; i < jobs; i = next++) {
      const auto begin = clock.steady();
      client::JobOrder order{challenge, version, random_id("bench", fresh), payload, std::chrono::seconds{600}};
      const auto done = must(runner.run(order, {}));
      if (done.envelope.status != "ok") std::exit(1);
      own.add(std::chrono::duration_cast<std::chrono::microseconds>(clock.steady() - begin).count());
    }
    const std::lock_guard held{mutex};
    samples.add(own);
  };
  const auto begin = clock.steady();
  std::vector<std::thread> threads;
  for (int i = 0; i < std::atoi(argv[8]); ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  const std::chrono::duration<double> took = clock.steady() - begin;
  std::printf("%s\n", codec::json::write(samples.report(took.count())).c_str());
}
