#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/log.hpp"
#include "cloister/lab_service/enclaves.hpp"
#include "cloister/lab_service/page_cipher.hpp"
#include "cloister/measure/snp_launch.hpp"

namespace cloister::lab_service {

enum class VmState { launching, running, stopped };
[[nodiscard]] std::string_view to_string(VmState state) noexcept;

/// The virtual CPU of the lab's contract: nothing runs on it. What firmware starts is `Vm::entry`.
struct Vcpu {
  std::uint32_t id = 0;
  std::uint64_t rip = 0;
  std::uint64_t rsp = 0;
};

/// Where the virtual CPU begins, as the VMSA has it that was measured.
struct VmEntry {
  std::uint64_t cs_base = 0;
  std::uint64_t rip = 0;
  std::uint64_t sev_features = 0;
};

/// A page that firmware measured at launch, and the launch digest once it was.
struct LaunchedPage {
  measure::SnpPageType type = measure::SnpPageType::normal;
  std::uint64_t gpa = 0;
  std::uint64_t spa = 0;
  Digest48 digest{};
};

/// A page that was encrypted later. What it holds is in the guest's memory alone.
struct VmPage {
  std::uint64_t version = 0;  // how often it was written
  std::size_t size = 0;       // bytes
  Digest32 sealed{};          // SHA-256 of IV and ciphertext as the host was given them
  Digest32 mac{};
};

/// What the owner signed.
struct IdBlockGiven {
  ByteArray<lab_snp::kIdBlockSize> block{};
  ByteArray<lab_snp::kIdAuthSize> auth{};
  bool author_key = false;
};

/// How a VM is launched where somebody says so.
struct LaunchOptions {
  evidence::SnpProduct product = Machine::kProduct;  // Milan, Genoa or Turin: on which machine
  /// SNP_CONFIG with the launch: the TCB that the machine reports of every guest of its, from then on. Not above what
  /// it committed.
  std::optional<evidence::SnpTcb> reported_tcb{};
  std::uint64_t policy = evidence::snp_policy::kMustBeOne | evidence::snp_policy::kSmt;
  std::optional<IdBlockGiven> id_block{};
};

struct Vm {
  std::string id;
  std::string owner;
  VmState state = VmState::launching;
  UnixTime created{};
  LaunchOptions options;
  SnpMachine* machine = nullptr;  // outlives it
  std::uint32_t asid = 0;
  Vcpu vcpu;
  VmEntry entry;
  std::optional<lab_snp::HostedGuest> guest;    // from SNP_LAUNCH_START to its end
  std::optional<lab_snp::GuestDriver> driver;   // while it runs: with VMPCK0
  std::optional<crypto::Secret<32>> page_root;  // firmware's derived key, of which each page's is one; once needed
  std::optional<Digest48> launch_digest;        // once the launch is finished; then it never changes
  std::vector<LaunchedPage> launched;
  std::map<std::uint64_t, VmPage> pages;
  Plan plan;
};

/// What every VM of the lab is launched from: the firmware, with one virtual CPU of the product's, in QEMU's order.
[[nodiscard]] const Bytes& vm_firmware();
[[nodiscard]] measure::SnpLaunch vm_launch(evidence::SnpProduct product);

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

/// The page as the host is given it.
struct EncryptedPage {
  std::uint64_t version = 0;
  SealedPage sealed;
};

/// The VMs: guests of the machines with SEV-SNP, launched by their host's commands, which firmware judges. All state is
/// in memory, and bounded. One thread at a time.
class Vms {
 public:
  static constexpr std::size_t kMax = 32;
  static constexpr std::size_t kMaxPages = 128;  // of one VM, beside those of its launch
  static constexpr std::size_t kMaxPageBytes = 8192;
  static constexpr std::uint64_t kMaxPageId = 0xFFFFFFFF;

  /// Everything that is given outlives this, and nobody else has guests on the machines.
  Vms(Machine& machine, EventLog& events, log::Logger& logger, const Clock& clock)
      : machine_{machine}, events_{events}, logger_{logger}, clock_{clock} {}
  /// Ends every VM.
  ~Vms();
  Vms(const Vms&) = delete;
  Vms& operator=(const Vms&) = delete;

  [[nodiscard]] std::vector<const Vm*> all() const;
  /// `not_found`.
  [[nodiscard]] Result<Vm*> find(std::string_view id);
  /// Launched whole unless it is to be stepped. `conflict` when there are `kMax`, or no memory; `invalid_argument` with
  /// the member of the request for what firmware refuses: then there is no VM.
  [[nodiscard]] Result<Vm*> launch(std::string_view owner, bool step, const LaunchOptions& options = {});
  /// As `launch`; a VM whose step is refused is stopped.
  [[nodiscard]] Result<Stepped> step(std::string_view id);
  [[nodiscard]] Result<Vm*> stop(std::string_view id);
  [[nodiscard]] Result<void> remove(std::string_view id);

  /// The guest puts `contents` (1 to `kMaxPageBytes` bytes) into its memory, and gives the host a sealed copy. `owner`:
  /// who says to own the VM; needed to overwrite a page. `not_found`, `permission_denied`, `conflict`.
  [[nodiscard]] Result<EncryptedPage> encrypt(std::string_view id, std::uint64_t page,
                                              const std::optional<std::string>& owner, ByteView contents);
  /// The page out of the guest's memory, or the copy that a host gives back (`given`). `permission_denied` to others
  /// than its owner, `decryption_failed`.
  [[nodiscard]] Result<crypto::SecretBytes> decrypt(std::string_view id, std::uint64_t page, std::string_view owner,
                                                    const std::optional<SealedPage>& given);
  /// MSG_REPORT_REQ through the guest's driver.
  [[nodiscard]] Result<VmReport> attest(std::string_view id, const std::optional<Nonce16>& nonce);
  /// MSG_KEY_REQ through the guest's driver: what firmware says, and the key where it gives one.
  [[nodiscard]] Result<lab_snp::Answered<crypto::Secret<32>>> derived_key(std::string_view id,
                                                                          const lab_snp::KeyRequest& request);

  /// Whose page of a machine it is, by its RMP entry's ASID, or as page of firmware's; empty for nobody's.
  [[nodiscard]] std::string owner_of(evidence::SnpProduct product, std::uint32_t asid) const;
  [[nodiscard]] std::string owner_of_firmware_page(evidence::SnpProduct product, std::uint64_t spa) const;
  /// What firmware knows of the guest; nothing before SNP_LAUNCH_START and after the end.
  [[nodiscard]] static std::optional<lab_snp::GuestStatus> status_of(const Vm& vm);

 private:
  void plan_launch(Vm& vm);
  [[nodiscard]] Result<codec::json::Object> start_launch(Vm& vm);
  [[nodiscard]] Result<codec::json::Object> launch_page(Vm& vm, measure::SnpPageType type, std::uint64_t gpa,
                                                        ByteView contents);
  [[nodiscard]] Result<codec::json::Object> finish_launch(Vm& vm);
  [[nodiscard]] static Result<codec::json::Object> configure(const Vm& vm);
  [[nodiscard]] static Result<codec::json::Object> run(Vm& vm);
  [[nodiscard]] std::uint32_t free_asid(evidence::SnpProduct product) const;
  [[nodiscard]] Result<Vm*> running(std::string_view id);
  [[nodiscard]] Result<lab_snp::Answered<crypto::Secret<32>>> ask_for_key(Vm& vm, const lab_snp::KeyRequest& request);
  [[nodiscard]] Result<crypto::Secret<32>> page_key(Vm& vm, std::uint64_t page);
  [[nodiscard]] Result<void> give_memory(Vm& vm, std::uint64_t page, std::size_t count);
  static void store(const Vm& vm, std::uint64_t page, ByteView contents);
  [[nodiscard]] static Result<crypto::SecretBytes> load(const Vm& vm, std::uint64_t page, std::size_t size);
  void take_memory(Vm& vm, std::uint64_t gpa);
  void release(Vm& vm);

  Machine& machine_;
  EventLog& events_;
  log::Logger& logger_;
  const Clock& clock_;
  std::map<std::string, std::unique_ptr<Vm>, std::less<>> vms_;
  std::uint64_t launched_ = 0;  // ever
};

}  // namespace cloister::lab_service
