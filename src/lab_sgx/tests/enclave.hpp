#pragma once

#include "cloister/lab_sgx/cpu.hpp"

/// An enclave of four pages to try things on.
namespace cloister::lab_sgx::test {

inline constexpr std::uint64_t kBase = 0x10000;
inline constexpr std::uint64_t kSize = 0x10000;
inline constexpr EpcIndex kSecs = 0;
inline constexpr EpcIndex kTcs = 1;
inline constexpr EpcIndex kCode = 2;
inline constexpr EpcIndex kData = 3;
inline constexpr EpcIndex kSsa = 4;
inline constexpr std::uint64_t kSsaOffset = 0x7000;  // of the one frame that is there; the TCS has two

inline crypto::Secret<32> root(std::uint8_t first = 1) { return crypto::Secret<32>{ByteArray<32>{first}}; }

inline const crypto::RsaPrivateKey& signer(std::string_view who = "a") {
  static const auto a = crypto::RsaPrivateKey::derive_3072_e3(ByteArray<32>{1}, as_bytes("a"));
  static const auto b = crypto::RsaPrivateKey::derive_3072_e3(ByteArray<32>{1}, as_bytes("b"));
  return who == "a" ? a : b;
}

struct Build {
  std::uint64_t flags = evidence::sgx_flag::kMode64;
  std::uint8_t code = 0x90;
  std::string_view signer = "a";
  std::uint16_t prod_id = 1;
  std::uint16_t svn = 2;
  std::uint16_t config_svn = 0;
  ByteArray<64> config_id{};
  EpcIndex first = 0;  // where in the EPC
};

inline ByteArray<16> attributes(std::uint64_t flags) {
  ByteArray<16> out{static_cast<std::uint8_t>(flags)};
  out[8] = 3;
  return out;
}

/// ECREATE, and EADD of a TCS, a code page (measured), a data page and an SSA frame.
inline void add_pages(Cpu& cpu, const Build& build = {}) {
  SecsInit init{.base = kBase, .size = kSize};
  init.attributes = attributes(build.flags);
  init.config_id = build.config_id;
  init.config_svn = build.config_svn;
  CLOISTER_ASSERT(cpu.ecreate(build.first, init) == Code::success);
  auto page = tcs_page({.ossa = kSsaOffset, .nssa = 2});
  CLOISTER_ASSERT(cpu.eadd(build.first + kTcs, build.first, kBase, measure::SecInfo::tcs(), page) == Code::success);
  page.fill(build.code);
  CLOISTER_ASSERT(cpu.eadd(build.first + kCode, build.first, kBase + 0x1000, measure::SecInfo::reg(true, false, true), page) ==
                  Code::success);
  for (std::size_t i = 0; i < page.size(); i += 256) CLOISTER_ASSERT(cpu.eextend(build.first + kCode, i) == Code::success);
  page.fill(0x11);
  CLOISTER_ASSERT(cpu.eadd(build.first + kData, build.first, kBase + 0x2000, measure::SecInfo::reg(true, true, false), page) ==
                  Code::success);
  page.fill(0);
  CLOISTER_ASSERT(cpu.eadd(build.first + kSsa, build.first, kBase + kSsaOffset, measure::SecInfo::reg(true, true, false), page) ==
                  Code::success);
}

inline evidence::Sigstruct sigstruct(const Build& build = {}) {
  PageBytes tcs{};
  PageBytes code;
  code.fill(build.code);
  PageBytes data;
  data.fill(0x11);
  const std::vector<measure::EnclavePage> pages{
      {.offset = 0, .secinfo = measure::SecInfo::tcs(), .contents = tcs, .measured = false},
      {.offset = 0x1000, .secinfo = measure::SecInfo::reg(true, false, true), .contents = code},
      {.offset = 0x2000, .secinfo = measure::SecInfo::reg(true, true, false), .contents = data, .measured = false},
      {.offset = kSsaOffset, .secinfo = measure::SecInfo::reg(true, true, false), .contents = tcs, .measured = false}};
  evidence::Sigstruct out;
  out.date = 0x20260301;
  out.attributes = attributes(build.flags);
  out.attributes_mask.fill(0xFF);
  out.misc_mask = 0xFFFFFFFF;
  out.enclave_hash = measure::mrenclave_of_pages(1, kSize, pages).value();
  out.isv_prod_id = build.prod_id;
  out.isv_svn = build.svn;
  measure::sign_sigstruct(out, signer(build.signer));
  return out;
}

/// Built, initialised, entered on processor 0.
inline void start(Cpu& cpu, const Build& build = {}, unsigned processor = 0) {
  add_pages(cpu, build);
  CLOISTER_ASSERT(cpu.einit(build.first, evidence::encode_sigstruct(sigstruct(build))) == Code::success);
  CLOISTER_ASSERT(cpu.eenter(processor, build.first + kTcs) == Code::success);
}

}  // namespace cloister::lab_sgx::test
