#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "cloister/evidence/sgx_report.hpp"
#include "cloister/lab_sgx/keys.hpp"
#include "cloister/lab_sgx/status.hpp"
#include "cloister/measure/sgx.hpp"

/// LAB ONLY - NOT HARDWARE. The enclave page cache, its map, and the instructions that change them (Intel SDM vol. 3D,
/// "SGX Instruction References"). Not modelled: paging of a SECS or VA page, registers (an SSA frame must be there, nothing is
/// written into it), launch tokens, CET, shadow stacks.
namespace cloister::lab_sgx {

using EpcIndex = std::uint32_t;  // the number of a page in the EPC
using PageBytes = ByteArray<measure::kSgxPageSize>;

/// An entry of the EPCM: who owns the page, and what may be done with it. `secs` and `address` are of REG and TCS pages.
struct EpcmEntry {
  bool valid = false;
  measure::SecInfo secinfo;
  EpcIndex secs = 0;
  std::uint64_t address = 0;  // ENCLAVEADDRESS
  bool blocked = false;
  bool pending = false;     // EAUG, before EACCEPT
  bool modified = false;    // EMODT, before EACCEPT
  bool restricted = false;  // PR: EMODPR, before EACCEPT
  std::uint64_t epoch = 0;  // of the EBLOCK, EMODPR or EMODT: who entered until then may hold an old translation
};

/// SECINFO as EACCEPT takes it: what the enclave expects of the entry, all of it.
struct AcceptInfo {
  measure::SecInfo secinfo;
  bool pending = false;
  bool modified = false;
  bool restricted = false;
  /// After EAUG.
  [[nodiscard]] static AcceptInfo augmented() { return {.secinfo = measure::SecInfo::reg(true, true, false), .pending = true}; }
};

/// What a TCS page says (SDM vol. 3D, "TCS"); the CPU keeps CSSA in it.
struct TcsInit {
  std::uint64_t ossa = 0;   // of the first SSA frame, from the enclave's base
  std::uint32_t nssa = 1;   // frames
  std::uint64_t oentry = 0;
};
[[nodiscard]] PageBytes tcs_page(const TcsInit& init);

/// What ECREATE takes of a SECS.
struct SecsInit {
  std::uint64_t base = 0;  // a multiple of the size
  std::uint64_t size = 0;
  std::uint32_t ssa_frame_size = 1;
  std::uint32_t misc_select = 0;
  ByteArray<16> attributes{evidence::sgx_flag::kMode64, 0, 0, 0, 0, 0, 0, 0, 3};
  ByteArray<64> config_id{};
  std::uint16_t config_svn = 0;
};

inline constexpr std::size_t kTargetInfoSize = 512;
/// The enclave that a report is for.
struct TargetInfo {
  Digest32 mr_enclave{};
  ByteArray<16> attributes{};
  std::uint16_t config_svn = 0;
  std::uint32_t misc_select = 0;
  ByteArray<64> config_id{};
};
[[nodiscard]] ByteArray<kTargetInfoSize> encode_target_info(const TargetInfo& target);
/// #GP unless there are 512 bytes with zeros where the structure is reserved.
[[nodiscard]] Answer<TargetInfo> parse_target_info(ByteView bytes);

/// REPORT: body, KEYID, MAC (432 bytes).
struct Report {
  evidence::SgxReport body;
  ByteArray<32> key_id{};
  ByteArray<16> mac{};
};

/// A page as EWB leaves it in ordinary memory. Its version stays behind in a slot of a VA page.
struct EvictedPage {
  std::uint64_t enclave_id = 0;
  std::uint64_t address = 0;
  measure::SecInfo secinfo;
  bool pending = false;
  bool modified = false;
  bool restricted = false;
  Bytes sealed;  // the page under the paging key, and its tag
};

/// One package: EPC, keys, logical processors. Each method is the leaf of its name; one that does not succeed changes
/// nothing. One thread at a time.
class Cpu {
 public:
  static constexpr unsigned kProcessors = 4;
  static constexpr unsigned kVaSlots = 512;
  struct Options {
    CpuSvn cpu_svn{};
    Digest32 launch_signer{};         // IA32_SGXLEPUBKEYHASH: whose enclaves EINIT starts; zero: anybody's (it is rewritten
                                      // before each EINIT, as operating systems do with flexible launch control)
    ByteArray<16> owner_epoch{};
    EpcIndex pages = 1024;
  };
  Cpu(const crypto::Secret<32>& root, const Options& options);

  // --- ENCLS ---
  Code ecreate(EpcIndex at, const SecsInit& init);
  Code eadd(EpcIndex at, EpcIndex secs, std::uint64_t address, const measure::SecInfo& secinfo, measure::SgxPageView contents);
  /// `offset` of the 256 bytes in the page.
  Code eextend(EpcIndex page, std::size_t offset);
  /// A first EINIT whose signature holds ends the measurement: it may be repeated with another SIGSTRUCT, but no page is
  /// added any more (hardware would take more pages after a failure).
  Code einit(EpcIndex secs, ByteView sigstruct);
  Code eremove(EpcIndex page);
  Code eaug(EpcIndex at, EpcIndex secs, std::uint64_t address);
  Code epa(EpcIndex at);
  Code eblock(EpcIndex page);
  Code etrack(EpcIndex secs);
  Answer<EvictedPage> ewb(EpcIndex page, EpcIndex va, unsigned slot);
  Code eldu(EpcIndex at, const EvictedPage& page, EpcIndex secs, EpcIndex va, unsigned slot);
  /// As ELDU; the page is blocked at once, to be evicted again.
  Code eldb(EpcIndex at, const EvictedPage& page, EpcIndex secs, EpcIndex va, unsigned slot);
  /// Takes rights away from a page: those that it has and `rights` does not. In force at once; the enclave's EACCEPT
  /// makes sure that no processor uses the old ones.
  Code emodpr(EpcIndex page, const measure::SecInfo& rights);
  /// REG to TCS, REG or TCS to TRIM: in force with EACCEPT.
  Code emodt(EpcIndex page, measure::SgxPageType type);
  /// 8 bytes of a page of a debug enclave.
  [[nodiscard]] Answer<ByteArray<8>> edbgrd(EpcIndex page, std::size_t offset) const;
  Code edbgwr(EpcIndex page, std::size_t offset, const ByteArray<8>& value);

  // --- ENCLU, on a logical processor ---
  /// Needs a free SSA frame: #GP when CSSA has reached NSSA, #PF when the frame's pages are not there to be written.
  Code eenter(unsigned processor, EpcIndex tcs);
  Code eexit(unsigned processor);
  /// Not an instruction: an interrupt or exception takes the processor out of the enclave and fills an SSA frame.
  Code aex(unsigned processor);
  /// Goes on from the last SSA frame; #GP when none is filled.
  Code eresume(unsigned processor, EpcIndex tcs);
  [[nodiscard]] Answer<Report> ereport(unsigned processor, ByteView target_info, const Digest64& data) const;
  [[nodiscard]] Answer<Key> egetkey(unsigned processor, ByteView key_request) const;
  /// The page's change becomes the enclave's will. SGX_PAGE_ATTRIBUTES_MISMATCH unless everything is as it expects;
  /// SGX_NOT_TRACKED while a processor is inside that entered before the change (EAUG changes nothing that one could hold).
  Code eaccept(unsigned processor, std::uint64_t address, const AcceptInfo& expected);
  /// The same of a page that EAUG added, with the contents of another and these rights.
  Code eacceptcopy(unsigned processor, std::uint64_t address, std::uint64_t source, const measure::SecInfo& secinfo);
  /// Gives the enclave's own page more rights; the host is not asked.
  Code emodpe(unsigned processor, std::uint64_t address, const measure::SecInfo& rights);
  /// What the enclave's own loads and stores do: within one page, #PF without the right.
  [[nodiscard]] Answer<Bytes> read(unsigned processor, std::uint64_t address, std::size_t size) const;
  Code write(unsigned processor, std::uint64_t address, ByteView bytes);

  // --- what a debugger of the lab sees ---
  [[nodiscard]] const EpcmEntry& epcm(EpcIndex page) const { return pages_.at(page).entry; }
  [[nodiscard]] EpcIndex pages() const noexcept { return static_cast<EpcIndex>(pages_.size()); }
  /// Of an initialised enclave; null otherwise.
  [[nodiscard]] const Identity* identity(EpcIndex secs) const;
  /// Of the enclave that the processor is in; null outside.
  [[nodiscard]] const Identity* identity_on(unsigned processor) const;
  [[nodiscard]] const CpuSvn& cpu_svn() const noexcept { return ladder_.svn(); }

 private:
  struct Secs {
    SecsInit init;
    Identity identity;
    std::uint64_t id = 0;
    std::optional<measure::EnclaveMeasurement> measurement;  // until the first EINIT
    bool initialized = false;
    std::uint64_t epoch = 0;
  };
  using VersionArray = std::array<std::uint64_t, kVaSlots>;
  using Content = std::variant<std::monostate, std::unique_ptr<Secs>, std::unique_ptr<PageBytes>, std::unique_ptr<VersionArray>>;
  struct Page {
    EpcmEntry entry;
    Content content;
  };
  struct Processor {
    bool inside = false;
    EpcIndex secs = 0;
    EpcIndex tcs = 0;
    std::uint64_t epoch = 0;
  };

  [[nodiscard]] bool free(EpcIndex at) const;
  [[nodiscard]] Secs* secs_at(EpcIndex at) const;
  [[nodiscard]] PageBytes* bytes_at(EpcIndex at) const;  // of a REG or TCS page
  [[nodiscard]] std::uint64_t* va_slot(EpcIndex va, unsigned slot) const;
  [[nodiscard]] const Secs* inside(unsigned processor) const;
  [[nodiscard]] bool has_children(EpcIndex secs) const;
  [[nodiscard]] bool running(EpcIndex secs) const;
  [[nodiscard]] std::optional<EpcIndex> find(EpcIndex secs, std::uint64_t page_address) const;
  [[nodiscard]] std::optional<EpcIndex> accessible(unsigned processor, std::uint64_t address, std::size_t size, bool write) const;
  [[nodiscard]] Code debuggable(EpcIndex page, std::size_t offset) const;
  [[nodiscard]] bool tracked(const EpcmEntry& entry) const;
  Code load_back(EpcIndex at, const EvictedPage& page, EpcIndex secs, EpcIndex va, unsigned slot, bool blocked);
  [[nodiscard]] bool frame_ready(const EpcmEntry& tcs, std::uint32_t frame) const;
  Code enter(unsigned processor, EpcIndex tcs, bool resume);

  KeyLadder ladder_;
  Key paging_key_;
  Options options_;
  std::vector<Page> pages_;
  std::array<Processor, kProcessors> processors_{};
  std::uint64_t next_enclave_ = 1;
  std::uint64_t next_version_ = 1;
};

/// Whether an enclave with this report key was given the report: CMAC over the body.
[[nodiscard]] bool report_holds(const Report& report, const Key& key);

}  // namespace cloister::lab_sgx
