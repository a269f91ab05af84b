#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/log.hpp"
#include "cloister/lab_service/enclaves.hpp"
#include "cloister/lab_service/page_cipher.hpp"
#include "cloister/measure/snp.hpp"

namespace cloister::lab_service {

enum class VmState { launching, running, stopped };
[[nodiscard]] std::string_view to_string(VmState state) noexcept;

struct Vcpu {
  std::uint32_t id = 0;
  std::uint64_t rip = 0;
  std::uint64_t rsp = 0;
};

/// A page that firmware measured at launch, and the launch digest once it was.
struct LaunchedPage {
  measure::SnpPageType type = measure::SnpPageType::normal;
  std::uint64_t gpa = 0;
  std::uint64_t spa = 0;
  Digest48 digest{};
};

/// A page that was encrypted later.
struct VmPage {
  std::uint64_t version = 0;  // how often it was written
  SealedPage sealed;
  std::vector<std::uint64_t> spas;  // where it lies: one or two pages of 4 KiB
};

struct Vm {
  std::string id;
  std::string owner;
  VmState state = VmState::launching;
  UnixTime created{};
  std::uint32_t asid = 0;
  Vcpu vcpu;
  measure::SnpLaunchDigest digest;
  std::optional<Digest48> launch_digest;  // once the launch is finished; then it never changes
  std::vector<LaunchedPage> launched;
  std::map<std::uint64_t, VmPage> pages;
  Plan plan;
};

/// The service's own measurement, beside the launch digest: SHA-256 over the CBOR array ["cloister/lab/1/vm", id,
/// owner,
/// [[page id, SHA-256 of IV and ciphertext, MAC], …]] of the pages by ascending id. It changes when a page is
/// encrypted.
[[nodiscard]] Digest32 measurement_of(const Vm& vm);

struct VmReport {
  std::string id;
  Nonce16 nonce{};
  Digest32 measurement{};
  Digest48 launch_digest{};
  Digest64 report_data{};
  Bytes report;  // SNP attestation report, version 5
};
/// What a report binds: SHA-256 of the CBOR array ["cloister/lab/1/vm attest", nonce, VM id, measurement], then zeros.
[[nodiscard]] Digest64 vm_report_data(const Nonce16& nonce, std::string_view vm_id, const Digest32& measurement);

/// The VMs of one machine. All state is in memory, and bounded. One thread at a time.
class Vms {
 public:
  static constexpr std::size_t kMax = 32;
  static constexpr std::size_t kMaxPages = 128;  // of one VM, beside those of its launch
  static constexpr std::size_t kMaxPageBytes = 8192;
  static constexpr std::uint64_t kMaxPageId = 0xFFFFFFFF;

  /// Everything that is given outlives this.
  Vms(Machine& machine, EventLog& events, log::Logger& logger, const Clock& clock)
      : machine_{machine}, events_{events}, logger_{logger}, clock_{clock} {}

  [[nodiscard]] std::vector<const Vm*> all() const;
  /// `not_found`.
  [[nodiscard]] Result<Vm*> find(std::string_view id);
  /// Launched whole unless it is to be stepped. `conflict` when there are `kMax`.
  [[nodiscard]] Result<Vm*> launch(std::string_view owner, bool step);
  [[nodiscard]] Result<Stepped> step(std::string_view id);
  [[nodiscard]] Result<Vm*> stop(std::string_view id);
  [[nodiscard]] Result<void> remove(std::string_view id);

  /// `contents`: 1 to `kMaxPageBytes` bytes. `owner`: who says to own the VM; needed to overwrite a page. `not_found`,
  /// `permission_denied`, `conflict`.
  [[nodiscard]] Result<const VmPage*> encrypt(std::string_view id, std::uint64_t page,
                                              const std::optional<std::string>& owner, ByteView contents);
  /// The page as it lies in memory, or as a host gives it back (`given`). `permission_denied` to others than its owner,
  /// `decryption_failed`.
  [[nodiscard]] Result<crypto::SecretBytes> decrypt(std::string_view id, std::uint64_t page, std::string_view owner,
                                                    const std::optional<SealedPage>& given);
  [[nodiscard]] Result<VmReport> attest(std::string_view id, const std::optional<Nonce16>& nonce);
  /// Whose page of memory it is; empty for nobody's.
  [[nodiscard]] std::string owner_of(std::uint32_t asid) const;

 private:
  void plan_launch(Vm& vm);
  [[nodiscard]] Result<codec::json::Object> launch_page(Vm& vm, measure::SnpPageType type, std::uint64_t gpa,
                                                        ByteView contents);
  [[nodiscard]] std::optional<std::uint64_t> free_page() const;
  [[nodiscard]] Result<std::uint64_t> give_page(Vm& vm, std::uint64_t gpa);
  void take_page(const Vm& vm, std::uint64_t spa);
  [[nodiscard]] Result<Vm*> running(std::string_view id);
  [[nodiscard]] Result<crypto::Secret<32>> page_key(const Vm& vm, std::uint64_t page) const;
  void release(Vm& vm);

  Machine& machine_;
  EventLog& events_;
  log::Logger& logger_;
  const Clock& clock_;
  std::map<std::string, std::unique_ptr<Vm>, std::less<>> vms_;
  std::uint64_t launched_ = 0;  // ever
};

}  // namespace cloister::lab_service
