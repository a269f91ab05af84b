#include "cloister/lab_sgx/cpu.hpp"

#include <algorithm>
#include <bit>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/aes.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab_sgx {
namespace {

namespace flag = evidence::sgx_flag;
using measure::SecInfo;
using measure::SgxPageType;

constexpr std::uint64_t kPage = measure::kSgxPageSize;
constexpr std::uint64_t kKnownFlags =
    flag::kDebug | flag::kMode64 | flag::kProvisionKey | flag::kEinitTokenKey | flag::kKss;  // INIT is EINIT's to set
constexpr std::uint64_t kXfrmRequired = 3;  // x87 and SSE
constexpr std::uint64_t kXfrmKnown = 0xE7;
constexpr std::uint32_t kMiscKnown = 1;  // EXINFO
constexpr std::size_t kDebugWord = 8;
constexpr std::size_t kTcsOssa = 16;
constexpr std::size_t kTcsCssa = 24;
constexpr std::size_t kTcsNssa = 28;

std::uint64_t flags_of(const ByteArray<16>& attributes) { return *codec::Reader{attributes}.u64le(); }
std::uint64_t xfrm_of(const ByteArray<16>& attributes) { return *codec::Reader{ByteView{attributes}.subspan(8)}.u64le(); }

bool equal_under(const ByteArray<16>& a, const ByteArray<16>& b, const ByteArray<16>& mask) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (((a[i] ^ b[i]) & mask[i]) != 0) return false;
  }
  return true;
}

bool secs_fits(const SecsInit& init) {
  const auto flags = flags_of(init.attributes);
  const auto xfrm = xfrm_of(init.attributes);
  return std::has_single_bit(init.size) && init.size >= 2 * kPage && init.size <= measure::kMaxEnclaveSize &&
         init.base % init.size == 0 && init.ssa_frame_size > 0 && (flags & ~kKnownFlags) == 0 &&
         (flags & flag::kMode64) != 0 && (xfrm & kXfrmRequired) == kXfrmRequired && (xfrm & ~kXfrmKnown) == 0 &&
         (init.misc_select & ~kMiscKnown) == 0 &&
         ((flags & flag::kKss) != 0 || (all_zero(init.config_id) && init.config_svn == 0));
}

bool page_fits(const SecsInit& init, std::uint64_t address) {
  return address % kPage == 0 && address >= init.base && address - init.base < init.size;
}

/// What EWB authenticates beside the page: PAGEINFO and PCMD.
Bytes context_of(const EvictedPage& page) {
  codec::Writer out;
  out.u64le(page.enclave_id);
  out.u64le(page.address);
  out.u64le(page.secinfo.flags());
  out.u8(static_cast<std::uint8_t>((page.pending ? 1 : 0) | (page.modified ? 2 : 0) | (page.restricted ? 4 : 0)));
  return std::move(out).take();
}

/// The page's version, which no other page ever had.
ByteArray<12> iv_of(std::uint64_t version) {
  codec::Writer out;
  out.u64le(version);
  out.zeros(4);
  return to_array<12>(out.bytes());
}

std::uint32_t tcs_word(const PageBytes& tcs, std::size_t at) { return *codec::Reader{ByteView{tcs}.subspan(at)}.u32le(); }
void set_cssa(PageBytes& tcs, std::uint32_t value) {
  for (std::size_t i = 0; i < sizeof value; ++i) tcs[kTcsCssa + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

/// Type and rights that EMODPR, EMODPE and EACCEPTCOPY take.
bool is_reg(const SecInfo& secinfo) { return secinfo.type == SgxPageType::reg && SecInfo::for_eadd(secinfo.flags()).ok(); }

crypto::Secret<16> mac_of(const evidence::SgxReport& body, const Key& key) {
  return crypto::aes128_cmac(key.reveal(), evidence::encode_sgx_report(body));
}

}  // namespace

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::success: return "success";
    case Code::invalid_sig_struct: return "SGX_INVALID_SIG_STRUCT";
    case Code::invalid_attribute: return "SGX_INVALID_ATTRIBUTE";
    case Code::blkstate: return "SGX_BLKSTATE";
    case Code::invalid_measurement: return "SGX_INVALID_MEASUREMENT";
    case Code::not_blockable: return "SGX_NOTBLOCKABLE";
    case Code::page_invalid: return "SGX_PG_INVLD";
    case Code::invalid_signature: return "SGX_INVALID_SIGNATURE";
    case Code::mac_compare_fail: return "SGX_MAC_COMPARE_FAIL";
    case Code::page_not_blocked: return "SGX_PAGE_NOT_BLOCKED";
    case Code::not_tracked: return "SGX_NOT_TRACKED";
    case Code::va_slot_occupied: return "SGX_VA_SLOT_OCCUPIED";
    case Code::child_present: return "SGX_CHILD_PRESENT";
    case Code::enclave_act: return "SGX_ENCLAVE_ACT";
    case Code::invalid_einittoken: return "SGX_INVALID_EINITTOKEN";
    case Code::prev_trk_incmpl: return "SGX_PREV_TRK_INCMPL";
    case Code::page_is_secs: return "SGX_PG_IS_SECS";
    case Code::page_attributes_mismatch: return "SGX_PAGE_ATTRIBUTES_MISMATCH";
    case Code::page_not_modifiable: return "SGX_PAGE_NOT_MODIFIABLE";
    case Code::page_not_debuggable: return "SGX_PAGE_NOT_DEBUGGABLE";
    case Code::invalid_cpusvn: return "SGX_INVALID_CPUSVN";
    case Code::invalid_isvsvn: return "SGX_INVALID_ISVSVN";
    case Code::invalid_keyname: return "SGX_INVALID_KEYNAME";
    case Code::general_protection: return "#GP";
    case Code::page_fault: return "#PF";
  }
  return "unknown";
}

ByteArray<kTargetInfoSize> encode_target_info(const TargetInfo& target) {
  codec::Writer out;
  out.raw(target.mr_enclave);
  out.raw(target.attributes);
  out.zeros(2);
  out.u16le(target.config_svn);
  out.u32le(target.misc_select);
  out.zeros(8);
  out.raw(target.config_id);
  out.zeros(kTargetInfoSize - out.size());
  return to_array<kTargetInfoSize>(out.bytes());
}

Answer<TargetInfo> parse_target_info(ByteView bytes) {
  if (bytes.size() != kTargetInfoSize) return Code::general_protection;
  codec::Reader in{bytes};
  TargetInfo out;
  out.mr_enclave = *in.array<32>();
  out.attributes = *in.array<16>();
  const auto reserved = *in.take(2);
  out.config_svn = *in.u16le();
  out.misc_select = *in.u32le();
  const auto reserved2 = *in.take(8);
  out.config_id = *in.array<64>();
  if (!all_zero(reserved) || !all_zero(reserved2) || !all_zero(in.rest())) return Code::general_protection;
  return out;
}

PageBytes tcs_page(const TcsInit& init) {
  codec::Writer out;
  out.zeros(kTcsOssa);
  out.u64le(init.ossa);
  out.u32le(0);  // CSSA
  out.u32le(init.nssa);
  out.u64le(init.oentry);
  out.zeros(kPage - out.size());
  return to_array<measure::kSgxPageSize>(out.bytes());
}

bool report_holds(const Report& report, const Key& key) { return crypto::equal(mac_of(report.body, key).reveal(), report.mac); }

Cpu::Cpu(const crypto::Secret<32>& root, const Options& options)
    : ladder_{root, options.cpu_svn},
      paging_key_{Key::copy_of(crypto::hkdf({}, root.reveal(), as_bytes("cloister/lab/1/SGX paging key"), 16).reveal())},
      options_{options},
      pages_(options.pages) {}

bool Cpu::free(EpcIndex at) const { return at < pages_.size() && !pages_[at].entry.valid; }

Cpu::Secs* Cpu::secs_at(EpcIndex at) const {
  if (at >= pages_.size()) return nullptr;
  const auto* content = std::get_if<std::unique_ptr<Secs>>(&pages_[at].content);
  return content == nullptr ? nullptr : content->get();
}
PageBytes* Cpu::bytes_at(EpcIndex at) const {
  if (at >= pages_.size()) return nullptr;
  const auto* content = std::get_if<std::unique_ptr<PageBytes>>(&pages_[at].content);
  return content == nullptr ? nullptr : content->get();
}
std::uint64_t* Cpu::va_slot(EpcIndex va, unsigned slot) const {
  if (va >= pages_.size() || slot >= kVaSlots) return nullptr;
  const auto* content = std::get_if<std::unique_ptr<VersionArray>>(&pages_[va].content);
  return content == nullptr ? nullptr : &(**content)[slot];
}
const Cpu::Secs* Cpu::inside(unsigned processor) const {
  if (processor >= kProcessors || !processors_[processor].inside) return nullptr;
  return secs_at(processors_[processor].secs);
}

bool Cpu::has_children(EpcIndex secs) const {
  for (EpcIndex i = 0; i < pages_.size(); ++i) {
    if (bytes_at(i) != nullptr && pages_[i].entry.secs == secs) return true;
  }
  return false;
}
bool Cpu::running(EpcIndex secs) const {
  return std::ranges::any_of(processors_, [&](const Processor& p) { return p.inside && p.secs == secs; });
}
std::optional<EpcIndex> Cpu::find(EpcIndex secs, std::uint64_t page_address) const {
  for (EpcIndex i = 0; i < pages_.size(); ++i) {
    if (bytes_at(i) != nullptr && pages_[i].entry.secs == secs && pages_[i].entry.address == page_address) return i;
  }
  return std::nullopt;
}

Code Cpu::ecreate(EpcIndex at, const SecsInit& init) {
  if (!free(at)) return Code::page_fault;
  if (!secs_fits(init)) return Code::general_protection;
  auto secs = std::make_unique<Secs>();
  secs->init = init;
  secs->id = next_enclave_++;
  secs->measurement.emplace(init.ssa_frame_size, init.size);
  pages_[at].entry = {.valid = true, .secinfo = {.type = SgxPageType::secs}};
  pages_[at].content = std::move(secs);
  return Code::success;
}

Code Cpu::eadd(EpcIndex at, EpcIndex secs, std::uint64_t address, const SecInfo& secinfo, measure::SgxPageView contents) {
  auto* owner = secs_at(secs);
  if (!free(at) || owner == nullptr) return Code::page_fault;
  if (!owner->measurement || !page_fits(owner->init, address) || !SecInfo::for_eadd(secinfo.flags()).ok()) {
    return Code::general_protection;
  }
  // Hardware maps two pages to one address; the page tables then choose. The lab has none, so it refuses the second.
  if (find(secs, address)) return Code::page_fault;
  owner->measurement->add(address - owner->init.base, secinfo);
  pages_[at].entry = {.valid = true, .secinfo = secinfo, .secs = secs, .address = address};
  auto bytes = std::make_unique<PageBytes>();
  std::ranges::copy(contents, bytes->begin());
  if (secinfo.type == SgxPageType::tcs) set_cssa(*bytes, 0);
  pages_[at].content = std::move(bytes);
  return Code::success;
}

Code Cpu::eextend(EpcIndex page, std::size_t offset) {
  const auto* bytes = bytes_at(page);
  if (bytes == nullptr) return Code::page_fault;
  if (offset % measure::kSgxChunkSize != 0 || offset >= kPage) return Code::general_protection;
  const auto& entry = pages_[page].entry;
  auto* owner = secs_at(entry.secs);
  if (!owner->measurement) return Code::general_protection;
  owner->measurement->extend(entry.address - owner->init.base + offset,
                             measure::SgxChunk{std::span{*bytes}.subspan(offset).first<measure::kSgxChunkSize>()});
  return Code::success;
}

Code Cpu::einit(EpcIndex secs, ByteView sigstruct) {
  auto* enclave = secs_at(secs);
  if (enclave == nullptr) return Code::page_fault;
  if (enclave->initialized) return Code::general_protection;
  const auto parsed = evidence::parse_sigstruct(sigstruct);
  if (!parsed || parsed->cet_attributes != 0 || parsed->cet_attributes_mask != 0) return Code::invalid_sig_struct;
  if (!measure::verify_sigstruct(*parsed)) return Code::invalid_signature;
  if (enclave->measurement) {
    enclave->identity.mr_enclave = enclave->measurement->finish();
    enclave->measurement.reset();
  }
  const auto& measured = enclave->identity.mr_enclave;
  if (measured != parsed->enclave_hash) return Code::invalid_measurement;
  const auto& init = enclave->init;
  const auto flags = flags_of(init.attributes);
  const auto signer = measure::mrsigner(*parsed);
  const bool kss = (flags & flag::kKss) != 0;
  if (!equal_under(init.attributes, parsed->attributes, parsed->attributes_mask)) return Code::invalid_attribute;
  if (((init.misc_select ^ parsed->misc_select) & parsed->misc_mask) != 0) return Code::invalid_attribute;
  if (!kss && (!all_zero(parsed->isv_family_id) || !all_zero(parsed->isv_ext_prod_id))) return Code::invalid_attribute;
  const bool launch_signer = !all_zero(options_.launch_signer) && signer == options_.launch_signer;
  if ((flags & flag::kEinitTokenKey) != 0 && !launch_signer) return Code::invalid_attribute;
  if (!all_zero(options_.launch_signer) && !launch_signer) return Code::invalid_einittoken;
  auto& identity = enclave->identity;
  identity.attributes = init.attributes;
  identity.attributes[0] = static_cast<std::uint8_t>(identity.attributes[0] | flag::kInit);
  identity.misc_select = init.misc_select;
  identity.mr_signer = signer;
  identity.isv_prod_id = parsed->isv_prod_id;
  identity.isv_svn = parsed->isv_svn;
  identity.config_svn = init.config_svn;
  identity.config_id = init.config_id;
  identity.isv_family_id = parsed->isv_family_id;
  identity.isv_ext_prod_id = parsed->isv_ext_prod_id;
  enclave->initialized = true;
  return Code::success;
}

Code Cpu::eremove(EpcIndex page) {
  if (page >= pages_.size()) return Code::page_fault;
  auto& removed = pages_[page];
  if (!removed.entry.valid) return Code::success;
  if (secs_at(page) != nullptr && has_children(page)) return Code::child_present;
  // A trimmed page that the enclave gave up is in nobody's TLB.
  const bool given_up = removed.entry.secinfo.type == SgxPageType::trim && !removed.entry.modified;
  if (bytes_at(page) != nullptr && !given_up && running(removed.entry.secs)) return Code::enclave_act;
  removed.entry = {};
  removed.content = std::monostate{};
  return Code::success;
}

Code Cpu::eaug(EpcIndex at, EpcIndex secs, std::uint64_t address) {
  const auto* owner = secs_at(secs);
  if (!free(at) || owner == nullptr || find(secs, address)) return Code::page_fault;
  if (!owner->initialized || !page_fits(owner->init, address)) return Code::general_protection;
  pages_[at].entry = {.valid = true, .secinfo = SecInfo::reg(true, true, false), .secs = secs, .address = address, .pending = true};
  pages_[at].content = std::make_unique<PageBytes>();
  return Code::success;
}

Code Cpu::epa(EpcIndex at) {
  if (!free(at)) return Code::page_fault;
  pages_[at].entry = {.valid = true, .secinfo = {.type = SgxPageType::va}};
  pages_[at].content = std::make_unique<VersionArray>();
  return Code::success;
}

Code Cpu::eblock(EpcIndex page) {
  if (page >= pages_.size()) return Code::page_fault;
  auto& entry = pages_[page].entry;
  if (!entry.valid) return Code::page_invalid;
  if (secs_at(page) != nullptr) return Code::page_is_secs;
  if (bytes_at(page) == nullptr) return Code::not_blockable;
  if (entry.blocked) return Code::blkstate;
  entry.blocked = true;
  entry.epoch = secs_at(entry.secs)->epoch;
  return Code::success;
}

/// Whether an ETRACK came after the page's change, and everybody left who entered before that: nobody has its old
/// translation in a TLB.
bool Cpu::tracked(const EpcmEntry& entry) const {
  const auto entered_before = [&](const Processor& p) { return p.inside && p.secs == entry.secs && p.epoch <= entry.epoch; };
  return secs_at(entry.secs)->epoch > entry.epoch && std::ranges::none_of(processors_, entered_before);
}

Code Cpu::etrack(EpcIndex secs) {
  auto* enclave = secs_at(secs);
  if (enclave == nullptr) return Code::page_fault;
  for (const auto& processor : processors_) {
    if (processor.inside && processor.secs == secs && processor.epoch < enclave->epoch) return Code::prev_trk_incmpl;
  }
  ++enclave->epoch;
  return Code::success;
}

Answer<EvictedPage> Cpu::ewb(EpcIndex page, EpcIndex va, unsigned slot) {
  const auto* bytes = bytes_at(page);
  auto* version = va_slot(va, slot);
  if (bytes == nullptr || version == nullptr) return Code::page_fault;
  const auto& entry = pages_[page].entry;
  const auto* owner = secs_at(entry.secs);
  if (!entry.blocked) return Code::page_not_blocked;
  if (!tracked(entry)) return Code::not_tracked;
  if (*version != 0) return Code::va_slot_occupied;
  *version = next_version_++;
  EvictedPage out{.enclave_id = owner->id, .address = entry.address, .secinfo = entry.secinfo, .pending = entry.pending,
                  .modified = entry.modified, .restricted = entry.restricted, .sealed = {}};
  out.sealed = crypto::aes_gcm_seal(paging_key_.reveal(), iv_of(*version), context_of(out), *bytes);
  pages_[page].entry = {};
  pages_[page].content = std::monostate{};
  return out;
}

Code Cpu::eldu(EpcIndex at, const EvictedPage& page, EpcIndex secs, EpcIndex va, unsigned slot) {
  return load_back(at, page, secs, va, slot, false);
}
Code Cpu::eldb(EpcIndex at, const EvictedPage& page, EpcIndex secs, EpcIndex va, unsigned slot) {
  return load_back(at, page, secs, va, slot, true);
}

Code Cpu::load_back(EpcIndex at, const EvictedPage& page, EpcIndex secs, EpcIndex va, unsigned slot, bool blocked) {
  const auto* owner = secs_at(secs);
  auto* version = va_slot(va, slot);
  if (!free(at) || owner == nullptr || version == nullptr) return Code::page_fault;
  auto expected = page;
  expected.enclave_id = owner->id;  // whose page it is, the SECS says
  const auto opened = crypto::aes_gcm_open(paging_key_.reveal(), iv_of(*version), context_of(expected), page.sealed);
  if (!opened || opened->size() != kPage) return Code::mac_compare_fail;
  if (find(secs, page.address)) return Code::page_fault;
  *version = 0;
  pages_[at].entry = {.valid = true, .secinfo = page.secinfo, .secs = secs, .address = page.address, .blocked = blocked,
                      .pending = page.pending, .modified = page.modified, .restricted = page.restricted, .epoch = owner->epoch};
  pages_[at].content = std::make_unique<PageBytes>(to_array<measure::kSgxPageSize>(opened->reveal()));
  return Code::success;
}

Code Cpu::emodpr(EpcIndex page, const SecInfo& rights) {
  if (bytes_at(page) == nullptr) return Code::page_fault;
  auto& entry = pages_[page].entry;
  if (!is_reg(rights)) return Code::general_protection;
  if (entry.pending || entry.modified) return Code::page_not_modifiable;
  if (entry.secinfo.type != SgxPageType::reg) return Code::page_fault;
  const auto* owner = secs_at(entry.secs);
  if (!owner->initialized) return Code::general_protection;
  auto& now = entry.secinfo;
  now = SecInfo::reg(now.read && rights.read, now.write && rights.write, now.execute && rights.execute);
  entry.restricted = true;
  entry.epoch = owner->epoch;
  return Code::success;
}

Code Cpu::emodt(EpcIndex page, SgxPageType type) {
  if (bytes_at(page) == nullptr) return Code::page_fault;
  auto& entry = pages_[page].entry;
  if (type != SgxPageType::tcs && type != SgxPageType::trim) return Code::general_protection;
  if (entry.pending || entry.modified) return Code::page_not_modifiable;
  const bool from_reg = entry.secinfo.type == SgxPageType::reg;
  if (!from_reg && !(entry.secinfo.type == SgxPageType::tcs && type == SgxPageType::trim)) return Code::page_fault;
  const auto* owner = secs_at(entry.secs);
  if (!owner->initialized) return Code::general_protection;
  entry.secinfo = {.type = type};
  entry.modified = true;
  entry.restricted = false;
  entry.epoch = owner->epoch;
  return Code::success;
}

Code Cpu::debuggable(EpcIndex page, std::size_t offset) const {
  if (bytes_at(page) == nullptr) return Code::page_fault;
  const auto& entry = pages_[page].entry;
  if (offset % kDebugWord != 0 || offset >= kPage) return Code::general_protection;
  if ((flags_of(secs_at(entry.secs)->init.attributes) & flag::kDebug) == 0) return Code::general_protection;
  return entry.pending || entry.modified ? Code::page_not_debuggable : Code::success;
}

Answer<ByteArray<8>> Cpu::edbgrd(EpcIndex page, std::size_t offset) const {
  if (const auto code = debuggable(page, offset); code != Code::success) return code;
  return to_array<kDebugWord>(ByteView{*bytes_at(page)}.subspan(offset, kDebugWord));
}

Code Cpu::edbgwr(EpcIndex page, std::size_t offset, const ByteArray<8>& value) {
  if (const auto code = debuggable(page, offset); code != Code::success) return code;
  std::ranges::copy(value, std::span{*bytes_at(page)}.subspan(offset).begin());
  return Code::success;
}

/// Whether the SSA frame of that number is in the enclave, to be read and written.
bool Cpu::frame_ready(const EpcmEntry& tcs, std::uint32_t frame) const {
  const auto& init = secs_at(tcs.secs)->init;
  const auto* bytes = bytes_at(*find(tcs.secs, tcs.address));
  const auto first = *codec::Reader{ByteView{*bytes}.subspan(kTcsOssa)}.u64le() + std::uint64_t{frame} * init.ssa_frame_size * kPage;
  for (std::uint32_t i = 0; i < init.ssa_frame_size; ++i) {
    const auto page = find(tcs.secs, init.base + first + i * kPage);
    if (!page) return false;
    const auto& entry = pages_[*page].entry;
    if (!entry.secinfo.read || !entry.secinfo.write || entry.blocked || entry.pending || entry.modified) return false;
  }
  return true;
}

Code Cpu::enter(unsigned processor, EpcIndex tcs, bool resume) {
  if (processor >= kProcessors || processors_[processor].inside) return Code::general_protection;
  auto* bytes = bytes_at(tcs);
  if (bytes == nullptr) return Code::page_fault;
  const auto& entry = pages_[tcs].entry;
  if (entry.secinfo.type != SgxPageType::tcs || entry.blocked || entry.pending || entry.modified) return Code::page_fault;
  const auto* enclave = secs_at(entry.secs);
  const bool busy = std::ranges::any_of(processors_, [&](const Processor& p) { return p.inside && p.tcs == tcs; });
  if (!enclave->initialized || busy) return Code::general_protection;
  const auto cssa = tcs_word(*bytes, kTcsCssa);
  if (resume ? cssa == 0 : cssa >= tcs_word(*bytes, kTcsNssa)) return Code::general_protection;
  if (!frame_ready(entry, resume ? cssa - 1 : cssa)) return Code::page_fault;
  if (resume) set_cssa(*bytes, cssa - 1);
  processors_[processor] = {.inside = true, .secs = entry.secs, .tcs = tcs, .epoch = enclave->epoch};
  return Code::success;
}

Code Cpu::eenter(unsigned processor, EpcIndex tcs) { return enter(processor, tcs, false); }
Code Cpu::eresume(unsigned processor, EpcIndex tcs) { return enter(processor, tcs, true); }

Code Cpu::aex(unsigned processor) {
  if (inside(processor) == nullptr) return Code::general_protection;
  auto& tcs = *bytes_at(processors_[processor].tcs);
  set_cssa(tcs, tcs_word(tcs, kTcsCssa) + 1);
  processors_[processor] = {};
  return Code::success;
}

Code Cpu::eexit(unsigned processor) {
  if (inside(processor) == nullptr) return Code::general_protection;
  processors_[processor] = {};
  return Code::success;
}

Answer<Report> Cpu::ereport(unsigned processor, ByteView target_info, const Digest64& data) const {
  const auto* enclave = inside(processor);
  if (enclave == nullptr) return Code::general_protection;
  const auto parsed = parse_target_info(target_info);
  if (!parsed.ok()) return parsed.code();
  const auto& from = enclave->identity;
  Report out;
  auto& body = out.body;
  body.cpu_svn = ladder_.svn();
  body.misc_select = from.misc_select;
  body.isv_ext_prod_id = from.isv_ext_prod_id;
  body.attributes = from.attributes;
  body.mr_enclave = from.mr_enclave;
  body.mr_signer = from.mr_signer;
  body.config_id = from.config_id;
  body.isv_prod_id = from.isv_prod_id;
  body.isv_svn = from.isv_svn;
  body.config_svn = from.config_svn;
  body.isv_family_id = from.isv_family_id;
  body.report_data = data;
  out.key_id = crypto::sha256({as_bytes("cloister/lab/1/REPORT KEYID"), options_.owner_epoch, ladder_.svn()});
  const auto& target = parsed.value();
  Identity to;
  to.attributes = target.attributes;
  to.misc_select = target.misc_select;
  to.mr_enclave = target.mr_enclave;
  to.config_svn = target.config_svn;
  to.config_id = target.config_id;
  out.mac = to_array<16>(mac_of(body, report_key(ladder_, options_.owner_epoch, to, out.key_id)).reveal());
  return out;
}

Answer<Key> Cpu::egetkey(unsigned processor, ByteView key_request) const {
  const auto* enclave = inside(processor);
  if (enclave == nullptr) return Code::general_protection;
  const auto request = parse_key_request(key_request);
  if (!request.ok()) return request.code();
  return lab_sgx::egetkey(ladder_, options_.owner_epoch, enclave->identity, request.value());
}

Code Cpu::eaccept(unsigned processor, std::uint64_t address, const AcceptInfo& expected) {
  if (inside(processor) == nullptr || address % kPage != 0) return Code::general_protection;
  const bool reg = expected.secinfo.type == SgxPageType::reg && (expected.pending || expected.restricted) && !expected.modified;
  const bool retyped = (expected.secinfo.type == SgxPageType::tcs || expected.secinfo.type == SgxPageType::trim) &&
                       expected.modified && !expected.pending && !expected.restricted;
  if (!reg && !retyped) return Code::general_protection;
  const auto page = find(processors_[processor].secs, address);
  if (!page || pages_[*page].entry.blocked) return Code::page_fault;
  auto& entry = pages_[*page].entry;
  if (entry.pending != expected.pending || entry.modified != expected.modified || entry.restricted != expected.restricted ||
      entry.secinfo != expected.secinfo) {
    return Code::page_attributes_mismatch;
  }
  if (!entry.pending && !tracked(entry)) return Code::not_tracked;
  entry.pending = entry.modified = entry.restricted = false;
  return Code::success;
}

Code Cpu::eacceptcopy(unsigned processor, std::uint64_t address, std::uint64_t source, const SecInfo& secinfo) {
  if (inside(processor) == nullptr || address % kPage != 0 || source % kPage != 0 || !is_reg(secinfo)) return Code::general_protection;
  const auto from = accessible(processor, source, kPage, false);
  const auto to = find(processors_[processor].secs, address);
  if (!from || !to || pages_[*to].entry.blocked) return Code::page_fault;
  auto& entry = pages_[*to].entry;
  if (!entry.pending || entry.secinfo != SecInfo::reg(true, true, false)) return Code::page_attributes_mismatch;
  *bytes_at(*to) = *bytes_at(*from);
  entry.secinfo = secinfo;
  entry.pending = false;
  return Code::success;
}

Code Cpu::emodpe(unsigned processor, std::uint64_t address, const SecInfo& rights) {
  if (inside(processor) == nullptr || address % kPage != 0 || rights.type != SgxPageType::reg) return Code::general_protection;
  const auto page = find(processors_[processor].secs, address);
  if (!page) return Code::page_fault;
  auto& entry = pages_[*page].entry;
  if (entry.blocked || entry.pending || entry.modified || entry.secinfo.type != SgxPageType::reg) return Code::page_fault;
  const auto& now = entry.secinfo;
  const auto more = SecInfo::reg(now.read || rights.read, now.write || rights.write, now.execute || rights.execute);
  if (!is_reg(more)) return Code::general_protection;
  entry.secinfo = more;
  return Code::success;
}

std::optional<EpcIndex> Cpu::accessible(unsigned processor, std::uint64_t address, std::size_t size, bool write) const {
  const auto offset = address % kPage;
  if (inside(processor) == nullptr || size > kPage - offset) return std::nullopt;
  const auto page = find(processors_[processor].secs, address - offset);
  if (!page) return std::nullopt;
  const auto& entry = pages_[*page].entry;
  const bool allowed = entry.secinfo.type == SgxPageType::reg && (write ? entry.secinfo.write : entry.secinfo.read);
  if (!allowed || entry.blocked || entry.pending || entry.modified) return std::nullopt;
  return page;
}

Answer<Bytes> Cpu::read(unsigned processor, std::uint64_t address, std::size_t size) const {
  const auto page = accessible(processor, address, size, false);
  if (!page) return Code::page_fault;
  return to_bytes(ByteView{*bytes_at(*page)}.subspan(address % kPage, size));
}

Code Cpu::write(unsigned processor, std::uint64_t address, ByteView bytes) {
  const auto page = accessible(processor, address, bytes.size(), true);
  if (!page) return Code::page_fault;
  std::ranges::copy(bytes, bytes_at(*page)->begin() + static_cast<std::ptrdiff_t>(address % kPage));
  return Code::success;
}

const Identity* Cpu::identity(EpcIndex secs) const {
  const auto* enclave = secs_at(secs);
  return enclave != nullptr && enclave->initialized ? &enclave->identity : nullptr;
}

const Identity* Cpu::identity_on(unsigned processor) const {
  const auto* enclave = inside(processor);
  return enclave == nullptr ? nullptr : &enclave->identity;
}

}  // namespace cloister::lab_sgx
