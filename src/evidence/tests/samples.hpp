#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/tcb_info.hpp"
#include "cloister/evidence/td_report.hpp"

/// Made-up values with every field different, the same on every run.
namespace cloister::evidence::test {

[[nodiscard]] SgxReport sample_sgx_report(std::uint64_t seed);
[[nodiscard]] QuoteBody sample_body(BodyType type);
[[nodiscard]] QuoteContent sample_quote(std::uint16_t version, BodyType type);
[[nodiscard]] TdReport sample_td_report();
[[nodiscard]] PckExtension sample_pck_extension();
[[nodiscard]] TcbInfo sample_tcb_info(std::uint32_t version, TeeType tee);
[[nodiscard]] QeIdentity sample_qe_identity();
/// Issued by authorities of its own, so that every part parses.
[[nodiscard]] QuoteCollateral sample_collateral();

/// The quotes among the public vectors, raw.
struct QuoteFile {
  std::string name;
  Bytes bytes;
};
[[nodiscard]] std::vector<QuoteFile> quote_files(const std::filesystem::path& vectors);

}  // namespace cloister::evidence::test
