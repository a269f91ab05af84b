#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <variant>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/crypto/rsa.hpp"
#include "cloister/evidence/sgx_sigstruct.hpp"

/// MRENCLAVE, the launch measurement of SGX, and the signature that goes with it (Intel SDM vol. 3D, ECREATE, EADD,
/// EEXTEND, EINIT). Base address, ATTRIBUTES, MISCSELECT and CONFIGID are not measured: SIGSTRUCT and reports have them.
namespace cloister::measure {

inline constexpr std::size_t kSgxPageSize = 4096;
inline constexpr std::size_t kSgxChunkSize = 256;
inline constexpr std::uint64_t kMaxEnclaveSize = std::uint64_t{1} << 36;  // bytes of address space

using SgxPageView = std::span<const std::uint8_t, kSgxPageSize>;
using SgxChunk = std::span<const std::uint8_t, kSgxChunkSize>;

enum class SgxPageType : std::uint8_t { secs = 0, tcs = 1, reg = 2, va = 3, trim = 4 };

/// SECINFO.FLAGS: R 1, W 2, X 4, the page type from bit 8.
struct SecInfo {
  static constexpr std::uint64_t kRead = 1;
  static constexpr std::uint64_t kWrite = 2;
  static constexpr std::uint64_t kExecute = 4;
  SgxPageType type = SgxPageType::reg;
  bool read = false;
  bool write = false;
  bool execute = false;

  [[nodiscard]] static constexpr SecInfo reg(bool r, bool w, bool x) { return {SgxPageType::reg, r, w, x}; }
  [[nodiscard]] static constexpr SecInfo tcs() { return {SgxPageType::tcs, false, false, false}; }
  [[nodiscard]] std::uint64_t flags() const noexcept;
  /// `malformed` for bits without a meaning, and for pages that EADD does not take: types but TCS and REG, a TCS with
  /// permissions, a page to write and not to read.
  [[nodiscard]] static Result<SecInfo> for_eadd(std::uint64_t flags);
  friend constexpr bool operator==(const SecInfo&, const SecInfo&) = default;
};

/// A running MRENCLAVE: SHA-256 over a 64-byte record for each operation. The order of the calls is part of it.
/// One thread at a time; movable.
class EnclaveMeasurement {
 public:
  /// ECREATE. `ssa_frame_size` in pages, `size` in bytes.
  EnclaveMeasurement(std::uint32_t ssa_frame_size, std::uint64_t size);
  /// EADD: offset from the base, and SECINFO. Contents are not covered by it.
  void add(std::uint64_t offset, const SecInfo& secinfo);
  /// EEXTEND: the chunk's offset from the base, and its 256 bytes.
  void extend(std::uint64_t offset, SgxChunk chunk);
  /// EINIT. The object may only be destroyed or assigned afterwards.
  [[nodiscard]] Digest32 finish() { return hash_.finish(); }

 private:
  crypto::Sha256 hash_;
};

/// A page of a page list. `measured`: EEXTEND of its 16 chunks follows EADD.
struct EnclavePage {
  std::uint64_t offset = 0;
  SecInfo secinfo;
  SgxPageView contents;
  bool measured = true;
};
/// Of pages in the order in which a loader adds them. `invalid_argument` for what ECREATE and EADD refuse: a size that is
/// no power of two from 8 KiB to `kMaxEnclaveSize`, no SSA frame, a page outside, unaligned or there already.
[[nodiscard]] Result<Digest32> mrenclave_of_pages(std::uint32_t ssa_frame_size, std::uint64_t size,
                                                  std::span<const EnclavePage> pages);

/// Records of an .sgxs stream (the interchange format of the EDP tools): ECREATE, EADD and EEXTEND as they are hashed,
/// 256 bytes of data after EEXTEND and after UNMEASRD, which is loaded and not hashed.
struct SgxsCreate {
  std::uint32_t ssa_frame_size;
  std::uint64_t size;
};
struct SgxsAdd {
  std::uint64_t offset;
  SecInfo secinfo;
};
struct SgxsChunk {
  std::uint64_t offset;
  bool measured;
  SgxChunk data;  // a view into the stream
};
using SgxsRecord = std::variant<SgxsCreate, SgxsAdd, SgxsChunk>;
using SgxsSink = std::function<Result<void>(const SgxsRecord&)>;

inline constexpr std::size_t kMaxSgxsSize = std::size_t{1} << 30;

/// The records of a canonical stream: one ECREATE first, pages ascending, each followed by chunks of its own, ascending.
/// `malformed` for records that are none, or have a value that ECREATE or EADD refuses, or bits where zeros belong;
/// `truncated`; `not_canonical` for another order; `unsupported` for a stream without a size (UNSIZED); `limit_exceeded`.
/// Also what `sink` refuses; records before the one at fault have been given to it.
[[nodiscard]] Result<void> for_each_sgxs_record(ByteView stream, const SgxsSink& sink);
[[nodiscard]] Result<Digest32> mrenclave_of_sgxs(ByteView stream);

/// SHA-256 of the modulus as SIGSTRUCT stores it.
[[nodiscard]] Digest32 mrsigner(const evidence::Sigstruct& sigstruct);
/// What EINIT computes: `signature_invalid` unless the signature is RSA-3072's with exponent 3 over the signed part
/// (PKCS#1 v1.5, SHA-256), q1 = floor(s^2 / n) and q2 = floor((s^2 mod n) * s / n).
[[nodiscard]] Result<void> verify_sigstruct(const evidence::Sigstruct& sigstruct);
/// Sets modulus, signature, q1 and q2. The key has 3072 bits and exponent 3 (asserted).
void sign_sigstruct(evidence::Sigstruct& sigstruct, const crypto::RsaPrivateKey& key);

}  // namespace cloister::measure
