#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/lab_sgx/status.hpp"

/// LAB ONLY - NOT HARDWARE. EGETKEY (Intel SDM vol. 3D, EGETKEY, KEYREQUEST, "Key Dependencies"). Silicon's derivation is
/// not public; which values go into a key, and who may have it, is, and is the same here.
namespace cloister::lab_sgx {

using Key = crypto::Secret<16>;
using CpuSvn = ByteArray<16>;

enum class KeyName : std::uint16_t { einittoken = 0, provision = 1, provision_seal = 2, report = 3, seal = 4 };

namespace key_policy {
inline constexpr std::uint16_t kMrEnclave = 1;
inline constexpr std::uint16_t kMrSigner = 2;
inline constexpr std::uint16_t kNoIsvProdId = 4;  // this and the following need ATTRIBUTES.KSS
inline constexpr std::uint16_t kConfigId = 8;
inline constexpr std::uint16_t kIsvFamilyId = 0x10;
inline constexpr std::uint16_t kIsvExtProdId = 0x20;
}  // namespace key_policy

inline constexpr std::size_t kKeyRequestSize = 512;
struct KeyRequest {
  KeyName name = KeyName::seal;
  std::uint16_t policy = 0;
  std::uint16_t isv_svn = 0;
  CpuSvn cpu_svn{};
  ByteArray<16> attribute_mask{};
  ByteArray<32> key_id{};
  std::uint32_t misc_mask = 0;
  std::uint16_t config_svn = 0;
  friend bool operator==(const KeyRequest&, const KeyRequest&) = default;
};
/// #GP unless there are 512 bytes with zeros where the structure is reserved; SGX_INVALID_KEYNAME for other names.
[[nodiscard]] Answer<KeyRequest> parse_key_request(ByteView bytes);
[[nodiscard]] ByteArray<kKeyRequestSize> encode_key_request(const KeyRequest& request);

/// Who asks, as SECS and CPU know it.
struct Identity {
  ByteArray<16> attributes{};
  std::uint32_t misc_select = 0;
  Digest32 mr_enclave{};
  Digest32 mr_signer{};
  std::uint16_t isv_prod_id = 0;
  std::uint16_t isv_svn = 0;
  std::uint16_t config_svn = 0;
  ByteArray<64> config_id{};
  ByteArray<16> isv_family_id{};
  ByteArray<16> isv_ext_prod_id{};
  [[nodiscard]] std::uint64_t flags() const noexcept;
};

/// The CPU's root of keys at its security version. Each component of CPUSVN is a chain of hashes: from the value of a
/// version those of all older ones follow, and of no newer one; a machine keeps the values of its own versions only.
/// Thread-safe: immutable after construction.
class KeyLadder {
 public:
  KeyLadder(const crypto::Secret<32>& root, const CpuSvn& svn);
  [[nodiscard]] const CpuSvn& svn() const noexcept { return svn_; }
  /// The key derivation key at `svn`; nothing when a component is newer than the machine's.
  [[nodiscard]] std::optional<Key> at(const CpuSvn& svn) const;

 private:
  [[nodiscard]] Key derive(const CpuSvn& svn) const;
  CpuSvn svn_;
  std::vector<crypto::Secret<32>> steps_;
  Key present_;  // at `svn_`, which is what nearly everybody asks for
};

/// EGETKEY of an initialised enclave. Its gates: policy bits that need KSS (#GP), PROVISIONKEY and EINITTOKEN_KEY
/// (SGX_INVALID_ATTRIBUTE), CPUSVN and ISVSVN (CONFIGSVN, too) no newer than its own. INIT and DEBUG go into every key.
[[nodiscard]] Answer<Key> egetkey(const KeyLadder& ladder, const ByteArray<16>& owner_epoch, const Identity& identity,
                                  const KeyRequest& request);
/// The report key of the enclave that a TARGETINFO names: what EREPORT uses, and no enclave but the target can ask for.
[[nodiscard]] Key report_key(const KeyLadder& ladder, const ByteArray<16>& owner_epoch, const Identity& target,
                             const ByteArray<32>& key_id);

}  // namespace cloister::lab_sgx
