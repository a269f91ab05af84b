#include "cloister/lab_service/vms.hpp"

#include <algorithm>
#include <utility>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "numbers.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using measure::SnpPageType;

constexpr std::uint64_t kPage = lab_snp::kSmallPage;
constexpr std::uint64_t kPagesGpa = std::uint64_t{1} << 36;  // of the encrypted pages, 8 KiB each
constexpr std::size_t kMaxPieces = Vms::kMaxPageBytes / kPage;
constexpr std::uint32_t kVcpus = 1;

// Of a VMSA (AMD64 APM volume 2, table B-4).
constexpr std::size_t kVmsaCsBase = 0x18;
constexpr std::size_t kVmsaRip = 0x178;
constexpr std::size_t kVmsaSevFeatures = 0x3B0;

VmEntry entry_of(ByteView vmsa) {
  const auto at = [vmsa](std::size_t offset) { return codec::Reader{vmsa.subspan(offset)}.u64le().value(); };
  return {.cs_base = at(kVmsaCsBase), .rip = at(kVmsaRip), .sev_features = at(kVmsaSevFeatures)};
}

std::uint64_t gpa_of(std::uint64_t page, std::size_t piece) {
  return kPagesGpa + page * Vms::kMaxPageBytes + piece * kPage;
}
std::size_t pieces_of(std::size_t bytes) { return (bytes + kPage - 1) / kPage; }

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

/// Of the host's refusals, that of memory is told as what a client can do about it.
Error told(const Error& error) {
  if (error.code() != Errc::limit_exceeded) return error;
  return Error{Errc::conflict, "the machine's memory is full: delete a VM"};
}

/// A refusal of what this member of the request asked for.
Error told(const Error& error, std::string_view member) {
  const auto out = told(error);
  return out.code() == Errc::conflict ? out : Error{Errc::invalid_argument, std::string{member} + ": " + out.detail()};
}

constexpr std::string_view kPolicyRule =
    ": bits 16 (SMT, which is on) and 17 set, none above 25, and an ABI version of at most 1.58 expected";

/// Which member of the request SNP_LAUNCH_FINISH refused.
std::string_view refused_by_finish(const Error& error, const LaunchOptions& options) {
  if (error.code() == Errc::signature_invalid) return "id_auth";
  if (error.code() == Errc::measurement_mismatch || !options.id_block) return "id_block";
  const auto block = lab_snp::parse_id_block(options.id_block->block);
  const bool fits = block.policy == options.policy && block.version == lab_snp::kIdBlockVersion;
  return fits ? "id_auth" : "id_block";  // an algorithm is the authentication's
}

/// Only what a machine has committed can be reported.
Result<void> check_tcb(const SnpMachine& machine, const evidence::SnpTcb& wanted) {
  std::string gaps;
  for (const auto& gap : evidence::snp_tcb_gaps(machine.firmware.platform().committed, wanted)) {
    gaps += (gaps.empty() ? "" : ", ") + std::string{gap.component} + " at most " + std::to_string(gap.have);
  }
  if (gaps.empty()) return {};
  return Error{Errc::invalid_argument, "tcb: " + gaps + " expected, which is what the machine committed"};
}

/// Host data of a VM's: whose it is, as the host says.
Digest32 host_data_of(const Vm& vm) {
  codec::cbor::Writer identity;
  identity.array(3).text("cloister/lab/1/vm host data").text(vm.id).text(vm.owner);
  return crypto::sha256(identity.take());
}

json::Value tcb_text(const evidence::SnpTcb& tcb, evidence::SnpProduct product) {
  return codec::to_hex(evidence::encode_snp_tcb(tcb, product));
}

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

const Bytes& vm_firmware() {
  static const auto image = lab_snp::small_firmware(1);
  return image;
}

measure::SnpLaunch vm_launch(evidence::SnpProduct product) {
  return {
      .firmware = vm_firmware(), .kernel = {}, .vcpus = kVcpus, .vcpu_signature = lab_snp::cpuid_of(product)[1].eax};
}

Digest32 measurement_of(const Vm& vm) {
  codec::cbor::Writer out;
  out.array(4).text("cloister/lab/1/vm").text(vm.id).text(vm.owner).array(vm.pages.size());
  for (const auto& [id, page] : vm.pages) {
    out.array(3).uint(id).bytes(page.sealed).bytes(page.mac);
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

std::uint32_t Vms::free_asid(evidence::SnpProduct product) const {
  std::uint32_t asid = 1;
  while (std::ranges::any_of(vms_, [&](const auto& other) {
    return other.second->options.product == product && other.second->asid == asid;
  })) {
    ++asid;
  }
  return asid;
}

Result<Vm*> Vms::launch(std::string_view owner, bool step, const LaunchOptions& options) {
  if (vms_.size() >= kMax) return Error{Errc::conflict, "there are 32 VMs, which is all that fit: delete one"};
  auto& machine = machine_.snp(options.product);
  if (options.reported_tcb) CLOISTER_CHECK(check_tcb(machine, *options.reported_tcb));
  codec::cbor::Writer info;
  info.array(2).text("cloister/lab/1/vm id").uint(launched_);
  CLOISTER_TRY(id, machine_.keys.derive(info.take()));
  ++launched_;
  auto made = std::make_unique<Vm>();
  made->id = codec::to_hex(ByteView{id.reveal()}.first(6));
  made->owner = owner;
  made->created = clock_.now();
  made->options = options;
  made->machine = &machine;
  made->asid = free_asid(options.product);
  plan_launch(*made);
  auto* vm = vms_.emplace(made->id, std::move(made)).first->second.get();
  while (!step && !vm->plan.done()) {
    const auto done = this->step(vm->id);
    if (!done) {
      vms_.erase(vms_.find(vm->id));
      return done.error();
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
  plan.add("SNP_LAUNCH_START", [this, &vm] { return start_launch(vm); });
  const auto planned = measure::for_each_snp_page(
      vm_launch(vm.options.product), [&](const measure::SnpLaunchPage& page) -> Result<void> {
        if (page.type == SnpPageType::vmsa) vm.entry = entry_of(page.contents);
        plan.add("SNP_LAUNCH_UPDATE",
                 [this, &vm, type = page.type, gpa = page.gpa, contents = to_bytes(page.contents)] {
                   return launch_page(vm, type, gpa, contents);
                 });
        return {};
      });
  CLOISTER_ASSERT(planned.ok());  // the firmware is the lab's own
  plan.add("SNP_LAUNCH_FINISH", [this, &vm] { return finish_launch(vm); });
  // Here nothing of the launch can be refused any more, so that who is refused changes nothing for others.
  if (vm.options.reported_tcb) plan.add("SNP_CONFIG", [&vm] { return configure(vm); });
  plan.add("VMRUN", [&vm] { return run(vm); });
}

Result<json::Object> Vms::start_launch(Vm& vm) {
  auto guest = vm.machine->host.create({.policy = vm.options.policy, .gosvw = {}});
  if (!guest) {
    const auto refused = told(guest.error(), "policy");
    return refused.code() == Errc::conflict ? refused
                                            : Error{refused.code(), refused.detail() + std::string{kPolicyRule}};
  }
  vm.guest = std::move(*guest);
  events_.add("snp", vm.id, "SNP_GCTX_CREATE", {{"spa", hex_number(vm.guest->context)}});
  return json::Object{{"owner", vm.owner},
                      {"product", evidence::to_string(vm.options.product)},
                      {"policy", hex_number(vm.options.policy)},
                      {"launch_tcb", tcb_text(vm.machine->firmware.platform().current, vm.options.product)}};
}

/// A page of memory: the host gives it to the guest, firmware measures it and makes it the guest's for good.
Result<json::Object> Vms::launch_page(Vm& vm, SnpPageType type, std::uint64_t gpa, ByteView contents) {
  auto& host = vm.machine->host;
  if (vm.guest->asid == 0) {
    if (const auto active = host.activate(*vm.guest, vm.asid); !active) return told(active.error());
    events_.add("snp", vm.id, "SNP_ACTIVATE", {{"asid", vm.asid}});
  }
  const auto spa = host.add_page(*vm.guest, {type, gpa, contents});
  if (!spa) return told(spa.error());
  events_.add("snp", vm.id, "RMPUPDATE",
              {{"spa", hex_number(*spa)},
               {"gpa", hex_number(gpa)},
               {"asid", vm.asid},
               {"assigned", true},
               {"immutable", true}});
  vm.launched.push_back({type, gpa, *spa, status_of(vm)->launch_digest});
  return json::Object{{"type", to_string(type)},
                      {"gpa", hex_number(gpa)},
                      {"spa", hex_number(*spa)},
                      {"digest", codec::to_hex(vm.launched.back().digest)}};
}

Result<json::Object> Vms::finish_launch(Vm& vm) {
  lab_snp::LaunchFinish finish;
  finish.host_data = host_data_of(vm);
  if (const auto& given = vm.options.id_block) {
    finish.id_block_enabled = true;
    finish.author_key_enabled = given->author_key;
    finish.id_block = given->block;
    finish.id_auth = given->auth;
  }
  if (const auto finished = vm.machine->host.finish(*vm.guest, finish); !finished) {
    const auto refused = told(finished.error(), refused_by_finish(finished.error(), vm.options));
    if (finished.error().code() != Errc::measurement_mismatch) return refused;
    return Error{refused.code(),
                 refused.detail() + ": the launch digest is " + codec::to_hex(status_of(vm)->launch_digest)};
  }
  vm.launch_digest = status_of(vm)->launch_digest;
  return json::Object{{"launch_digest", codec::to_hex(*vm.launch_digest)},
                      {"host_data", codec::to_hex(finish.host_data)},
                      {"id_block", finish.id_block_enabled},
                      {"author_key", finish.id_block_enabled && finish.author_key_enabled}};
}

Result<json::Object> Vms::configure(const Vm& vm) {
  const auto status = vm.machine->firmware.set_reported(*vm.options.reported_tcb);
  if (status != lab_snp::Status::success) {
    return Error{Errc::invalid_argument, "tcb: SNP_CONFIG: " + std::string{lab_snp::to_string(status)}};
  }
  return json::Object{{"reported_tcb", tcb_text(*vm.options.reported_tcb, vm.options.product)}};
}

/// The guest begins, and its driver takes its key out of the secrets page.
Result<json::Object> Vms::run(Vm& vm) {
  vm.driver = vm.machine->host.driver(*vm.guest);
  CLOISTER_ASSERT(vm.driver.has_value());  // the firmware has a secrets page
  vm.state = VmState::running;
  return json::Object{{"vcpu", vm.vcpu.id},
                      {"cs_base", hex_number(vm.entry.cs_base)},
                      {"rip", hex_number(vm.entry.rip)},
                      {"sev_features", hex_number(vm.entry.sev_features)}};
}

Result<Stepped> Vms::step(std::string_view id) {
  CLOISTER_TRY(vm, find(id));
  if (vm->plan.done())
    return Error{Errc::conflict, "there is nothing to step: the VM is " + std::string{to_string(vm->state)}};
  Stepped out;
  out.did = vm->plan.next();
  auto fields = vm->plan.step();
  if (!fields) {
    events_.add("snp", vm->id, out.did, {{"refused", fields.error().detail()}});
    release(*vm);
    logger_.info("vm_launch_refused",
                 {{"vm_id", vm->id}, {"owner", vm->owner}, {"step", out.did}, {"error", fields.error().detail()}});
    return fields.error();
  }
  out.fields = *fields;
  events_.add("snp", vm->id, out.did, *std::move(fields));
  out.left = vm->plan.left();
  if (!vm->plan.done()) out.next = vm->plan.next();
  return out;
}

std::optional<lab_snp::GuestStatus> Vms::status_of(const Vm& vm) {
  if (!vm.guest) return std::nullopt;
  return vm.machine->firmware.guest_status(vm.guest->context);
}

void Vms::take_memory(Vm& vm, std::uint64_t gpa) {
  const auto spa = vm.guest->pages.at(gpa);
  vm.machine->host.take_page(*vm.guest, gpa);
  events_.add("snp", vm.id, "RMPUPDATE", {{"spa", hex_number(spa)}, {"assigned", false}});
}

/// Memory for an encrypted page, as much as it has not: RMPUPDATE by the host, PVALIDATE by the guest. All or nothing.
Result<void> Vms::give_memory(Vm& vm, std::uint64_t page, std::size_t count) {
  std::vector<std::uint64_t> given;
  for (std::size_t i = 0; i < count; ++i) {
    const auto gpa = gpa_of(page, i);
    if (vm.guest->pages.contains(gpa)) continue;
    const auto spa = vm.machine->host.give_page(*vm.guest, gpa);
    if (!spa) {
      for (const auto one : given) take_memory(vm, one);
      return told(spa.error());
    }
    given.push_back(gpa);
    events_.add("snp", vm.id, "RMPUPDATE",
                {{"spa", hex_number(*spa)}, {"gpa", hex_number(gpa)}, {"asid", vm.asid}, {"assigned", true}});
    events_.add("snp", vm.id, "PVALIDATE", {{"gpa", hex_number(gpa)}});
  }
  return {};
}

/// The guest writes, and zeros behind: nothing of what was there before is left.
void Vms::store(const Vm& vm, std::uint64_t page, ByteView contents) {
  for (std::size_t i = 0; i < kMaxPieces && vm.guest->pages.contains(gpa_of(page, i)); ++i) {
    const auto rest = contents.subspan(std::min(contents.size(), i * kPage));
    lab_snp::Page plain{};
    std::ranges::copy(rest.first(std::min<std::size_t>(rest.size(), kPage)), plain.begin());
    const auto fault = vm.machine->memory.guest_write(lab_snp::Host::view(*vm.guest, gpa_of(page, i)), plain);
    crypto::cleanse(plain);
    CLOISTER_ASSERT(fault == lab_snp::Fault::none);  // the guest validated it, and its host leaves it alone
  }
}

Result<crypto::SecretBytes> Vms::load(const Vm& vm, std::uint64_t page, std::size_t size) {
  crypto::SecretBytes out{size};
  for (std::size_t i = 0; i < pieces_of(size); ++i) {
    auto loaded = vm.machine->memory.guest_read(lab_snp::Host::view(*vm.guest, gpa_of(page, i)));
    if (!loaded.ok()) return Error{Errc::decryption_failed, "the page does not open in the guest's memory"};
    const auto part = std::min<std::size_t>(size - i * kPage, kPage);
    std::ranges::copy(ByteView{loaded.page}.first(part), out.writable().subspan(i * kPage).begin());
    crypto::cleanse(loaded.page);
  }
  return out;
}

/// Its keys are gone, and its memory is the host's again.
void Vms::release(Vm& vm) {
  vm.driver.reset();
  vm.page_root.reset();
  vm.plan = {};
  vm.state = VmState::stopped;
  vm.pages.clear();
  vm.launched.clear();
  if (!vm.guest) return;
  const auto guest = *std::exchange(vm.guest, std::nullopt);
  vm.machine->host.end(guest);
  events_.add("snp", vm.id, "SNP_DECOMMISSION", {{"spa", hex_number(guest.context)}});
  const auto back = [&](std::uint64_t spa) {
    events_.add("snp", vm.id, "RMPUPDATE", {{"spa", hex_number(spa)}, {"assigned", false}});
  };
  for (const auto& [gpa, spa] : guest.pages) back(spa);
  for (const auto spa : guest.vcpus) back(spa);
}

Vms::~Vms() {
  for (const auto& [id, vm] : vms_) release(*vm);
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

Result<lab_snp::Answered<crypto::Secret<32>>> Vms::ask_for_key(Vm& vm, const lab_snp::KeyRequest& request) {
  CLOISTER_TRY(answer, vm.driver->derived_key(request, vm.machine->host.carrier(*vm.guest)));
  events_.add("snp", vm.id, "MSG_KEY_REQ",
              {{"root", request.root == lab_snp::RootKey::vmrk ? "vmrk" : "vek"},
               {"fields", hex_number(request.fields)},
               {"vmpl", request.vmpl},
               {"status", lab_snp::to_string(answer.status)},
               {"message_count", vm.driver->messages().count()}});
  return answer;
}

/// The guest asks firmware once for the key of which those of its pages are.
Result<crypto::Secret<32>> Vms::page_key(Vm& vm, std::uint64_t page) {
  if (!vm.page_root) {
    CLOISTER_TRY(answer,
                 ask_for_key(vm, {.fields = lab_snp::guest_field::kPolicy | lab_snp::guest_field::kMeasurement}));
    if (!answer.value) return Error{Errc::internal, "MSG_KEY_REQ: " + std::string{lab_snp::to_string(answer.status)}};
    vm.page_root = std::move(*answer.value);
  }
  codec::cbor::Writer info;
  info.array(3).text("cloister/lab/1/vm page key").text(vm.id).uint(page);
  return crypto::hkdf32({}, vm.page_root->reveal(), info.take());
}

Result<EncryptedPage> Vms::encrypt(std::string_view id, std::uint64_t page, const std::optional<std::string>& owner,
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
  CLOISTER_CHECK(give_memory(*vm, page, pieces_of(contents.size())));
  store(*vm, page, contents);
  EncryptedPage out{.version = found == vm->pages.end() ? 1 : found->second.version + 1, .sealed = {}};
  out.sealed = seal_page(key, {.vm = vm->id, .page = page, .version = out.version}, contents);
  vm->pages[page] = {.version = out.version,
                     .size = contents.size(),
                     .sealed = crypto::sha256({out.sealed.iv, out.sealed.ciphertext}),
                     .mac = out.sealed.mac};
  const auto measurement = codec::to_hex(measurement_of(*vm));
  events_.add("snp", vm->id, "PAGE_ENCRYPTED",
              {{"page_id", page}, {"version", out.version}, {"len", contents.size()}, {"measurement", measurement}});
  logger_.info("vm_page_encrypted", {{"vm_id", vm->id},
                                     {"owner", vm->owner},
                                     {"page_id", static_cast<std::int64_t>(page)},
                                     {"len", contents.size()},
                                     {"measurement", measurement}});
  return out;
}

Result<crypto::SecretBytes> Vms::decrypt(std::string_view id, std::uint64_t page, std::string_view owner,
                                         const std::optional<SealedPage>& given) {
  CLOISTER_TRY(vm, running(id));
  if (owner != vm->owner) return Error{Errc::permission_denied, "owner: the VM is another's"};
  const auto found = vm->pages.find(page);
  if (found == vm->pages.end()) return Error{Errc::not_found, "Page not found"};
  const auto version = found->second.version;
  CLOISTER_TRY(key, page_key(*vm, page));
  auto opened = given ? open_page(key, {.vm = vm->id, .page = page, .version = version}, *given)
                      : load(*vm, page, found->second.size);
  events_.add("snp", vm->id, opened ? "PAGE_DECRYPTED" : "PAGE_REFUSED", {{"page_id", page}, {"version", version}});
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
  CLOISTER_TRY(answer, vm->driver->report({.report_data = out.report_data, .vmpl = 0, .key = {}},
                                          vm->machine->host.carrier(*vm->guest)));
  if (!answer.value) return Error{Errc::internal, "MSG_REPORT_REQ: " + std::string{lab_snp::to_string(answer.status)}};
  out.report = to_bytes(*answer.value);
  events_.add("snp", vm->id, "MSG_REPORT_REQ",
              {{"nonce", codec::to_hex(out.nonce)},
               {"measurement", codec::to_hex(out.measurement)},
               {"message_count", vm->driver->messages().count()}});
  logger_.info("vm_attested", {{"vm_id", vm->id},
                               {"owner", vm->owner},
                               {"vcpu", vm->vcpu.id},
                               {"nonce", codec::to_hex(out.nonce)},
                               {"measurement", codec::to_hex(out.measurement)}});
  return out;
}

Result<lab_snp::Answered<crypto::Secret<32>>> Vms::derived_key(std::string_view id,
                                                               const lab_snp::KeyRequest& request) {
  CLOISTER_TRY(vm, running(id));
  CLOISTER_TRY(answer, ask_for_key(*vm, request));
  logger_.info("vm_key_derived",
               {{"vm_id", vm->id}, {"owner", vm->owner}, {"status", lab_snp::to_string(answer.status)}});
  return answer;
}

std::string Vms::owner_of(evidence::SnpProduct product, std::uint32_t asid) const {
  for (const auto& [id, vm] : vms_) {
    if (vm->options.product == product && vm->guest && vm->guest->asid == asid) return id;
  }
  return {};
}

std::string Vms::owner_of_firmware_page(evidence::SnpProduct product, std::uint64_t spa) const {
  for (const auto& [id, vm] : vms_) {
    if (vm->options.product == product && vm->guest && (vm->guest->context == spa || vm->guest->response == spa))
      return id;
  }
  return {};
}

}  // namespace cloister::lab_service
