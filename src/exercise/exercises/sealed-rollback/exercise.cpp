#include "attempt.hpp"
#include "behaviour.hpp"
#include "sgx_lesson.hpp"

/// A wallet that seals its balance; and the older blobs, which a host may put back.
namespace cloister::exercise::sealed_rollback {
namespace {

using lab_sgx::SealedVersion;

constexpr std::string_view kYesterday = "balance=100 EUR";
constexpr std::string_view kToday = "balance=3 EUR";
constexpr SealedVersion kCounterYesterday{.counter = {0xC0}, .value = 4};
constexpr SealedVersion kCounterNow{.counter = {0xC0}, .value = 5};
constexpr std::size_t kMaxBlob = 4096;

sgx::Plan wallet() { return sgx::plan_of("the wallet"); }

/// The machine with the wallet entered on processor 0.
lab_sgx::Cpu machine(EventLog& log) {
  lab_sgx::Cpu cpu{sgx::root(), {.cpu_svn = sgx::kCpuSvn, .pages = 8}};
  const auto plan = wallet();
  CLOISTER_ASSERT(sgx::load(cpu, log, plan, 0, sgx::sigstruct_for(plan, {})) == lab_sgx::Code::success);
  CLOISTER_ASSERT(cpu.eenter(0, 1) == lab_sgx::Code::success);
  return cpu;
}

struct Blobs {
  Bytes plain_yesterday, plain, counted_yesterday, counted;
};

Blobs blobs(const lab_sgx::Cpu& cpu) {
  sgx::LessonRandom random{"sealed-rollback"};
  const auto seal = [&](std::string_view text, const std::optional<SealedVersion>& version) {
    return lab_sgx::seal(cpu, 0, lab_sgx::key_policy::kMrEnclave, as_bytes(text), version, random).value();
  };
  return {.plain_yesterday = seal(kYesterday, {}), .plain = seal(kToday, {}),
          .counted_yesterday = seal(kYesterday, kCounterYesterday), .counted = seal(kToday, kCounterNow)};
}

Files more_files() {
  EventLog unused;
  const auto made = blobs(machine(unused));
  return {{"plain.hex", sgx::sealed_text("Sealed today, without a counter.", made.plain)},
          {"plain-yesterday.hex", sgx::sealed_text("Sealed yesterday, without a counter.", made.plain_yesterday)},
          {"counted.hex", sgx::sealed_text("Sealed today, bound to counter value 5.", made.counted)},
          {"counted-yesterday.hex", sgx::sealed_text("Sealed yesterday, bound to counter value 4.", made.counted_yesterday)},
          {"forged.hex", sgx::sealed_text("Sealed yesterday, bound to counter value 4: yours to forge.", made.counted_yesterday)}};
}

std::string ciphertext_of(ByteView blob, const Blobs& known) {
  const auto parsed = lab_sgx::parse_sealed(blob);
  if (!parsed) return "none";
  const auto same = [&](const Bytes& other) { return parsed->sealed == lab_sgx::parse_sealed(other)->sealed; };
  if (same(known.plain_yesterday) || same(known.counted_yesterday)) return "yesterday";
  return same(known.plain) || same(known.counted) ? "today" : "changed";
}

Result<void> replay(const Files& files, EventLog& log) {
  const auto cpu = machine(log);
  const auto known = blobs(cpu);
  log.begin_step(1);
  for (const auto* file : {"plain.hex", "counted.hex", "forged.hex"}) {
    CLOISTER_TRY(blob, hex_file(files, file, kMaxBlob));
    const bool plain = std::string_view{file} == "plain.hex";
    sgx::unseal(cpu, 0, log, {{"file", file}, {"ciphertext", ciphertext_of(blob, known)}}, blob,
                plain ? std::nullopt : std::optional{kCounterNow});
  }
  return {};
}

constexpr Goal kGoals[] = {
    {"The plain wallet opens yesterday's balance", 3,
     [](const EventLog& log) { return happened(log, "UNSEAL", "opened: balance=100", {{"file", "plain.hex"}}); },
     "plain.hex holds 3 EUR; the folder has a file that the same enclave sealed when it was richer"},
    {"The counted wallet refuses yesterday's blob", 3,
     [](const EventLog& log) { return happened(log, "UNSEAL", "conflict: sealed data: version 4 < counter 5", {{"file", "counted.hex"}}); },
     "do the same to counted.hex, with the file that belongs to it"},
    {"A raised version in yesterday's blob breaks its tag", 4,
     [](const EventLog& log) {
       return happened(log, "UNSEAL", "decryption_failed", {{"file", "forged.hex"}, {"version", "5"}, {"ciphertext", "yesterday"}});
     },
     "in forged.hex, make the value of the counter what the enclave expects, and leave the ciphertext alone"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 1, .more_files = more_files, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::sealed_rollback
