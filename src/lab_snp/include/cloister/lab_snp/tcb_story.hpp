#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab_snp/firmware.hpp"

/// LAB ONLY - NOT HARDWARE. What happens to the TCBs of a lab's SEV-SNP machines and to the authorities that vouch for them, act by
/// act; from the acts everything else follows. AMD publishes no advisories by machine: a relying party's policy says which TCB is
/// enough (AMD 57230).
namespace cloister::lab_snp {

/// DOWNLOAD_FIRMWARE_EX, or microcode: from now on this runs.
struct Load {
  evidence::SnpTcb tcb;
  friend bool operator==(const Load&, const Load&) = default;
};
/// SNP_COMMIT: what runs is committed and reported.
struct Commit {
  friend bool operator==(const Commit&, const Commit&) = default;
};
/// SNP_CONFIG: reports are of this TCB, by the key of this TCB.
struct SetReported {
  evidence::SnpTcb tcb;
  friend bool operator==(const SetReported&, const SetReported&) = default;
};
/// The authority over VCEKs (ASK) or VLEKs (ASVK) stands in the root's list from now on. No single VCEK ever does: that
/// list is of certificates that the root issued (RFC 5280, section 5), and AMD keeps no other.
struct RevokeIssuer {
  evidence::VekKind of = evidence::VekKind::vcek;
  friend bool operator==(const RevokeIssuer&, const RevokeIssuer&) = default;
};
/// The service hands out the list that it has now, and nothing newer until `ReleaseList`.
struct WithholdList {
  friend bool operator==(const WithholdList&, const WithholdList&) = default;
};
struct ReleaseList {
  friend bool operator==(const ReleaseList&, const ReleaseList&) = default;
};
using TcbAct = std::variant<Load, Commit, SetReported, RevokeIssuer, WithholdList, ReleaseList>;

struct TcbEntry {
  UnixTime at;  // whole seconds, by the lab's clock
  evidence::SnpProduct product = evidence::SnpProduct::milan;
  TcbAct act;
  friend bool operator==(const TcbEntry&, const TcbEntry&) = default;
};

/// The products of the lab: Milan, Genoa, Turin.
inline constexpr std::array kLabProducts{evidence::SnpProduct::milan, evidence::SnpProduct::genoa, evidence::SnpProduct::turin};

/// The acts so far, and where they lead: one machine and one root of each product. Not thread-safe.
class TcbStory {
 public:
  static constexpr std::size_t kMaxActs = 200;
  static constexpr std::size_t kMaxSize = 64U << 10;  // bytes of JSON

  /// Of machines that run the usual TCB, made at this time.
  explicit TcbStory(UnixTime created);

  /// `invalid_argument` for an act before the last one, what firmware refuses (a TCB below what is committed, a reported one above
  /// it), a product that the lab has not, a component of another product, an issuer that is revoked already, a list that is
  /// withheld already or was not; `limit_exceeded` for one act too many.
  [[nodiscard]] Result<void> add(TcbEntry entry);
  [[nodiscard]] const std::vector<TcbEntry>& acts() const noexcept { return acts_; }

  /// What a machine of the product is.
  [[nodiscard]] const PlatformOptions& platform(evidence::SnpProduct product) const { return of(product).platform; }
  /// The newest that it ever had, component by component: AMD's service knows certificates up to there.
  [[nodiscard]] const evidence::SnpTcb& reached(evidence::SnpProduct product) const { return of(product).reached; }
  /// When the product's authority was revoked; what is so in truth, and what the list that is handed out says.
  [[nodiscard]] std::optional<UnixTime> revoked(evidence::SnpProduct product, evidence::VekKind kind) const;
  [[nodiscard]] std::optional<UnixTime> shown_revoked(evidence::SnpProduct product, evidence::VekKind kind) const;
  /// Since when the product's list is withheld.
  [[nodiscard]] std::optional<UnixTime> withheld_since(evidence::SnpProduct product) const;

 private:
  using Revoked = std::array<std::optional<UnixTime>, 2>;  // ASK, ASVK
  struct Machine {
    PlatformOptions platform;
    evidence::SnpTcb reached;
    Revoked revoked;
    std::optional<std::pair<Revoked, UnixTime>> withheld;
  };
  [[nodiscard]] const Machine& of(evidence::SnpProduct product) const;
  UnixTime created_;
  std::vector<TcbEntry> acts_;
  std::array<Machine, kLabProducts.size()> machines_;
};

/// The product's list as it is handed out at this time, DER.
[[nodiscard]] Bytes issue_crl(const Authority& authority, const TcbStory& story, evidence::SnpProduct product, UnixTime now);

/// {"version":1,"acts":[{"at","product","act","tcb"|"issuer"}…]}, `act` one of "load", "commit", "set-reported", "revoke",
/// "withhold", "release"; `tcb` is TCB_VERSION in hex, `issuer` "ask" or "asvk". read_tcb_story(created, write_tcb_story(x)) is x.
[[nodiscard]] std::string write_tcb_story(const TcbStory& story);
/// Strict: unknown members and acts, another version, reserved bytes of a TCB, and what `TcbStory::add` refuses:
/// `configuration_invalid` with the act.
[[nodiscard]] Result<TcbStory> read_tcb_story(UnixTime created, std::string_view json);

}  // namespace cloister::lab_snp
