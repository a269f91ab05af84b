#include "cloister/lab_sgx/keys.hpp"

#include <algorithm>

#include <string>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/aes.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/sgx_report.hpp"

namespace cloister::lab_sgx {
namespace {

namespace flag = evidence::sgx_flag;
using namespace key_policy;

constexpr std::uint16_t kKssBits = kNoIsvProdId | kConfigId | kIsvFamilyId | kIsvExtProdId;
constexpr std::uint16_t kKnownBits = kMrEnclave | kMrSigner | kKssBits;

ByteArray<16> masked(const ByteArray<16>& value, const ByteArray<16>& mask) {
  auto out = value;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(out[i] & mask[i]);
  return out;
}

/// INIT and DEBUG cannot be masked away: a debug enclave has keys of its own.
ByteArray<16> with_required(ByteArray<16> mask) {
  mask[0] = static_cast<std::uint8_t>(mask[0] | flag::kInit | flag::kDebug);
  return mask;
}

/// KEYDEPENDENCIES: every value that a key may depend on, zero where it does not.
struct Dependencies {
  KeyName name{};
  std::uint16_t policy = 0;
  ByteArray<16> attributes{};
  ByteArray<16> attribute_mask{};
  std::uint32_t misc_select = 0;
  std::uint32_t misc_mask = 0;
  ByteArray<16> owner_epoch{};
  CpuSvn cpu_svn{};
  std::uint16_t isv_svn = 0;
  std::uint16_t isv_prod_id = 0;
  std::uint16_t config_svn = 0;
  ByteArray<64> config_id{};
  ByteArray<16> isv_family_id{};
  ByteArray<16> isv_ext_prod_id{};
  Digest32 mr_enclave{};
  Digest32 mr_signer{};
  ByteArray<32> key_id{};

  [[nodiscard]] Bytes encode() const {
    codec::Writer out;
    out.u16le(static_cast<std::uint16_t>(name));
    out.u16le(policy);
    out.raw(attributes);
    out.raw(attribute_mask);
    out.u32le(misc_select);
    out.u32le(misc_mask);
    out.raw(owner_epoch);
    out.raw(cpu_svn);
    out.u16le(isv_svn);
    out.u16le(isv_prod_id);
    out.u16le(config_svn);
    out.raw(config_id);
    out.raw(isv_family_id);
    out.raw(isv_ext_prod_id);
    out.raw(mr_enclave);
    out.raw(mr_signer);
    out.raw(key_id);
    return std::move(out).take();
  }
};

Key derive(const Key& kdk, const Dependencies& dependencies) {
  return crypto::aes128_cmac(kdk.reveal(), dependencies.encode());
}

/// What the keys other than REPORT have in common: the masked attributes, and the versions that were asked for.
Dependencies requested(const Identity& identity, const KeyRequest& request) {
  Dependencies out;
  out.name = request.name;
  out.attribute_mask = with_required(request.attribute_mask);
  out.attributes = masked(identity.attributes, out.attribute_mask);
  out.misc_select = identity.misc_select & request.misc_mask;
  out.misc_mask = ~request.misc_mask;
  out.cpu_svn = request.cpu_svn;
  out.isv_svn = request.isv_svn;
  out.isv_prod_id = identity.isv_prod_id;
  return out;
}

Dependencies seal_dependencies(const Identity& identity, const KeyRequest& request) {
  const auto has = [&](std::uint16_t bit) { return (request.policy & bit) != 0; };
  auto out = requested(identity, request);
  out.policy = request.policy;
  if (has(kNoIsvProdId)) out.isv_prod_id = 0;
  if (has(kConfigId)) {
    out.config_id = identity.config_id;
    out.config_svn = request.config_svn;
  }
  if (has(kIsvFamilyId)) out.isv_family_id = identity.isv_family_id;
  if (has(kIsvExtProdId)) out.isv_ext_prod_id = identity.isv_ext_prod_id;
  if (has(kMrEnclave)) out.mr_enclave = identity.mr_enclave;
  if (has(kMrSigner)) out.mr_signer = identity.mr_signer;
  return out;
}

}  // namespace

std::uint64_t Identity::flags() const noexcept {
  return *codec::Reader{attributes}.u64le();
}

Answer<KeyRequest> parse_key_request(ByteView bytes) {
  if (bytes.size() != kKeyRequestSize) return Code::general_protection;
  codec::Reader in{bytes};
  KeyRequest out;
  const auto name = *in.u16le();
  out.policy = *in.u16le();
  out.isv_svn = *in.u16le();
  const auto reserved = *in.u16le();
  out.cpu_svn = *in.array<16>();
  out.attribute_mask = *in.array<16>();
  out.key_id = *in.array<32>();
  out.misc_mask = *in.u32le();
  out.config_svn = *in.u16le();
  if (reserved != 0 || !all_zero(in.rest()) || (out.policy & ~kKnownBits) != 0) return Code::general_protection;
  if (name > static_cast<std::uint16_t>(KeyName::seal)) return Code::invalid_keyname;
  out.name = static_cast<KeyName>(name);
  return out;
}

ByteArray<kKeyRequestSize> encode_key_request(const KeyRequest& request) {
  codec::Writer out;
  out.u16le(static_cast<std::uint16_t>(request.name));
  out.u16le(request.policy);
  out.u16le(request.isv_svn);
  out.u16le(0);
  out.raw(request.cpu_svn);
  out.raw(request.attribute_mask);
  out.raw(request.key_id);
  out.u32le(request.misc_mask);
  out.u16le(request.config_svn);
  out.zeros(kKeyRequestSize - out.size());
  return to_array<kKeyRequestSize>(std::move(out).take());
}

namespace {

/// Each component's value at the machine's version.
std::vector<crypto::Secret<32>> steps_to(const crypto::Secret<32>& root, const CpuSvn& svn) {
  std::vector<crypto::Secret<32>> out;
  for (std::size_t i = 0; i < svn.size(); ++i) {
    auto step = crypto::hkdf32({}, root.reveal(), as_bytes("cloister/lab/1/CPUSVN component " + std::to_string(i)));
    for (unsigned version = 255; version > svn[i]; --version) step = crypto::Secret<32>{crypto::sha256(step.reveal())};
    out.push_back(std::move(step));
  }
  return out;
}

}  // namespace

KeyLadder::KeyLadder(const crypto::Secret<32>& root, const CpuSvn& svn)
    : svn_{svn}, steps_{steps_to(root, svn)}, present_{derive(svn)} {}

std::optional<Key> KeyLadder::at(const CpuSvn& svn) const {
  if (svn == svn_) return present_.clone();
  for (std::size_t i = 0; i < svn.size(); ++i) {
    if (svn[i] > svn_[i]) return std::nullopt;
  }
  return derive(svn);
}

Key KeyLadder::derive(const CpuSvn& svn) const {
  crypto::SecretBytes steps{32 * svn.size()};
  for (std::size_t i = 0; i < svn.size(); ++i) {
    auto step = steps_[i].clone();
    for (unsigned version = svn_[i]; version > svn[i]; --version) step = crypto::Secret<32>{crypto::sha256(step.reveal())};
    std::ranges::copy(step.reveal(), steps.writable().subspan(32 * i).begin());
  }
  const auto derived = crypto::hkdf({}, steps.reveal(), as_bytes("cloister/lab/1/SGX key derivation key"), 16);
  return Key::copy_of(derived.reveal());
}

Answer<Key> egetkey(const KeyLadder& ladder, const ByteArray<16>& owner_epoch, const Identity& identity,
                    const KeyRequest& request) {
  const auto flags = identity.flags();
  if ((flags & flag::kInit) == 0 || (request.policy & ~kKnownBits) != 0) return Code::general_protection;
  if ((request.policy & kKssBits) != 0 && (flags & flag::kKss) == 0) return Code::general_protection;
  if (request.name == KeyName::report) return report_key(ladder, owner_epoch, identity, request.key_id);
  if (request.name == KeyName::einittoken && (flags & flag::kEinitTokenKey) == 0) return Code::invalid_attribute;
  const bool provisioning = request.name == KeyName::provision || request.name == KeyName::provision_seal;
  if (provisioning && (flags & flag::kProvisionKey) == 0) return Code::invalid_attribute;
  const auto kdk = ladder.at(request.cpu_svn);
  if (!kdk) return Code::invalid_cpusvn;
  if (request.isv_svn > identity.isv_svn || request.config_svn > identity.config_svn) return Code::invalid_isvsvn;
  switch (request.name) {
    case KeyName::seal: {
      auto dependencies = seal_dependencies(identity, request);
      dependencies.owner_epoch = owner_epoch;
      dependencies.key_id = request.key_id;
      return derive(*kdk, dependencies);
    }
    case KeyName::provision_seal: {
      auto forced = request;
      forced.policy = static_cast<std::uint16_t>(request.policy | kMrSigner);
      return derive(*kdk, seal_dependencies(identity, forced));
    }
    case KeyName::einittoken: {
      auto dependencies = requested(identity, request);
      dependencies.owner_epoch = owner_epoch;
      dependencies.mr_signer = identity.mr_signer;
      dependencies.key_id = request.key_id;
      return derive(*kdk, dependencies);
    }
    case KeyName::provision: {
      auto dependencies = requested(identity, request);
      dependencies.mr_signer = identity.mr_signer;
      return derive(*kdk, dependencies);
    }
    case KeyName::report: break;  // above
  }
  return Code::invalid_keyname;
}

Key report_key(const KeyLadder& ladder, const ByteArray<16>& owner_epoch, const Identity& target, const ByteArray<32>& key_id) {
  Dependencies dependencies;
  dependencies.name = KeyName::report;
  dependencies.attributes = target.attributes;
  dependencies.misc_select = target.misc_select;
  dependencies.owner_epoch = owner_epoch;
  dependencies.cpu_svn = ladder.svn();
  dependencies.config_svn = target.config_svn;
  dependencies.config_id = target.config_id;
  dependencies.mr_enclave = target.mr_enclave;
  dependencies.key_id = key_id;
  return derive(*ladder.at(ladder.svn()), dependencies);
}

}  // namespace cloister::lab_sgx
