#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/log.hpp"
#include "cloister/lab_service/events.hpp"
#include "cloister/lab_service/machine.hpp"
#include "cloister/lab_service/plan.hpp"
#include "cloister/lab_workload/workload.hpp"

namespace cloister::lab_service {

using Nonce16 = ByteArray<16>;

enum class EnclaveState { loading, initialized, stopped };
[[nodiscard]] std::string_view to_string(EnclaveState state) noexcept;

/// An enclave of the lab: a TCS, a page of code that says whose it is, a page of data; SIGSTRUCT by the lab's signer.
struct Enclave {
  std::string name;
  EnclaveState state = EnclaveState::loading;
  UnixTime created{};
  lab_sgx::EpcIndex secs = 0;
  std::vector<lab_sgx::EpcIndex> pages;  // TCS, code, data, SSA frame
  std::uint64_t base = 0;
  Digest32 mrenclave{};  // what the loader expects; the CPU's own once it is initialised
  Digest32 mrsigner{};
  std::uint64_t calls = 0;
  std::map<std::string, std::uint64_t, std::less<>> versions;  // of sealed data, by identity
  Plan plan;                                                   // of the load, or of a call that is stepped
  codec::json::Value outcome;                                  // of that call
};

/// One record of a measurement and the digest once it was added.
struct MeasuredRecord {
  std::string leaf;
  std::uint64_t offset = 0;
  Digest32 digest{};
};

struct EnclaveQuote {
  std::string name;
  Digest32 mrenclave{};
  Digest32 mrsigner{};
  Nonce16 nonce{};
  std::string policy_version;
  Digest64 report_data{};
  Bytes quote;  // DCAP, version 3
};
/// What a quote binds: SHA-256 of the CBOR array ["cloister/lab/1/enclave attest", nonce, policy version], then zeros.
[[nodiscard]] Digest64 enclave_report_data(const Nonce16& nonce, std::string_view policy_version);

struct Unsealed {
  crypto::SecretBytes plaintext;
  std::uint64_t version = 0;
  std::uint64_t current = 0;
};

/// The enclaves of one machine. All state is in memory, and bounded. One thread at a time.
class Enclaves {
 public:
  static constexpr std::size_t kMax = 64;
  static constexpr std::int64_t kMaxOcall = 4096;      // bytes of an OCALL's payload, as JSON
  static constexpr std::size_t kMaxIdentities = 1024;  // of one enclave
  static constexpr std::string_view kSigner = "lab";

  /// Everything that is given outlives this.
  Enclaves(Machine& machine, EventLog& events, log::Logger& logger, const Clock& clock,
           std::vector<lab_workload::Workload> workloads)
      : machine_{machine}, events_{events}, logger_{logger}, clock_{clock}, workloads_{std::move(workloads)} {}

  [[nodiscard]] const std::vector<lab_workload::Workload>& workloads() const noexcept { return workloads_; }
  [[nodiscard]] std::vector<const Enclave*> all() const;
  /// `not_found`.
  [[nodiscard]] Result<Enclave*> find(std::string_view name);
  /// A new one, loaded whole unless it is to be stepped. `conflict` when it is there already, or there are `kMax`.
  [[nodiscard]] Result<Enclave*> load(std::string_view name, bool step);
  /// The enclave, initialised; loaded now when it is not there. `conflict` while it is stepped, and when it was
  /// stopped.
  [[nodiscard]] Result<Enclave*> ready(std::string_view name);
  /// The next step of a load or call. `conflict` when there is none.
  [[nodiscard]] Result<Stepped> step(std::string_view name);
  /// EREMOVE of its pages. What it sealed opens again once an enclave of this name is loaded anew.
  [[nodiscard]] Result<Enclave*> stop(std::string_view name);
  [[nodiscard]] Result<void> remove(std::string_view name);

  /// The ECALL of that name. `not_found` before any code of an enclave runs, where there is none; the workload's
  /// refusals.
  [[nodiscard]] Result<codec::json::Value> ecall(std::string_view name, std::string_view call,
                                                 const codec::json::Value& payload);
  /// An OCALL: leaves the enclave with `payload`, and comes back with the host's answer, the same under its name.
  [[nodiscard]] Result<codec::json::Value> ocall(std::string_view name, std::string_view ocall,
                                                 const codec::json::Value& payload);
  /// The same, to be stepped.
  [[nodiscard]] Result<Enclave*> begin_ecall(std::string_view name, std::string_view call, codec::json::Value payload);
  [[nodiscard]] Result<Enclave*> begin_ocall(std::string_view name, std::string_view ocall, codec::json::Value payload);

  [[nodiscard]] Result<std::string> seal(std::string_view name, std::string_view identity, ByteView plaintext);
  /// `malformed`, `decryption_failed`; `conflict` for data that is older than the newest of this identity, unless that
  /// is allowed.
  [[nodiscard]] Result<Unsealed> unseal(std::string_view name, std::string_view identity, std::string_view token,
                                        bool allow_stale);
  [[nodiscard]] Result<EnclaveQuote> attest(std::string_view name, std::string_view policy_version,
                                            const std::optional<Nonce16>& nonce);
  /// The measurement, record by record.
  [[nodiscard]] Result<std::vector<MeasuredRecord>> records(std::string_view name);
  /// Whose page of the EPC it is: an enclave's name, or "quoting enclave"; empty for nobody's.
  [[nodiscard]] std::string owner_of(lab_sgx::EpcIndex page) const;

 private:
  class Inside;
  [[nodiscard]] Result<void> plan_load(Enclave& enclave);
  void leave_step(const Enclave& enclave);
  void unload(Enclave& enclave);
  [[nodiscard]] Result<void> enter(const Enclave& enclave, unsigned processor, std::string_view why);
  void leave(const Enclave& enclave, unsigned processor, std::string_view why);
  [[nodiscard]] codec::json::Value host_answer(const Enclave& enclave, std::string_view ocall,
                                               codec::json::Value payload);
  [[nodiscard]] Result<lab_workload::Output> run(Enclave& enclave, const lab_workload::Workload& workload,
                                                 const codec::json::Value& payload, unsigned processor);
  [[nodiscard]] const lab_workload::Workload* workload(std::string_view name) const;
  /// Runs `work` inside the enclave, on the processor of calls that are not stepped.
  template <class Work>
  [[nodiscard]] std::invoke_result_t<Work&> inside(Enclave& enclave, std::string_view why, Work work);
  void log_call(const Enclave& enclave, std::string_view call, const codec::json::Value& payload,
                const codec::json::Value& logged);

  Machine& machine_;
  EventLog& events_;
  log::Logger& logger_;
  const Clock& clock_;
  std::vector<lab_workload::Workload> workloads_;
  std::map<std::string, std::unique_ptr<Enclave>, std::less<>> enclaves_;
};

}  // namespace cloister::lab_service
