#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab/tcb_story.hpp"
#include "cloister/measure/td_image.hpp"

/// LAB ONLY - NOT HARDWARE. What a person does to the platform of a state directory: its TCB, its clock, its quotes. Each
/// call opens the directory, and may be made while the platform runs there, unless it says otherwise.
namespace cloister::lab_host {

/// Without a name, the next of the lab's own.
struct AdviseNext {
  lab::TcbPart part = lab::TcbPart::platform;
  std::optional<std::string> advisory{};
};
/// The PCK certificate that the machine has now.
struct RevokeOwnPck {};
/// The lab's clock goes on from there; nothing: it is the machine's again.
struct SetClock {
  std::optional<UnixTime> to;
};
using TcbCommand = std::variant<AdviseNext, lab::Update, lab::UpdateModule, RevokeOwnPck, lab::Withhold, lab::Release,
                                SetClock>;

struct TcbView {
  UnixTime now;  // by the lab's clock
  lab::TcbStory story;
  Bytes pck_serial;
};

/// `not_found` where no platform was started.
[[nodiscard]] Result<TcbView> view_tcb(const std::filesystem::path& state, const Clock& clock);
/// Performs the command and issues collateral that says so: a platform or a collateral service on this directory hands it
/// out from then on. A platform that runs takes over another module at once; every other update needs the machine to be
/// down, `conflict` while the platform runs. Also what `lab::TcbStory::add` refuses.
[[nodiscard]] Result<TcbView> change_tcb(const std::filesystem::path& state, const TcbCommand& command,
                                         const Clock& clock);

/// The quote of a TD of this image that the platform starts for it and ends at once; no guest runs.
[[nodiscard]] Result<Bytes> quote_image(const std::filesystem::path& state, std::span<const measure::TdFile> files,
                                        const Digest64& report_data, lab::QuoteFormat format);

}  // namespace cloister::lab_host
