#pragma once

#include "cli.hpp"
#include "cloister/evidence/snp/product.hpp"

namespace cloister::cli {

/// `lab tcb snp`: what becomes of the lab's SEV-SNP machines and of those who vouch for them.
void add_lab_snp_tcb(CLI::App& tcb, Context& context);
/// The option --product, Milan unless given. `product` outlives the command.
void add_snp_product(CLI::App& command, evidence::SnpProduct& product);

}  // namespace cloister::cli
