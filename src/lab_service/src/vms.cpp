#include "cloister/lab_service/vms.hpp"

#include <algorithm>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "numbers.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using lab_snp::Fault;
using lab_snp::RmpStatus;
using measure::SnpPageType;

constexpr std::uint64_t kPage = measure::kSnpPageSize;
constexpr std::uint64_t kFirmwarePages = 4;
constexpr std::uint64_t kFirmwareGpa =
    (std::uint64_t{4} << 30) - kFirmwarePages * kPage;  // it ends at 4 GiB, as firmware does
constexpr std::uint64_t kSecretsGpa = 0x80D000;
constexpr std::uint64_t kCpuidGpa = 0x80E000;
constexpr std::uint64_t kPagesGpa = std::uint64_t{1} << 36;  // of the encrypted pages, 8 KiB each
constexpr std::uint64_t kPolicy = evidence::snp_policy::kSmt | evidence::snp_policy::kMustBeOne;
constexpr evidence::SnpCpuid kCpuid{.family = 0x19, .model = 0x11, .stepping = 1};

using PageContents = ByteArray<measure::kSnpPageSize>;

PageContents firmware_page(std::uint64_t number) {
  const auto text = "cloister/lab/1/SNP firmware, page " + std::to_string(number);
  PageContents out{};
  std::ranges::copy(as_bytes(text), out.begin());
  return out;
}

/// The save area of a virtual CPU (AMD64 APM volume 2, appendix B, Table B-4): EFER.SVME, SEV_FEATURES.SNPActive, and
/// RIP and RSP, which the lab begins at zero; everything else is zero.
PageContents vmsa_of(const Vcpu& vcpu) {
  PageContents out{};
  const auto put = [&out](std::size_t at, std::uint64_t value) {
    codec::Writer bytes;
    bytes.u64le(value);
    std::ranges::copy(bytes.bytes(), out.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0x0D0, 0x1000);  // EFER
  put(0x178, vcpu.rip);
  put(0x1D8, vcpu.rsp);
  put(0x3B0, 1);  // SEV_FEATURES
  return out;
}

std::string_view to_string(SnpPageType type) {
  switch (type) {
    case SnpPageType::normal:
      return "normal";
    case SnpPageType::vmsa:
      return "vmsa";
    case SnpPageType::zero:
      return "zero";
    case SnpPageType::unmeasured:
      return "unmeasured";
    case SnpPageType::secrets:
      return "secrets";
    case SnpPageType::cpuid:
      return "cpuid";
  }
  return "normal";
}

Error full() { return Error{Errc::conflict, "the machine's memory is full: delete a VM"}; }

}  // namespace

std::string_view to_string(VmState state) noexcept {
  switch (state) {
    case VmState::launching:
      return "launching";
    case VmState::running:
      return "running";
    case VmState::stopped:
      return "stopped";
  }
  return "stopped";
}

Digest32 measurement_of(const Vm& vm) {
  codec::cbor::Writer out;
  out.array(4).text("cloister/lab/1/vm").text(vm.id).text(vm.owner).array(vm.pages.size());
  for (const auto& [id, page] : vm.pages) {
    out.array(3).uint(id).bytes(crypto::sha256({page.sealed.iv, page.sealed.ciphertext})).bytes(page.sealed.mac);
  }
  return crypto::sha256(out.take());
}

Digest64 vm_report_data(const Nonce16& nonce, std::string_view vm_id, const Digest32& measurement) {
  codec::cbor::Writer out;
  out.array(4).text("cloister/lab/1/vm attest").bytes(nonce).text(vm_id).bytes(measurement);
  Digest64 data{};
  std::ranges::copy(crypto::sha256(out.take()), data.begin());
  return data;
}

std::vector<const Vm*> Vms::all() const {
  std::vector<const Vm*> out;
  for (const auto& [id, vm] : vms_) out.push_back(vm.get());
  return out;
}

Result<Vm*> Vms::find(std::string_view id) {
  const auto found = vms_.find(id);
  if (found == vms_.end()) return Error{Errc::not_found, "VM not found"};
  return found->second.get();
}

Result<Vm*> Vms::running(std::string_view id) {
  CLOISTER_TRY(vm, find(id));
  if (vm->state != VmState::running) return Error{Errc::conflict, "the VM is " + std::string{to_string(vm->state)}};
  return vm;
}

Result<Vm*> Vms::launch(std::string_view owner, bool step) {
  if (vms_.size() >= kMax) return Error{Errc::conflict, "there are 32 VMs, which is all that fit: delete one"};
  codec::cbor::Writer info;
  info.array(2).text("cloister/lab/1/vm id").uint(launched_);
  CLOISTER_TRY(id, machine_.keys.derive(info.take()));
  ++launched_;
  auto made = std::make_unique<Vm>();
  made->id = codec::to_hex(ByteView{id.reveal()}.first(6));
  made->owner = owner;
  made->created = clock_.now();
  made->asid = 1;
  while (std::ranges::any_of(vms_, [&](const auto& other) { return other.second->asid == made->asid; })) ++made->asid;
  plan_launch(*made);
  auto* vm = vms_.emplace(made->id, std::move(made)).first->second.get();
  while (!step && !vm->plan.done()) {
    const auto done = this->step(vm->id);
    if (!done) {
      const auto error = done.error();
      release(*vm);
      vms_.erase(vms_.find(vm->id));
      return error;
    }
  }
  logger_.info("vm_launched", {{"vm_id", vm->id},
                               {"owner", owner},
                               {"vcpu", vm->vcpu.id},
                               {"measurement", codec::to_hex(measurement_of(*vm))},
                               {"state", to_string(vm->state)}});
  return vm;
}

void Vms::plan_launch(Vm& vm) {
  auto& plan = vm.plan;
  plan.add("SNP_LAUNCH_START", [&vm]() -> Result<json::Object> {
    return json::Object{{"owner", vm.owner}, {"asid", vm.asid}, {"policy", hex_number(kPolicy)}};
  });
  const auto update = [this, &vm, &plan](SnpPageType type, std::uint64_t gpa, const PageContents& contents) {
    plan.add("SNP_LAUNCH_UPDATE", [this, &vm, type, gpa, contents] { return launch_page(vm, type, gpa, contents); });
  };
  for (std::uint64_t i = 0; i < kFirmwarePages; ++i)
    update(SnpPageType::normal, kFirmwareGpa + i * kPage, firmware_page(i));
  update(SnpPageType::secrets, kSecretsGpa, {});
  update(SnpPageType::cpuid, kCpuidGpa, {});
  update(SnpPageType::vmsa, measure::kSnpVmsaGpa, vmsa_of(vm.vcpu));
  plan.add("SNP_LAUNCH_FINISH", [&vm]() -> Result<json::Object> {
    vm.launch_digest = vm.digest.value();
    return json::Object{{"launch_digest", codec::to_hex(*vm.launch_digest)}};
  });
  plan.add("VMRUN", [&vm]() -> Result<json::Object> {
    vm.state = VmState::running;
    return json::Object{{"vcpu", vm.vcpu.id}, {"rip", hex_number(vm.vcpu.rip)}, {"rsp", hex_number(vm.vcpu.rsp)}};
  });
}

/// A page of memory: the host gives it to the guest, firmware measures it and makes it the guest's for good.
Result<json::Object> Vms::launch_page(Vm& vm, SnpPageType type, std::uint64_t gpa, ByteView contents) {
  const auto spa = free_page();
  if (!spa) return full();
  const auto given = machine_.rmp.rmpupdate(*spa, {.assigned = true, .immutable = true, .gpa = gpa, .asid = vm.asid});
  CLOISTER_ASSERT(given == RmpStatus::success);  // the page was free, and is small
  vm.digest.update(type, gpa, measure::contents_measured(type) ? contents : ByteView{});
  const auto completed =
      machine_.rmp.complete_launch(*spa, type == SnpPageType::vmsa, {lab_snp::vmpl_permission::kAll, 0, 0, 0});
  CLOISTER_ASSERT(completed);
  vm.launched.push_back({type, gpa, *spa, vm.digest.value()});
  return json::Object{{"type", to_string(type)},
                      {"gpa", hex_number(gpa)},
                      {"spa", hex_number(*spa)},
                      {"digest", codec::to_hex(vm.digest.value())}};
}

Result<Stepped> Vms::step(std::string_view id) {
  CLOISTER_TRY(vm, find(id));
  if (vm->plan.done())
    return Error{Errc::conflict, "there is nothing to step: the VM is " + std::string{to_string(vm->state)}};
  Stepped out;
  out.did = vm->plan.next();
  CLOISTER_TRY(fields, vm->plan.step());
  out.fields = fields;
  events_.add("snp", vm->id, out.did, std::move(fields));
  out.left = vm->plan.left();
  if (!vm->plan.done()) out.next = vm->plan.next();
  return out;
}

std::optional<std::uint64_t> Vms::free_page() const {
  for (std::uint64_t spa = 0; spa < machine_.rmp.pages() * kPage; spa += kPage) {
    if (state_of(*machine_.rmp.entry(spa)) == lab_snp::PageState::hypervisor) return spa;
  }
  return std::nullopt;
}

/// A page that the running guest accepts: RMPUPDATE by the host, PVALIDATE by the guest.
Result<std::uint64_t> Vms::give_page(Vm& vm, std::uint64_t gpa) {
  const auto spa = free_page();
  if (!spa) return full();
  const auto given = machine_.rmp.rmpupdate(*spa, {.assigned = true, .gpa = gpa, .asid = vm.asid});
  CLOISTER_ASSERT(given == RmpStatus::success);
  events_.add("snp", vm.id, "RMPUPDATE",
              {{"spa", hex_number(*spa)}, {"gpa", hex_number(gpa)}, {"asid", vm.asid}, {"assigned", true}});
  const auto accepted =
      machine_.rmp.pvalidate({.asid = vm.asid, .vmpl = 0, .gpa = gpa, .spa = *spa}, lab_snp::PageSize::small, true);
  CLOISTER_ASSERT(accepted.ok());
  events_.add("snp", vm.id, "PVALIDATE", {{"gpa", hex_number(gpa)}});
  return *spa;
}

void Vms::take_page(const Vm& vm, std::uint64_t spa) {
  CLOISTER_ASSERT(machine_.rmp.rmpupdate(spa, {}) == RmpStatus::success);
  events_.add("snp", vm.id, "RMPUPDATE", {{"spa", hex_number(spa)}, {"assigned", false}});
}

void Vms::release(Vm& vm) {
  for (const auto& page : vm.launched) take_page(vm, page.spa);
  for (const auto& [id, page] : vm.pages) {
    for (const auto spa : page.spas) take_page(vm, spa);
  }
  vm.launched.clear();
  vm.pages.clear();
  vm.plan = {};
  vm.state = VmState::stopped;
  events_.add("snp", vm.id, "SNP_DECOMMISSION");
}

Result<Vm*> Vms::stop(std::string_view id) {
  CLOISTER_TRY(vm, find(id));
  if (vm->state == VmState::stopped) return Error{Errc::conflict, "the VM is stopped already"};
  release(*vm);
  logger_.info("vm_stopped", {{"vm_id", vm->id}, {"owner", vm->owner}});
  return vm;
}

Result<void> Vms::remove(std::string_view id) {
  CLOISTER_TRY(vm, find(id));
  if (vm->state != VmState::stopped) release(*vm);
  logger_.info("vm_deleted", {{"vm_id", vm->id}, {"owner", vm->owner}});
  vms_.erase(vms_.find(id));
  return {};
}

Result<crypto::Secret<32>> Vms::page_key(const Vm& vm, std::uint64_t page) const {
  codec::cbor::Writer info;
  info.array(3).text("cloister/lab/1/vm page key").text(vm.id).uint(page);
  return machine_.keys.derive(info.take());
}

Result<const VmPage*> Vms::encrypt(std::string_view id, std::uint64_t page, const std::optional<std::string>& owner,
                                   ByteView contents) {
  CLOISTER_ASSERT(page <= kMaxPageId && !contents.empty() && contents.size() <= kMaxPageBytes);
  CLOISTER_TRY(vm, running(id));
  const auto found = vm->pages.find(page);
  if (owner && *owner != vm->owner) return Error{Errc::permission_denied, "owner: the VM is another's"};
  if (found != vm->pages.end() && !owner)
    return Error{Errc::permission_denied, "owner: the page is there; its owner must say so to overwrite it"};
  if (found == vm->pages.end() && vm->pages.size() >= kMaxPages)
    return Error{Errc::conflict, "page_id: a VM has at most 128 pages"};
  CLOISTER_TRY(key, page_key(*vm, page));
  VmPage fresh{.version = found == vm->pages.end() ? 1 : found->second.version + 1, .sealed = {}, .spas = {}};
  if (found != vm->pages.end()) fresh.spas = found->second.spas;
  const auto wanted = (contents.size() + kPage - 1) / kPage;
  while (fresh.spas.size() < wanted) {
    auto spa = give_page(*vm, kPagesGpa + page * kMaxPageBytes + fresh.spas.size() * kPage);
    if (!spa) {
      for (std::size_t i = found == vm->pages.end() ? 0 : found->second.spas.size(); i < fresh.spas.size(); ++i)
        take_page(*vm, fresh.spas[i]);
      return spa.error();
    }
    fresh.spas.push_back(*spa);
  }
  fresh.sealed = seal_page(key, {.vm = vm->id, .page = page, .version = fresh.version}, contents);
  const auto& kept = vm->pages[page] = std::move(fresh);
  const auto measurement = codec::to_hex(measurement_of(*vm));
  events_.add("snp", vm->id, "PAGE_ENCRYPTED",
              {{"page_id", page}, {"version", kept.version}, {"len", contents.size()}, {"measurement", measurement}});
  logger_.info("vm_page_encrypted", {{"vm_id", vm->id},
                                     {"owner", vm->owner},
                                     {"page_id", static_cast<std::int64_t>(page)},
                                     {"len", contents.size()},
                                     {"measurement", measurement}});
  return &kept;
}

Result<crypto::SecretBytes> Vms::decrypt(std::string_view id, std::uint64_t page, std::string_view owner,
                                         const std::optional<SealedPage>& given) {
  CLOISTER_TRY(vm, running(id));
  if (owner != vm->owner) return Error{Errc::permission_denied, "owner: the VM is another's"};
  const auto found = vm->pages.find(page);
  if (found == vm->pages.end()) return Error{Errc::not_found, "Page not found"};
  for (std::size_t i = 0; i < found->second.spas.size(); ++i) {
    const lab_snp::GuestView guest{
        .asid = vm->asid, .vmpl = 0, .gpa = kPagesGpa + page * kMaxPageBytes + i * kPage, .spa = found->second.spas[i]};
    CLOISTER_ASSERT(machine_.rmp.guest_access(guest, lab_snp::vmpl_permission::kRead) == Fault::none);
  }
  CLOISTER_TRY(key, page_key(*vm, page));
  auto opened = open_page(key, {.vm = vm->id, .page = page, .version = found->second.version},
                          given ? *given : found->second.sealed);
  events_.add("snp", vm->id, opened ? "PAGE_DECRYPTED" : "PAGE_REFUSED",
              {{"page_id", page}, {"version", found->second.version}});
  logger_.info(opened ? "vm_page_decrypted" : "vm_page_refused",
               {{"vm_id", vm->id}, {"owner", vm->owner}, {"page_id", static_cast<std::int64_t>(page)}});
  return opened;
}

Result<VmReport> Vms::attest(std::string_view id, const std::optional<Nonce16>& nonce) {
  CLOISTER_TRY(vm, running(id));
  VmReport out{.id = vm->id,
               .nonce = nonce ? *nonce : machine_.random.array<16>(),
               .measurement = measurement_of(*vm),
               .launch_digest = *vm->launch_digest,
               .report_data = {},
               .report = {}};
  out.report_data = vm_report_data(out.nonce, vm->id, out.measurement);
  codec::cbor::Writer identity;
  identity.array(3).text("cloister/lab/1/vm host data").text(vm->id).text(vm->owner);
  codec::cbor::Writer report_id;
  report_id.array(2).text("cloister/lab/1/vm report id").text(vm->id);
  CLOISTER_TRY(own_id, machine_.keys.derive(report_id.take()));
  const auto tcb = evidence::encode_snp_tcb(Machine::kTcb, Machine::kProduct);
  evidence::SnpReportBody body;
  body.version = 5;
  body.policy = kPolicy;
  body.platform_info = evidence::snp_platform::kSmt | evidence::snp_platform::kAliasCheckComplete;
  body.cpuid = kCpuid;
  body.mitigations = evidence::SnpMitigations{.launch = 1, .current = 1};
  body.report_data = out.report_data;
  body.measurement = out.launch_digest;
  body.host_data = crypto::sha256(identity.take());
  body.report_id = to_array<32>(own_id.reveal());
  body.current_version = body.committed_version = {.build = 21, .minor = 55, .major = 1};
  body.current_tcb = body.reported_tcb = body.committed_tcb = body.launch_tcb = tcb;
  body.chip_id = machine_.authority.chip_id(Machine::kProduct);
  CLOISTER_TRY(report, lab_snp::sign_report(
                           body, machine_.authority.secret(Machine::kProduct, evidence::VekKind::vcek, Machine::kTcb)));
  out.report = to_bytes(report);
  events_.add("snp", vm->id, "MSG_REPORT_REQ",
              {{"nonce", codec::to_hex(out.nonce)}, {"measurement", codec::to_hex(out.measurement)}});
  logger_.info("vm_attested", {{"vm_id", vm->id},
                               {"owner", vm->owner},
                               {"vcpu", vm->vcpu.id},
                               {"nonce", codec::to_hex(out.nonce)},
                               {"measurement", codec::to_hex(out.measurement)}});
  return out;
}

std::string Vms::owner_of(std::uint32_t asid) const {
  for (const auto& [id, vm] : vms_) {
    if (vm->asid == asid && vm->state != VmState::stopped) return id;
  }
  return {};
}

}  // namespace cloister::lab_service
