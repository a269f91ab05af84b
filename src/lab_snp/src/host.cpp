#include "cloister/lab_snp/host.hpp"

#include <algorithm>
#include <string>

namespace cloister::lab_snp {
namespace {

Error refused(Status status, std::string_view command) {
  const auto code = status == Status::bad_measurement ? Errc::measurement_mismatch
                    : status == Status::bad_signature ? Errc::signature_invalid
                                                      : Errc::invalid_argument;
  return Error{code, std::string{command} + ": " + std::string{to_string(status)}};
}

Result<void> succeeded(Status status, std::string_view command) {
  if (status != Status::success) return refused(status, command);
  return {};
}

}  // namespace

Result<std::uint64_t> Host::next_page() {
  if (!free_.empty()) return free_.extract(free_.begin()).value();
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

/// Whosever it was: what firmware keeps it gives back first.
void Host::free_page(std::uint64_t spa) {
  if (memory_.rmp().entry(spa)->immutable) CLOISTER_ASSERT(firmware_.page_reclaim(spa) == Status::success);
  CLOISTER_ASSERT(memory_.rmp().rmpupdate(spa, {}) == RmpStatus::success);
  free_.insert(spa);
}

Result<HostedGuest> Host::create(const LaunchStart& start) {
  CLOISTER_TRY(context, firmware_page());
  auto guest = begin(context, start);
  if (!guest) {
    (void)firmware_.decommission(context);  // where it came so far
    free_page(context);
  }
  return guest;
}

Result<HostedGuest> Host::begin(std::uint64_t context, const LaunchStart& start) {
  CLOISTER_CHECK(succeeded(firmware_.gctx_create(context), "SNP_GCTX_CREATE"));
  CLOISTER_CHECK(succeeded(firmware_.launch_start(context, start), "SNP_LAUNCH_START"));
  CLOISTER_TRY(request, next_page());
  auto response = firmware_page();
  if (!response) {
    free_.insert(request);
    return response.error();
  }
  return HostedGuest{
      .context = context, .request = request, .response = *response, .pages = {}, .vcpus = {}, .secrets_gpa = {}};
}

Result<void> Host::activate(HostedGuest& guest, std::uint32_t asid) {
  CLOISTER_CHECK(succeeded(firmware_.activate(guest.context, asid), "SNP_ACTIVATE"));
  guest.asid = asid;
  return {};
}

Result<std::uint64_t> Host::add_page(HostedGuest& guest, const measure::SnpLaunchPage& page) {
  const bool vmsa = page.type == measure::SnpPageType::vmsa;
  if (!vmsa && guest.pages.contains(page.gpa))
    return refused(Status::invalid_page_state, "SNP_LAUNCH_UPDATE");  // its page is measured
  CLOISTER_TRY(spa, next_page());
  Page contents{};
  std::ranges::copy(page.contents, contents.begin());
  if (page.type == measure::SnpPageType::cpuid) contents = encode_cpuid_page(cpuid_of(firmware_.platform().product));
  CLOISTER_ASSERT(memory_.host_write(spa, contents) == Fault::none);
  // An address that is none's, or a guest without ASID, leaves it the host's: firmware says so.
  (void)memory_.rmp().rmpupdate(spa, {.assigned = true, .immutable = true, .gpa = page.gpa, .asid = guest.asid});
  const auto status = firmware_.launch_update(
      guest.context, {.page = spa, .type = static_cast<std::uint8_t>(page.type), .permissions = {}});
  if (status != Status::success) {
    free_page(spa);
    return refused(status, "SNP_LAUNCH_UPDATE");
  }
  if (vmsa) {
    guest.vcpus.push_back(spa);
  } else {
    guest.pages[page.gpa] = spa;
  }
  if (page.type == measure::SnpPageType::secrets) guest.secrets_gpa = page.gpa;
  return spa;
}

Result<void> Host::finish(const HostedGuest& guest, const LaunchFinish& finish) {
  return succeeded(firmware_.launch_finish(guest.context, finish), "SNP_LAUNCH_FINISH");
}

Result<HostedGuest> Host::start(const GuestSetup& setup) {
  CLOISTER_TRY(guest, create({.policy = setup.policy, .gosvw = {}}));
  auto done = activate(guest, setup.asid);
  if (done) {
    done = measure::for_each_snp_page(setup.launch, [&](const measure::SnpLaunchPage& page) -> Result<void> {
      CLOISTER_CHECK(add_page(guest, page));
      return {};
    });
  }
  if (done) done = finish(guest, setup.finish);
  if (done) return guest;
  end(guest);
  return done.error();
}

Result<std::uint64_t> Host::give_page(HostedGuest& guest, std::uint64_t gpa) {
  CLOISTER_ASSERT(gpa % kSmallPage == 0 && !guest.pages.contains(gpa));
  CLOISTER_TRY(spa, next_page());
  CLOISTER_ASSERT(memory_.rmp().rmpupdate(spa, {.assigned = true, .gpa = gpa, .asid = guest.asid}) ==
                  RmpStatus::success);
  CLOISTER_ASSERT(
      memory_.rmp().pvalidate({.asid = guest.asid, .vmpl = 0, .gpa = gpa, .spa = spa}, PageSize::small, true).ok());
  guest.pages[gpa] = spa;
  return spa;
}

void Host::take_page(HostedGuest& guest, std::uint64_t gpa) {
  const auto page = guest.pages.find(gpa);
  CLOISTER_ASSERT(page != guest.pages.end());
  free_page(page->second);
  guest.pages.erase(page);
}

void Host::end(const HostedGuest& guest) {
  CLOISTER_ASSERT(firmware_.decommission(guest.context) == Status::success);
  firmware_.df_flush();
  for (const auto& [gpa, spa] : guest.pages) free_page(spa);
  for (const auto spa : guest.vcpus) free_page(spa);
  free_page(guest.context);
  free_page(guest.response);
  free_.insert(guest.request);
}

GuestView Host::view(const HostedGuest& guest, std::uint64_t gpa, unsigned vmpl) {
  return {.asid = guest.asid, .vmpl = vmpl, .gpa = gpa, .spa = guest.pages.at(gpa)};
}

std::optional<GuestDriver> Host::driver(const HostedGuest& guest, unsigned vmpl) const {
  if (!guest.secrets_gpa) return std::nullopt;
  auto secrets = memory_.guest_read(view(guest, *guest.secrets_gpa));
  if (!secrets.ok()) return std::nullopt;
  auto out = GuestDriver::from_secrets(secrets.page, vmpl);
  crypto::cleanse(secrets.page);
  return out;
}

GuestDriver::Carrier Host::carrier(const HostedGuest& guest) {
  return [this, context = guest.context, at = guest.request, to = guest.response](const Page& request, Page& response) {
    if (memory_.host_write(at, request) != Fault::none) return false;
    if (firmware_.guest_request(context, at, to) != Status::success) return false;
    response = memory_.host_read(to);
    return true;
  };
}

}  // namespace cloister::lab_snp
