#include "sgx_lesson.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "hex_text.hpp"

namespace cloister::exercise::sgx {
namespace {

namespace json = codec::json;
using lab_sgx::Code;
using lab_sgx::EpcIndex;
using measure::SecInfo;

constexpr std::uint64_t kSsaOffset = 0x4000;
constexpr std::string_view kSeed = "cloister/lab/1/exercises";

std::string rights_of(const SecInfo& secinfo) {
  if (secinfo.type == measure::SgxPageType::tcs) return "TCS";
  std::string out = "REG ";
  out += secinfo.read ? 'R' : '-';
  out += secinfo.write ? 'W' : '-';
  out += secinfo.execute ? 'X' : '-';
  return out;
}

}  // namespace

crypto::Secret<32> root() { return crypto::Secret<32>{crypto::sha256(as_bytes(kSeed))}; }

const crypto::RsaPrivateKey& signer(std::string_view who) {
  static const auto vendor = crypto::RsaPrivateKey::derive_3072_e3(as_bytes(kSeed), as_bytes("vendor"));
  static const auto mallory = crypto::RsaPrivateKey::derive_3072_e3(as_bytes(kSeed), as_bytes("mallory"));
  CLOISTER_ASSERT(who == "vendor" || who == "mallory");
  return who == "vendor" ? vendor : mallory;
}

void LessonRandom::fill(std::span<std::uint8_t> out) {
  for (auto& byte : out) {
    byte = crypto::sha256(as_bytes(label_ + std::to_string(counter_++)))[0];
  }
}

lab_sgx::PageBytes page_of(ByteView beginning) {
  lab_sgx::PageBytes page{};
  CLOISTER_ASSERT(beginning.size() <= page.size());
  std::ranges::copy(beginning, page.begin());
  return page;
}

Plan plan_of(std::string_view code) {
  Plan plan;
  plan.pages.push_back({.name = "tcs", .offset = 0, .secinfo = SecInfo::tcs(), .contents = lab_sgx::tcs_page({.ossa = kSsaOffset})});
  plan.pages.push_back({.name = "code", .offset = 0x1000, .secinfo = SecInfo::reg(true, false, true), .contents = page_of(as_bytes(code))});
  plan.pages.push_back({.name = "ssa", .offset = kSsaOffset, .secinfo = SecInfo::reg(true, true, false)});
  return plan;
}

Digest32 mrenclave_of(const Plan& plan) {
  std::vector<measure::EnclavePage> pages;
  for (const auto& page : plan.pages) {
    pages.push_back({.offset = page.offset, .secinfo = page.secinfo, .contents = page.contents, .measured = page.measured});
  }
  return measure::mrenclave_of_pages(1, plan.size, pages).value();
}

evidence::Sigstruct sigstruct_for(const Plan& plan, const Vouch& vouch) {
  evidence::Sigstruct out;
  out.date = 0x20260301;
  out.attributes = plan.attributes;
  out.attributes_mask.fill(0xFF);
  out.attributes_mask[0] = vouch.flags_mask;
  out.misc_mask = 0xFFFFFFFF;
  out.enclave_hash = mrenclave_of(plan);
  out.isv_prod_id = vouch.prod_id;
  out.isv_svn = vouch.svn;
  measure::sign_sigstruct(out, signer(vouch.who));
  return out;
}

Code load(lab_sgx::Cpu& cpu, EventLog& log, const Plan& plan, EpcIndex first, const evidence::Sigstruct& sigstruct) {
  const auto did = [&](std::string_view leaf, json::Object with, Code code) {
    log.add("host", leaf, std::move(with), outcome(code));
    return code;
  };
  const auto flags = ByteView{plan.attributes}.first(1);
  auto code = did("ECREATE", {{"size", hex_number(plan.size)}, {"attributes", "0x" + codec::to_hex(flags)}},
                  cpu.ecreate(first, {.base = plan.base, .size = plan.size, .attributes = plan.attributes}));
  auto at = first;
  for (const auto& page : plan.pages) {
    if (code != Code::success) return code;
    ++at;
    code = did("EADD", {{"page", page.name}, {"offset", hex_number(page.offset)}, {"secinfo", rights_of(page.secinfo)}},
               cpu.eadd(at, first, plan.base + page.offset, page.secinfo, page.contents));
    if (code != Code::success || !page.measured) continue;
    for (std::size_t chunk = 0; chunk < measure::kSgxPageSize && code == Code::success; chunk += measure::kSgxChunkSize) {
      code = cpu.eextend(at, chunk);
    }
    code = did("EEXTEND", {{"page", page.name}, {"chunks", 16}}, code);
  }
  if (code != Code::success) return code;
  return did("EINIT", {{"mrenclave", brief(mrenclave_of(plan))}, {"enclavehash", brief(sigstruct.enclave_hash)},
                       {"mrsigner", brief(measure::mrsigner(sigstruct))}},
             cpu.einit(first, evidence::encode_sigstruct(sigstruct)));
}

std::string outcome(Code code) {
  auto text = std::string{to_string(code)};
  const auto value = static_cast<std::uint32_t>(code);
  if (code == Code::success || value >= 0x10000) return text;
  return text + " (" + std::to_string(value) + ")";
}

std::string brief(ByteView bytes) { return codec::to_hex(bytes.first(std::min<std::size_t>(bytes.size(), 4))); }

std::string fingerprint(const lab_sgx::Key& key) { return brief(crypto::sha256(key.reveal())); }

std::string sealed_text(std::string_view what, ByteView blob) {
  CLOISTER_ASSERT(lab_sgx::parse_sealed(blob).ok());
  codec::Reader in{blob};
  const auto take = [&](std::size_t size) { return *in.take(size); };
  HexText out;
  out.note(what);
  out.field("magic: CLSEAL, format 1", take(8));
  out.field("KEYREQUEST.KEYNAME: 4 = SEAL", take(2));
  out.field("KEYREQUEST.KEYPOLICY: 1 = MRENCLAVE, 2 = MRSIGNER", take(2));
  out.field("KEYREQUEST.ISVSVN", take(2));
  out.field("reserved", take(2));
  out.field("KEYREQUEST.CPUSVN", take(16));
  out.field("KEYREQUEST.ATTRIBUTEMASK", take(16));
  out.field("KEYREQUEST.KEYID: random, a key of its own for each blob", take(32));
  out.field("KEYREQUEST.MISCMASK", take(4));
  out.field("KEYREQUEST.CONFIGSVN", take(2));
  out.field("KEYREQUEST reserved", take(434));
  out.field("bound to a counter: 0 = no, 1 = yes", take(1));
  out.field("which counter", take(16));
  out.field("value of the counter (u64, little-endian)", take(8));
  out.field("ciphertext (AES-128-GCM), everything above authenticated with it", take(in.remaining() - 16));
  out.field("tag", take(16));
  return out.text();
}

void unseal(const lab_sgx::Cpu& cpu, unsigned processor, EventLog& log, json::Object with, ByteView blob,
            const std::optional<lab_sgx::SealedVersion>& current) {
  if (const auto parsed = lab_sgx::parse_sealed(blob)) {
    if (parsed->version) with.emplace_back("version", parsed->version->value);
    const auto key = cpu.egetkey(processor, lab_sgx::encode_key_request(parsed->request));
    with.emplace_back("key", key.ok() ? fingerprint(key.value()) : "none");
  }
  const auto opened = lab_sgx::unseal(cpu, processor, blob, current);
  log.add("enclave", "UNSEAL", std::move(with), opened ? "opened: " + std::string{as_text(opened->reveal())} : opened.error().text());
}

}  // namespace cloister::exercise::sgx
