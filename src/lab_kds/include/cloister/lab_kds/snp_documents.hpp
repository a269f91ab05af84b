#pragma once

#include <functional>
#include <optional>

#include "cloister/collateral_service/documents.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab_snp/tcb_story.hpp"

namespace cloister::lab_kds {

/// What the lab's AMD knows now, by the lab's clock; nothing while that cannot be read.
struct Standing {
  UnixTime now;
  lab_snp::TcbStory story;
};
using StandingSource = std::function<std::optional<Standing>()>;

/// LAB ONLY - NOT HARDWARE. VCEKs by chip and TCB, certificate chains and CRLs of a lab's AMD hierarchy, as documents of
/// AMD's service (AMD 57230, section 4). Each is signed anew when it is asked for, by what `standing` says then: contents are the
/// same every time (of CRLs, as of now), signatures are not. A VLEK itself is no document: its provider's host has it. Thread-safe
/// where `standing` is.
class SnpDocuments final : public collateral_service::DocumentSource {
 public:
  /// The authority outlives this.
  SnpDocuments(const lab_snp::Authority& authority, StandingSource standing) : authority_{authority}, standing_{std::move(standing)} {}

  /// Nothing for another chip, for a TCB above the newest that the chip reached in any component, for documents that are not
  /// AMD's, and while the standing cannot be read.
  [[nodiscard]] std::optional<collateral::Document> find(const collateral::Key& key) const override;

 private:
  const lab_snp::Authority& authority_;
  StandingSource standing_;
};

}  // namespace cloister::lab_kds
