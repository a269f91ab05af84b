#include "cloister/lab_host/tcb.hpp"

#include "state.hpp"

namespace cloister::lab_host {
namespace {

namespace fs = std::filesystem;

TcbView view_of(const Opened& opened, const Clock& clock) {
  return {.now = lab_time(opened.story, clock),
          .story = opened.story,
          .pck_serial = opened.platform.pck_certificate()->serial};
}

/// What the command means for this platform; a clock is set at once.
struct Perform {
  Opened& opened;
  const Clock& clock;

  Result<void> act(lab::TcbAct what) const {
    return opened.story.add({lab_time(opened.story, clock), std::move(what)});
  }
  Result<void> operator()(const AdviseNext& command) const {
    return act(lab::Advise{command.part, command.advisory.value_or(opened.story.next_advisory())});
  }
  Result<void> operator()(const RevokeOwnPck&) const {
    return act(lab::RevokePck{opened.platform.pck_certificate()->serial});
  }
  Result<void> operator()(const lab::Update& command) const { return act(command); }
  Result<void> operator()(const lab::UpdateModule& command) const { return act(command); }
  Result<void> operator()(const lab::Withhold& command) const { return act(command); }
  Result<void> operator()(const lab::Release& command) const { return act(command); }
  Result<void> operator()(const SetClock& command) const {
    const auto now = clock.now();
    const auto offset = std::chrono::floor<std::chrono::seconds>(command.to.value_or(now) - now);
    if (std::chrono::abs(offset) > lab::TcbStory::kMaxOffset) {
      return Error{Errc::invalid_argument, "clock: a time within a hundred years expected"};
    }
    opened.story.clock_offset = offset;
    return {};
  }
};

}  // namespace

Result<TcbView> view_tcb(const fs::path& state, const Clock& clock) {
  CLOISTER_TRY(opened, open_platform(state));
  return view_of(opened, clock);
}

Result<TcbView> change_tcb(const fs::path& state, const TcbCommand& command, const Clock& clock) {
  CLOISTER_TRY(found, open_platform(state));  // before a lock is left where no platform is
  process::UniqueFd down;
  if (std::holds_alternative<lab::Update>(command)) {
    CLOISTER_TRY(lock, take_platform_lock(state));
    down = std::move(lock);
  }
  CLOISTER_TRY(lock, take_story_lock(state));
  CLOISTER_TRY(opened, open_platform(state));
  const Perform perform{opened, clock};
  CLOISTER_CHECK(std::visit(perform, command));
  const auto text = lab::write_tcb_story(opened.story);
  CLOISTER_CHECK(replace_file(state / kStoryFile, as_bytes(text), 0600));
  const auto issued = issue_collateral(state, opened.platform, opened.story, lab_time(opened.story, clock));
  if (!issued) return issued.error();
  const Opened after{opened.platform.with(options_of(opened.story)), opened.story};
  return view_of(after, clock);
}

Result<Bytes> quote_image(const fs::path& state, std::span<const measure::TdFile> files, const Digest64& report_data,
                          lab::QuoteFormat format) {
  CLOISTER_TRY(opened, open_platform(state));
  CLOISTER_TRY(td, opened.platform.launch({}, files));
  const auto report = td.tdg_mr_report(report_data);
  CLOISTER_ASSERT(report.has_value());  // a TD that was launched runs
  return opened.platform.quote(*report, format);
}

}  // namespace cloister::lab_host
