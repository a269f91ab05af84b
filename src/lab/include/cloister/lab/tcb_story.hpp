#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/lab/tcb.hpp"

/// LAB ONLY - NOT HARDWARE. What happens to security versions in the life of a machine, act by act: what its maker
/// publishes, what the machine installs, what is revoked, and what a service that hands out collateral keeps back. From
/// the acts everything else follows (Intel, "TCB Recovery": advisories, TCB info with a new evaluation data number).
namespace cloister::lab {

/// What a flaw was found in.
enum class TcbPart { platform, module, qe };
[[nodiscard]] std::string_view to_string(TcbPart part) noexcept;  // "platform", "module", "qe"
[[nodiscard]] Result<TcbPart> parse_tcb_part(std::string_view text);

/// The maker repairs a flaw and says so: a new level on top of the part's levels, of one more SVN and up to date; all
/// levels below are out of date and name the advisory. TCB info and QE identity have the next evaluation data number.
struct Advise {
  TcbPart part = TcbPart::platform;
  std::string advisory;  // 1 to 64 of A-Z, a-z, 0-9 and "-"
  friend bool operator==(const Advise&, const Advise&) = default;
};
/// The machine installs everything that was published. It has other reports, and another PCK certificate.
struct Update {
  friend bool operator==(const Update&, const Update&) = default;
};
/// The machine installs the TDX module that was published, and nothing else: it can do that while TDs run.
struct UpdateModule {
  friend bool operator==(const UpdateModule&, const UpdateModule&) = default;
};
/// A PCK certificate stands in its CA's list from now on.
struct RevokePck {
  Bytes serial;  // 1 to 20 bytes
  friend bool operator==(const RevokePck&, const RevokePck&) = default;
};
/// The service hands out what it has now, and nothing newer until `Release`.
struct Withhold {
  friend bool operator==(const Withhold&, const Withhold&) = default;
};
struct Release {
  friend bool operator==(const Release&, const Release&) = default;
};
using TcbAct = std::variant<Advise, Update, UpdateModule, RevokePck, Withhold, Release>;

struct TcbEntry {
  UnixTime at;  // whole seconds, by the lab's clock
  TcbAct act;
  friend bool operator==(const TcbEntry&, const TcbEntry&) = default;
};

/// What a service hands out.
struct Offer {
  PublishedTcb published;
  std::vector<crypto::x509::RevokedEntry> revoked_pcks;
};

/// The acts so far, and where they lead. `clock_offset` is how far the lab's clock is before the machine's.
class TcbStory {
 public:
  static constexpr std::size_t kMaxActs = 200;  // an SVN has eight bits
  static constexpr std::size_t kMaxSize = 64U << 10;  // bytes of JSON
  static constexpr std::chrono::seconds kMaxOffset = std::chrono::days{36'500};

  /// Of a machine that was made at this time, up to date.
  explicit TcbStory(UnixTime created);

  /// `invalid_argument` for an act before the last one, an advisory's or serial's bad form, a release of nothing, or a
  /// second withholding; `limit_exceeded` for one too many.
  [[nodiscard]] Result<void> add(TcbEntry entry);
  [[nodiscard]] const std::vector<TcbEntry>& acts() const noexcept { return acts_; }

  [[nodiscard]] const MachineTcb& machine() const noexcept { return state_.machine; }
  /// What is published in truth.
  [[nodiscard]] const Offer& newest() const noexcept { return newest_; }
  /// What is handed out, and since when nothing newer is.
  [[nodiscard]] const Offer& offered() const noexcept { return withheld_ ? withheld_->first : newest_; }
  [[nodiscard]] std::optional<UnixTime> withheld_since() const noexcept;
  /// Whether the machine has everything that was published.
  [[nodiscard]] bool up_to_date() const;
  /// The next advisory's name that is free: LAB-SA-00002, …
  [[nodiscard]] std::string next_advisory() const;

  std::chrono::seconds clock_offset{0};

 private:
  void perform(const Advise& act, UnixTime at);
  void perform(const Update& act, UnixTime at);
  void perform(const UpdateModule& act, UnixTime at);
  void perform(const RevokePck& act, UnixTime at);
  void perform(const Withhold& act, UnixTime at);
  void perform(const Release& act, UnixTime at);

  UnixTime created_;
  std::vector<TcbEntry> acts_;
  TcbState state_;
  Offer newest_;
  std::optional<std::pair<Offer, UnixTime>> withheld_;
};

/// {"version":1,"clock_offset_s":0,"acts":[{"at","act","part","advisory"}|{"at","act","serial"}|{"at","act"}…]}, `act`
/// one of "advise", "update", "update-module", "revoke-pck", "withhold", "release".
/// read_tcb_story(created, write_tcb_story(x)) is x.
[[nodiscard]] std::string write_tcb_story(const TcbStory& story);
/// Strict: unknown members and acts, another version, and what `TcbStory::add` refuses: `configuration_invalid` with the
/// act.
[[nodiscard]] Result<TcbStory> read_tcb_story(UnixTime created, std::string_view json);

}  // namespace cloister::lab
