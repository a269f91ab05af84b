#include "cloister/collateral/source.hpp"

#include "cloister/evidence/pck.hpp"
#include "cloister/collateral/recognise.hpp"

namespace cloister::collateral {

std::string_view to_string(CaType type) noexcept { return type == CaType::processor ? "processor" : "platform"; }

Result<evidence::SnpEndorsements> CollateralSource::find(const evidence::SnpReport&, const evidence::SnpEndorsements&) const {
  return Error{Errc::collateral_missing, "no certificates for SNP reports"};
}

Wanted wanted_by(const evidence::Quote& quote) {
  Wanted out{.tee = quote.tee(), .fmspc = std::nullopt, .ca = std::nullopt};
  const auto& certification = quote.signature().certification;
  if (certification.type != evidence::CertificationType::pck_chain) return out;
  const auto chain = crypto::x509::parse_chain(as_text(certification.data));
  if (!chain || chain->empty()) return out;
  const auto leaf = crypto::x509::leaf_first(*chain).front();  // a chain may stand in any order
  out.ca = ca_type(leaf->issuer_common_name);
  if (const auto extension = evidence::pck_extension(*leaf)) out.fmspc = extension->fmspc;
  return out;
}

}  // namespace cloister::collateral
