#pragma once

#include <map>

#include "cloister/collateral_service/documents.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab_snp/authority.hpp"

namespace cloister::lab_kds {

/// LAB ONLY - NOT HARDWARE. VCEKs by chip and TCB, certificate chains and CRLs of a lab's AMD hierarchy, as documents of
/// AMD's service (AMD 57230, section 4). Each is signed anew when it is asked for: contents are the same every time (of CRLs,
/// as of now), signatures are not. A VLEK itself is no document: its provider's host has it. Thread-safe.
class SnpDocuments final : public collateral_service::DocumentSource {
 public:
  /// `newest`: the products that are served, and the TCB that the chip of each has reached. Both references outlive this.
  SnpDocuments(const lab_snp::Authority& authority, const Clock& clock, std::map<evidence::SnpProduct, evidence::SnpTcb> newest)
      : authority_{authority}, clock_{clock}, newest_{std::move(newest)} {}

  /// Nothing for another chip, for a TCB above the newest in any component, and for documents that are not AMD's.
  [[nodiscard]] std::optional<collateral::Document> find(const collateral::Key& key) const override;

 private:
  const lab_snp::Authority& authority_;
  const Clock& clock_;
  std::map<evidence::SnpProduct, evidence::SnpTcb> newest_;
};

}  // namespace cloister::lab_kds
