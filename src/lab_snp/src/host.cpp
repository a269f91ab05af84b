#include "cloister/lab_snp/host.hpp"

#include <algorithm>
#include <string>

namespace cloister::lab_snp {
namespace {

Result<void> succeeded(Status status, std::string_view command) {
  if (status == Status::success) return {};
  const auto code = status == Status::bad_measurement ? Errc::measurement_mismatch
                    : status == Status::bad_signature ? Errc::signature_invalid
                                                      : Errc::invalid_argument;
  return Error{code, std::string{command} + ": " + std::string{to_string(status)}};
}

}  // namespace

Result<std::uint64_t> Host::next_page() {
  if (!memory_.has(next_)) return Error{Errc::limit_exceeded, "SNP host: the machine has no memory left"};
  const auto out = next_;
  next_ += kSmallPage;
  return out;
}

Result<std::uint64_t> Host::firmware_page() {
  CLOISTER_TRY(spa, next_page());
  CLOISTER_ASSERT(memory_.rmp().rmpupdate(spa, {.assigned = true, .immutable = true}) == RmpStatus::success);
  return spa;
}

Result<void> Host::add_page(RunningGuest& guest, const measure::SnpLaunchPage& page) {
  CLOISTER_TRY(spa, next_page());
  Page contents{};
  std::ranges::copy(page.contents, contents.begin());
  if (page.type == measure::SnpPageType::cpuid) contents = encode_cpuid_page(cpuid_of(firmware_.platform().product));
  CLOISTER_ASSERT(memory_.host_write(spa, contents) == Fault::none);
  CLOISTER_ASSERT(memory_.rmp().rmpupdate(spa, {.assigned = true, .immutable = true, .gpa = page.gpa, .asid = guest.asid}) ==
                  RmpStatus::success);
  CLOISTER_CHECK(succeeded(firmware_.launch_update(guest.context, {.page = spa, .type = static_cast<std::uint8_t>(page.type), .permissions = {}}),
                           "SNP_LAUNCH_UPDATE"));
  if (page.type != measure::SnpPageType::vmsa) guest.pages[page.gpa] = spa;
  if (page.type == measure::SnpPageType::secrets) guest.secrets_gpa = page.gpa;
  return {};
}

Result<RunningGuest> Host::start(const GuestSetup& setup) {
  RunningGuest guest;
  guest.asid = setup.asid;
  CLOISTER_TRY(context, firmware_page());
  CLOISTER_TRY(response, firmware_page());
  CLOISTER_TRY(request, next_page());
  guest.context = context;
  guest.response = response;
  guest.request = request;
  CLOISTER_CHECK(succeeded(firmware_.gctx_create(context), "SNP_GCTX_CREATE"));
  CLOISTER_CHECK(succeeded(firmware_.launch_start(context, {.policy = setup.policy, .gosvw = {}}), "SNP_LAUNCH_START"));
  CLOISTER_CHECK(succeeded(firmware_.activate(context, setup.asid), "SNP_ACTIVATE"));
  CLOISTER_CHECK(measure::for_each_snp_page(setup.launch, [&](const measure::SnpLaunchPage& page) { return add_page(guest, page); }));
  CLOISTER_CHECK(succeeded(firmware_.launch_finish(context, setup.finish), "SNP_LAUNCH_FINISH"));
  return guest;
}

GuestView Host::view(const RunningGuest& guest, std::uint64_t gpa, unsigned vmpl) {
  return {.asid = guest.asid, .vmpl = vmpl, .gpa = gpa, .spa = guest.pages.at(gpa)};
}

std::optional<GuestDriver> Host::driver(const RunningGuest& guest, unsigned vmpl) const {
  if (!guest.secrets_gpa) return std::nullopt;
  auto secrets = memory_.guest_read(view(guest, *guest.secrets_gpa));
  if (!secrets.ok()) return std::nullopt;
  auto out = GuestDriver::from_secrets(secrets.page, vmpl);
  crypto::cleanse(secrets.page);
  return out;
}

GuestDriver::Carrier Host::carrier(const RunningGuest& guest) {
  return [this, context = guest.context, at = guest.request, to = guest.response](const Page& request, Page& response) {
    if (memory_.host_write(at, request) != Fault::none) return false;
    if (firmware_.guest_request(context, at, to) != Status::success) return false;
    response = memory_.host_read(to);
    return true;
  };
}

}  // namespace cloister::lab_snp
