// Random sequences of what hosts and guests can do, against the RMP and the launch commands: what must hold after each step.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "cloister/codec/text.hpp"
#include "machine.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::size_t kPages = 24;
constexpr std::uint64_t kRequest = kPages * kSmallPage;  // beyond what the walk touches
constexpr std::uint64_t kResponse = kRequest + kSmallPage;
constexpr std::uint32_t kAsids = 3;
constexpr std::uint64_t kGpas = 4;  // pages 0 to 3 of each guest

class World {
 public:
  explicit World(std::uint32_t seed) : random_{seed} {
    EXPECT_EQ(machine_.memory.rmp().rmpupdate(kResponse, {.assigned = true, .immutable = true}), RmpStatus::success);
  }

  void step() {
    switch (pick(13)) {
      case 0: case 1: return host_update();
      case 2: (void)machine_.memory.host_write(spa(), page(static_cast<std::uint8_t>(pick(256)))); return;
      case 3: return create();
      case 4: (void)machine_.firmware.launch_start(context(), {.policy = pick(4) == 0 ? 0 : LaunchStart{}.policy, .gosvw = {}}); return;
      case 5: (void)machine_.firmware.activate(context(), pick(kAsids + 1)); return;
      case 6: case 7: return launch_update();
      case 8: return pick(3) == 0 ? launch_finish() : launch_update();
      case 9: return validate();
      case 10: return guest_write();
      case 11: return ask_for_key();
      case 12: return take_back();
    }
  }

  void check() {
    one_owner();
    contexts_are_context_pages();
    digests_are_final();
    guests_find_what_they_wrote();
  }

 private:
  [[nodiscard]] std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  [[nodiscard]] std::uint64_t spa() { return std::uint64_t{pick(kPages)} * kSmallPage; }
  [[nodiscard]] std::uint64_t gpa() { return std::uint64_t{pick(kGpas)} * kSmallPage; }
  [[nodiscard]] std::vector<std::uint64_t> contexts() const {
    std::vector<std::uint64_t> out;
    for (std::uint64_t at = 0; at < kPages * kSmallPage; at += kSmallPage) {
      if (machine_.firmware.guest_status(at)) out.push_back(at);
    }
    return out;
  }
  /// Mostly one that is there.
  [[nodiscard]] std::uint64_t context() {
    const auto known = contexts();
    return known.empty() || pick(8) == 0 ? spa() : known[pick(static_cast<std::uint32_t>(known.size()))];
  }
  /// Mostly one in this state.
  [[nodiscard]] std::uint64_t page_in(PageState state) {
    std::vector<std::uint64_t> known;
    for (std::uint64_t at = 0; at < kPages * kSmallPage; at += kSmallPage) {
      if (state_of(*machine_.memory.rmp().entry(at)) == state) known.push_back(at);
    }
    return known.empty() || pick(8) == 0 ? spa() : known[pick(static_cast<std::uint32_t>(known.size()))];
  }
  /// A guest as it sees a page: mostly its own, at its address.
  [[nodiscard]] GuestView view_of(std::uint64_t at) {
    const auto entry = *machine_.memory.rmp().entry(at);
    if (pick(4) == 0) return {.asid = 1 + pick(kAsids), .gpa = gpa(), .spa = at};
    return {.asid = entry.asid, .gpa = entry.gpa, .spa = at};
  }
  static Page page(std::uint8_t byte) {
    Page out;
    out.fill(byte);
    return out;
  }

  /// A few guests at a time, so that memory is left for their pages.
  void create() {
    if (contexts().size() < kAsids + 1) (void)machine_.firmware.gctx_create(page_in(PageState::firmware));
  }
  void host_update() {
    const bool assigned = pick(4) != 0;
    const auto asid = pick(64) == 0 ? pick(kAsids + 1) : machine_.firmware.guest_status(context()).value_or(GuestStatus{}).asid;
    if (asid == 0 && pick(4) != 0) return;
    const auto at = pick(3) == 0 ? spa() : page_in(PageState::hypervisor);
    const Rmp::Update update{.assigned = assigned, .immutable = pick(2) == 0, .gpa = asid == 0 ? 0 : gpa(), .asid = asid};
    if (machine_.memory.rmp().rmpupdate(at, update) == RmpStatus::success) written_.erase(at);
  }
  void launch_update() {
    const auto at = page_in(PageState::pre_guest);
    const auto type = static_cast<std::uint8_t>(pick(3) == 0 ? 5 : pick(8));
    if (machine_.firmware.launch_update(context(), {.page = at, .type = type, .permissions = {}}) == Status::success) written_.erase(at);
  }
  void launch_finish() {
    const auto of = context();
    const bool closed = pick(2) == 0;
    if (machine_.firmware.launch_finish(of, {.vcek_disabled = closed, .id_block = {}, .id_auth = {}, .host_data = {}}) != Status::success) return;
    ++launched;
    final_[of] = machine_.firmware.guest_status(of)->launch_digest;
    closed_[of] = closed;
  }
  void validate() {
    const auto view = view_of(page_in(PageState::guest_invalid));
    if (machine_.memory.rmp().pvalidate(view, PageSize::small, pick(4) != 0).ok()) written_.erase(view.spa);
  }
  void guest_write() {
    auto view = view_of(page_in(PageState::guest_valid));
    view.vmpl = pick(4) == 0 ? 1U : 0U;
    if (machine_.memory.rmp().guest_access(view, vmpl_permission::kWrite) != Fault::none || !has_key(view.asid)) return;
    const auto byte = static_cast<std::uint8_t>(pick(256));
    ASSERT_EQ(machine_.memory.guest_write(view, page(byte)), Fault::none);
    written_[view.spa] = {view, byte};
  }
  [[nodiscard]] bool has_key(std::uint32_t asid) const {
    const auto known = contexts();
    return std::ranges::any_of(known, [&](std::uint64_t at) { return machine_.firmware.guest_status(at)->asid == asid; });
  }
  /// With a message that does open, where the guest's secrets can be read: nothing but a running guest has an answer, and
  /// none whose launch closed the VCEK has a key of it.
  void ask_for_key() {
    const auto of = context();
    const auto status = machine_.firmware.guest_status(of);
    const auto secrets = status ? secrets_of(status->asid) : std::nullopt;
    if (!secrets) return;
    const auto number = status->message_counts[0] + 1;
    const auto sealed = seal_message(secrets->vmpcks[0], {.type = MessageType::key_request, .sequence = number,
                                                          .payload = crypto::SecretBytes::copy_of(encode_key_request({}))});
    Page message{};
    std::ranges::copy(sealed, message.begin());
    ASSERT_EQ(machine_.memory.host_write(kRequest, message), Fault::none);
    const auto answered = machine_.firmware.guest_request(of, kRequest, kResponse);
    if (status->state != GuestState::running) {
      EXPECT_EQ(answered, Status::invalid_guest_state);
      return;
    }
    ASSERT_EQ(answered, Status::success);
    const auto answer = open_message(secrets->vmpcks[0], ByteView{machine_.memory.host_read(kResponse)}.first(kMessageHeaderSize + kKeyResponseSize));
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(response_status(answer->payload.reveal()), closed_.at(of) ? Status::invalid_key : Status::success);
    ++keys_asked;
  }
  [[nodiscard]] std::optional<LaunchSecrets> secrets_of(std::uint32_t asid) const {
    for (std::uint64_t at = 0; at < kPages * kSmallPage; at += kSmallPage) {
      const auto entry = *machine_.memory.rmp().entry(at);
      if (asid == 0 || entry.asid != asid) continue;
      const auto loaded = machine_.memory.guest_read({.asid = asid, .gpa = entry.gpa, .spa = at});
      if (!loaded.ok()) continue;
      auto secrets = parse_secrets_page(loaded.page);
      if (secrets && !all_zero(secrets->vmpcks[0].reveal()) && loaded.page[0x21] != loaded.page[0x22]) return secrets;
    }
    return std::nullopt;
  }
  void take_back() {
    if (pick(3) == 0) machine_.firmware.df_flush();
    if (pick(2) == 0) {
      const auto at = pick(2) == 0 ? spa() : page_in(PageState::firmware);
      if (machine_.firmware.page_reclaim(at) == Status::success) written_.erase(at);
      return;
    }
    if (pick(4) != 0) return;
    const auto of = context();
    const auto asid = machine_.firmware.guest_status(of).value_or(GuestStatus{}).asid;
    if (machine_.firmware.decommission(of) != Status::success) return;
    final_.erase(of);
    closed_.erase(of);
    std::erase_if(written_, [asid](const auto& one) { return one.second.first.asid == asid; });
  }

  /// A page can be reached by one guest at one address at most, and then not be written by the host.
  void one_owner() const {
    for (std::uint64_t at = 0; at < kPages * kSmallPage; at += kSmallPage) {
      unsigned ways = 0;
      for (std::uint32_t asid = 0; asid <= kAsids; ++asid) {
        for (std::uint64_t guest_page = 0; guest_page < kGpas; ++guest_page) {
          const GuestView view{.asid = asid, .gpa = guest_page * kSmallPage, .spa = at};
          if (machine_.memory.rmp().guest_access(view, vmpl_permission::kRead) == Fault::none) ++ways;
        }
      }
      EXPECT_LE(ways, 1U) << at;
      const bool hosts = state_of(*machine_.memory.rmp().entry(at)) == PageState::hypervisor;
      EXPECT_EQ(machine_.memory.rmp().host_write(at) == Fault::none, hosts);
      EXPECT_FALSE(hosts && ways > 0);
    }
  }
  /// And no two guests have one ASID.
  void contexts_are_context_pages() const {
    std::map<std::uint32_t, unsigned> guests;
    for (std::uint64_t at = 0; at < kPages * kSmallPage; at += kSmallPage) {
      const auto status = machine_.firmware.guest_status(at);
      EXPECT_EQ(status.has_value(), state_of(*machine_.memory.rmp().entry(at)) == PageState::context) << at;
      if (!status || status->asid == 0) continue;
      EXPECT_EQ(++guests[status->asid], 1U);
    }
  }
  void digests_are_final() const {
    for (const auto& [of, digest] : final_) {
      const auto status = machine_.firmware.guest_status(of);
      ASSERT_TRUE(status.has_value());
      EXPECT_EQ(status->state, GuestState::running);
      EXPECT_EQ(status->launch_digest, digest);
    }
  }
  void guests_find_what_they_wrote() const {
    for (const auto& [at, written] : written_) {
      auto view = written.first;
      view.vmpl = 0;
      const auto loaded = machine_.memory.guest_read(view);
      ASSERT_EQ(loaded.fault, Fault::none) << at;
      EXPECT_EQ(loaded.page, page(written.second)) << at;
      EXPECT_NE(machine_.memory.host_read(at), page(written.second));
    }
  }

 public:
  unsigned keys_asked = 0;
  unsigned launched = 0;

 private:
  std::mt19937 random_;
  Machine machine_{PlatformOptions::at(evidence::SnpProduct::milan, tcb_of(evidence::SnpProduct::milan)), kPages + 2};
  std::map<std::uint64_t, Digest48> final_;
  std::map<std::uint64_t, bool> closed_;
  std::map<std::uint64_t, std::pair<GuestView, std::uint8_t>> written_;
};

TEST(SnpMachine, KeepsItsInvariants) {
  unsigned keys = 0;
  unsigned launched = 0;
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    World world{seed};
    for (int i = 0; i < 1000 && !HasFailure(); ++i) {
      world.step();
      world.check();
    }
    keys += world.keys_asked;
    launched += world.launched;
  }
  EXPECT_GT(keys, 40U);  // the walk reached what it is about
  EXPECT_GT(launched, 40U);
}

}  // namespace
}  // namespace cloister::lab_snp
