#pragma once

#include "cloister/lab_snp/firmware.hpp"

namespace cloister::lab_snp {

/// What a context page holds (AMD 56860, section 4.1, Table "Guest Context").
struct Firmware::Context {
  MemoryKey key;   // VEK
  crypto::Secret<32> vmrk;
  Vmpcks vmpcks;
  GuestState state = GuestState::init;
  std::uint32_t asid = 0;
  std::uint64_t policy = 0;
  ByteArray<16> gosvw{};
  measure::SnpLaunchDigest digest{};
  std::array<MessageSequence, kVmpcks> messages{};
  Digest32 report_id{};
  evidence::SnpTcbVersion launch_tcb{};
  std::uint64_t launch_mitigations = 0;
  // since SNP_LAUNCH_FINISH
  std::optional<IdBlock> id_block{};
  bool author_key_enabled = false;
  bool vcek_disabled = false;
  Digest48 id_key_digest{};
  Digest48 author_key_digest{};
  Digest32 host_data{};

  static Context create(Random& random) {
    const auto secret = [&random] { return crypto::Secret<32>::random(random); };
    auto key = secret();
    auto vmrk = secret();
    Vmpcks vmpcks{secret(), secret(), secret(), secret()};
    Context out{.key = std::move(key), .vmrk = std::move(vmrk), .vmpcks = std::move(vmpcks)};
    random.fill(out.report_id);
    return out;
  }
};

}  // namespace cloister::lab_snp
