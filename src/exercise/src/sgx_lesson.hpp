#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/random.hpp"
#include "cloister/exercise/event_log.hpp"
#include "cloister/lab_sgx/sealing.hpp"

/// The SGX machine of the exercises: always the same one, so that keys, measurements and sealed data are the same bytes
/// for everybody, and stand in the texts.
namespace cloister::exercise::sgx {

/// The machine's secret, from which every key comes.
[[nodiscard]] crypto::Secret<32> root();
inline constexpr lab_sgx::CpuSvn kCpuSvn{3, 3, 2, 2, 4, 1, 0, 5};

/// "vendor", whose enclaves these are, or "mallory". Others asserted.
[[nodiscard]] const crypto::RsaPrivateKey& signer(std::string_view who);

/// The same bytes each time: for lessons only.
class LessonRandom final : public Random {
 public:
  explicit LessonRandom(std::string_view label) : label_{label} {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::string label_;
  std::uint64_t counter_ = 0;
};

/// A page that a loader adds.
struct PlanPage {
  std::string name;
  std::uint64_t offset = 0;
  measure::SecInfo secinfo;
  lab_sgx::PageBytes contents{};
  bool measured = true;
};
/// What a loader does: ECREATE, then EADD (and EEXTEND) of each page.
struct Plan {
  std::uint64_t base = 0x10000;
  std::uint64_t size = 0x10000;
  ByteArray<16> attributes{evidence::sgx_flag::kMode64, 0, 0, 0, 0, 0, 0, 0, 3};
  std::vector<PlanPage> pages;
};
/// A TCS at offset 0, a page of code at 0x1000 that begins with these bytes, an SSA frame at 0x4000.
[[nodiscard]] Plan plan_of(std::string_view code);
[[nodiscard]] lab_sgx::PageBytes page_of(ByteView beginning);
[[nodiscard]] Digest32 mrenclave_of(const Plan& plan);

struct Vouch {
  std::string_view who = "vendor";
  std::uint16_t prod_id = 1;
  std::uint16_t svn = 1;
  std::uint8_t flags_mask = 0xFF;  // first byte of ATTRIBUTEMASK
};
/// A SIGSTRUCT for exactly this plan.
[[nodiscard]] evidence::Sigstruct sigstruct_for(const Plan& plan, const Vouch& vouch);

/// Plays the plan into the EPC, SECS at `first`, the pages after it, with an event for each leaf. EINIT's code.
lab_sgx::Code load(lab_sgx::Cpu& cpu, EventLog& log, const Plan& plan, lab_sgx::EpcIndex first, const evidence::Sigstruct& sigstruct);

/// "success", "SGX_MAC_COMPARE_FAIL (9)", "#GP".
[[nodiscard]] std::string outcome(lab_sgx::Code code);
/// The first four bytes in hex.
[[nodiscard]] std::string brief(ByteView bytes);
/// What tells keys apart without showing them: the first four bytes of their SHA-256.
[[nodiscard]] std::string fingerprint(const lab_sgx::Key& key);

/// A sealed blob with every field under its name, to be edited.
[[nodiscard]] std::string sealed_text(std::string_view what, ByteView blob);
/// UNSEAL as the enclave on `processor` does it: an event for the parse, EGETKEY and the decryption together.
void unseal(const lab_sgx::Cpu& cpu, unsigned processor, EventLog& log, codec::json::Object with, ByteView blob,
            const std::optional<lab_sgx::SealedVersion>& current);

}  // namespace cloister::exercise::sgx
