#include "cloister/lab_snp/firmware.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "context.hpp"

namespace cloister::lab_snp {
namespace {

namespace policy = evidence::snp_policy;
using measure::SnpPageType;

constexpr std::size_t kSmallInLarge = kLargePage / kSmallPage;
constexpr std::size_t kVmsaTscScale = 0x2F0;  // and the offset behind it: measured as zero
constexpr std::size_t kVmsaTscSize = 16;

bool aligned(std::uint64_t address) { return address % kSmallPage == 0; }

bool policy_holds(std::uint64_t wanted, std::uint64_t platform_info) {
  const auto minor = wanted & 0xFF;
  const auto major = wanted >> 8 & 0xFF;
  const bool smt = (platform_info & evidence::snp_platform::kSmt) != 0;
  return (wanted & policy::kMustBeOne) != 0 && (wanted & ~policy::kDefined) == 0 && (!smt || (wanted & policy::kSmt) != 0) &&
         (major < Firmware::kAbiMajor || (major == Firmware::kAbiMajor && minor <= Firmware::kAbiMinor));
}

std::optional<SnpPageType> page_type(std::uint8_t type) {
  if (type < static_cast<std::uint8_t>(SnpPageType::normal) || type > static_cast<std::uint8_t>(SnpPageType::cpuid)) return std::nullopt;
  return static_cast<SnpPageType>(type);
}

bool small_alone(std::uint8_t type) {
  return type == static_cast<std::uint8_t>(SnpPageType::vmsa) || type == static_cast<std::uint8_t>(SnpPageType::secrets) ||
         type == static_cast<std::uint8_t>(SnpPageType::cpuid);
}

}  // namespace

std::string_view to_string(Status status) noexcept {
  switch (status) {
    case Status::success: return "SUCCESS";
    case Status::invalid_guest_state: return "INVALID_GUEST_STATE";
    case Status::invalid_config: return "INVALID_CONFIG";
    case Status::policy_failure: return "POLICY_FAILURE";
    case Status::inactive: return "INACTIVE";
    case Status::invalid_address: return "INVALID_ADDRESS";
    case Status::bad_signature: return "BAD_SIGNATURE";
    case Status::bad_measurement: return "BAD_MEASUREMENT";
    case Status::asid_owned: return "ASID_OWNED";
    case Status::invalid_asid: return "INVALID_ASID";
    case Status::dfflush_required: return "DFFLUSH_REQUIRED";
    case Status::invalid_guest: return "INVALID_GUEST";
    case Status::active: return "ACTIVE";
    case Status::invalid_param: return "INVALID_PARAM";
    case Status::invalid_page_size: return "INVALID_PAGE_SIZE";
    case Status::invalid_page_state: return "INVALID_PAGE_STATE";
    case Status::invalid_page_owner: return "INVALID_PAGE_OWNER";
    case Status::aead_oflow: return "AEAD_OFLOW";
    case Status::invalid_key: return "INVALID_KEY";
  }
  return "UNKNOWN";
}

evidence::SnpTcb usual_tcb(evidence::SnpProduct product) noexcept {
  switch (product) {
    case evidence::SnpProduct::milan: return {.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};
    case evidence::SnpProduct::genoa: return {.fmc = {}, .bootloader = 10, .tee = 0, .snp = 23, .microcode = 84};
    case evidence::SnpProduct::turin: return {.fmc = 1, .bootloader = 1, .tee = 1, .snp = 4, .microcode = 82};
    case evidence::SnpProduct::venice: break;
  }
  return {};
}

PlatformOptions PlatformOptions::at(evidence::SnpProduct product, const evidence::SnpTcb& tcb) {
  PlatformOptions out;
  out.product = product;
  out.current = out.committed = out.reported = tcb;
  return out;
}

Status PlatformOptions::load(const evidence::SnpTcb& tcb) {
  if (!evidence::snp_tcb_gaps(tcb, committed).empty()) return Status::invalid_param;
  current = tcb;
  return Status::success;
}

void PlatformOptions::commit() {
  committed = current;
  const auto status = set_reported(committed);
  CLOISTER_ASSERT(status == Status::success);
}

Status PlatformOptions::set_reported(const evidence::SnpTcb& tcb) {
  if (!evidence::snp_tcb_gaps(committed, tcb).empty()) return Status::invalid_param;
  if (tcb != reported) vlek_loaded = false;
  reported = tcb;
  return Status::success;
}

Firmware::Firmware(const Authority& authority, Memory& memory, Random& random, const PlatformOptions& options)
    : authority_{&authority}, memory_{&memory}, random_{&random}, options_{options} {}
Firmware::Firmware(Firmware&&) noexcept = default;
Firmware& Firmware::operator=(Firmware&&) noexcept = default;
Firmware::~Firmware() = default;

Result<Firmware> Firmware::start(const Authority& authority, Memory& memory, Random& random, const PlatformOptions& options) {
  if (!evidence::snp_tcb_gaps(options.committed, options.reported).empty() ||
      !evidence::snp_tcb_gaps(options.current, options.committed).empty()) {
    return Error{Errc::invalid_argument, "SNP platform: reported TCB <= committed TCB <= current TCB expected, in each component"};
  }
  if (options.report_version != 2 && options.report_version != 3 && options.report_version != 5) {
    return Error{Errc::invalid_argument, "SNP platform: reports of version 2, 3 or 5 expected"};
  }
  return Firmware{authority, memory, random, options};
}

Firmware::Context* Firmware::find(std::uint64_t context) {
  const auto found = contexts_.find(context);
  return found == contexts_.end() ? nullptr : found->second.get();
}

bool Firmware::asid_owned(std::uint32_t asid) const {
  return std::ranges::any_of(contexts_, [asid](const auto& one) { return one.second->asid == asid; });
}

Status Firmware::gctx_create(std::uint64_t context) {
  if (!aligned(context)) return Status::invalid_param;
  const auto entry = memory_->rmp().entry(context);
  if (!entry) return Status::invalid_address;
  if (state_of(*entry) != PageState::firmware) return Status::invalid_page_state;
  if (entry->size != PageSize::small) return Status::invalid_page_size;
  CLOISTER_ASSERT(memory_->rmp().make_context(context));
  auto guest = std::make_unique<Context>(Context::create(*random_));
  guest->launch_tcb = evidence::encode_snp_tcb(options_.current, options_.product);
  guest->launch_mitigations = options_.mitigations;
  contexts_[context] = std::move(guest);
  memory_->write_plain(context, {});  // its contents are firmware's alone
  return Status::success;
}

Status Firmware::launch_start(std::uint64_t context, const LaunchStart& start) {
  auto* guest = find(context);
  if (guest == nullptr) return Status::invalid_guest;
  if (guest->state != GuestState::init) return Status::invalid_guest_state;
  if (!policy_holds(start.policy, options_.platform_info)) return Status::policy_failure;
  guest->policy = start.policy;
  guest->gosvw = start.gosvw;
  guest->state = GuestState::launch;
  return Status::success;
}

Status Firmware::activate(std::uint64_t context, std::uint32_t asid) {
  auto* guest = find(context);
  if (guest == nullptr) return Status::invalid_guest;
  if (guest->state == GuestState::init) return Status::invalid_guest_state;
  if (asid != 0 && memory_->rmp().assigned_to(asid)) return Status::invalid_config;
  if (asid == 0 || asid > kMaxAsid) return Status::invalid_asid;
  if (asid_owned(asid)) return Status::asid_owned;
  if (guest->asid != 0) return Status::active;
  if (dirty_asids_[asid]) return Status::dfflush_required;
  guest->asid = asid;
  memory_->install_key(asid, guest->key.clone());
  return Status::success;
}

Status Firmware::launch_update(std::uint64_t context, const LaunchUpdate& update) {
  auto* guest = find(context);
  if (guest == nullptr) return Status::invalid_guest;
  const auto entry = aligned(update.page) ? memory_->rmp().entry(update.page) : std::nullopt;
  if (!entry) return Status::invalid_address;
  if (state_of(*entry) != PageState::pre_guest) return Status::invalid_page_state;
  if (entry->size != update.size) return Status::invalid_page_size;
  if (update.page % bytes_of(update.size) != 0) return Status::invalid_address;
  if (small_alone(update.type) && update.size != PageSize::small) return Status::invalid_page_size;
  if (!page_type(update.type)) return Status::invalid_param;
  if (guest->state != GuestState::launch) return Status::invalid_guest_state;
  if (guest->asid == 0) return Status::inactive;
  if (entry->asid != guest->asid) return Status::invalid_page_owner;
  return update_page(*guest, update, *entry);
}

/// The page or its 512 pages: each is measured as the host left it, then holds what its type says, encrypted.
Status Firmware::update_page(Context& guest, const LaunchUpdate& update, const RmpEntry& entry) {
  const auto type = *page_type(update.type);
  if (type == SnpPageType::cpuid) {
    auto functions = parse_cpuid_page(memory_->host_read(update.page));
    if (!functions) return Status::invalid_param;
    if (!sanitize_cpuid(*functions, cpuid_of(options_.product))) {
      memory_->write_plain(update.page, encode_cpuid_page(*functions));
      return Status::invalid_param;
    }
  }
  for (std::size_t i = 0; i < (update.size == PageSize::large ? kSmallInLarge : 1); ++i) {
    const auto spa = update.page + i * kSmallPage;
    auto page = memory_->host_read(spa);
    auto measured = page;
    if (type == SnpPageType::vmsa) std::fill_n(measured.begin() + kVmsaTscScale, kVmsaTscSize, std::uint8_t{0});
    guest.digest.update(type, entry.gpa + i * kSmallPage, measured, update.permissions);
    if (type == SnpPageType::zero) page = {};
    if (type == SnpPageType::secrets) {
      LaunchSecrets secrets{.fms = cpuid_of(options_.product)[1].eax, .gosvw = guest.gosvw,
                            .vmpcks = {guest.vmpcks[0].clone(), guest.vmpcks[1].clone(), guest.vmpcks[2].clone(), guest.vmpcks[3].clone()}};
      page = encode_secrets_page(secrets);
    }
    memory_->write_sealed(spa, guest.asid, page);
    if (type == SnpPageType::secrets) crypto::cleanse(page);
  }
  const auto& given = update.permissions;
  CLOISTER_ASSERT(memory_->rmp().complete_launch(update.page, type == SnpPageType::vmsa,
                                                 {vmpl_permission::kAll, given.vmpl1, given.vmpl2, given.vmpl3}));
  return Status::success;
}

Status Firmware::check_id_block(Context& guest, const LaunchFinish& finish) const {
  const auto block = parse_id_block(finish.id_block);
  const auto auth = parse_id_auth(finish.id_auth);
  if (block.launch_digest != guest.digest.value()) return Status::bad_measurement;
  if (block.policy != guest.policy) return Status::policy_failure;
  if (auth.id_key_algorithm != kEcdsaP384Sha384 || block.version != kIdBlockVersion) return Status::invalid_param;
  if (finish.author_key_enabled && auth.author_key_algorithm != kEcdsaP384Sha384) return Status::invalid_param;
  const auto id_key = parse_id_public_key(auth.id_key);
  if (!id_key || !verify_id_signature(*id_key, finish.id_block, auth.block_signature)) return Status::bad_signature;
  if (finish.author_key_enabled) {
    const auto author_key = parse_id_public_key(auth.author_key);
    if (!author_key || !verify_id_signature(*author_key, auth.id_key, auth.id_key_signature)) return Status::bad_signature;
    guest.author_key_digest = crypto::sha384(auth.author_key);
    guest.author_key_enabled = true;
  }
  guest.id_block = block;
  guest.id_key_digest = crypto::sha384(auth.id_key);
  return Status::success;
}

Status Firmware::launch_finish(std::uint64_t context, const LaunchFinish& finish) {
  auto* guest = find(context);
  if (guest == nullptr) return Status::invalid_guest;
  if (guest->state != GuestState::launch) return Status::invalid_guest_state;
  if (guest->asid == 0) return Status::inactive;
  if (finish.id_block_enabled) {
    if (const auto status = check_id_block(*guest, finish); status != Status::success) return status;
  }
  guest->host_data = finish.host_data;
  guest->vcek_disabled = finish.vcek_disabled;
  guest->state = GuestState::running;
  return Status::success;
}

Status Firmware::decommission(std::uint64_t context) {
  const auto* guest = find(context);
  if (guest == nullptr) return Status::invalid_guest;
  if (guest->asid != 0) {
    memory_->remove_key(guest->asid);
    dirty_asids_[guest->asid] = true;
  }
  CLOISTER_ASSERT(memory_->rmp().end_context(context));
  contexts_.erase(context);
  return Status::success;
}

void Firmware::df_flush() { dirty_asids_.clear(); }

Status Firmware::page_reclaim(std::uint64_t page) {
  if (!aligned(page) || !memory_->rmp().entry(page)) return Status::invalid_address;
  return memory_->rmp().reclaim(page) ? Status::success : Status::invalid_page_state;
}

std::optional<GuestStatus> Firmware::guest_status(std::uint64_t context) const {
  const auto found = contexts_.find(context);
  if (found == contexts_.end()) return std::nullopt;
  const auto& guest = *found->second;
  GuestStatus out{.state = guest.state, .asid = guest.asid, .policy = guest.policy, .launch_digest = guest.digest.value(),
                  .id_block = guest.id_block.has_value(), .author_key = guest.author_key_enabled};
  std::ranges::transform(guest.messages, out.message_counts.begin(), &MessageSequence::count);
  return out;
}

}  // namespace cloister::lab_snp
