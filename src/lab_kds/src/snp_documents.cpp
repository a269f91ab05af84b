#include "cloister/lab_kds/snp_documents.hpp"

namespace cloister::lab_kds {
namespace {

using collateral::Key;
using evidence::SnpProduct;
using evidence::VekKind;

SnpProduct product_of(collateral::Product product) {
  switch (product) {
    case collateral::Product::milan: return SnpProduct::milan;
    case collateral::Product::genoa: return SnpProduct::genoa;
    case collateral::Product::turin: return SnpProduct::turin;
  }
  return SnpProduct::milan;
}

VekKind kind_of(collateral::EndorsementKey key) {
  return key == collateral::EndorsementKey::vlek ? VekKind::vlek : VekKind::vcek;
}

evidence::SnpTcb tcb_of(const collateral::SnpTcb& tcb) {
  return {.fmc = tcb.fmc, .bootloader = tcb.boot_loader, .tee = tcb.tee, .snp = tcb.snp, .microcode = tcb.microcode};
}

/// The bytes of each kind of document; empty where there is none.
struct Issue {
  const lab_snp::Authority& authority;
  const Standing& standing;

  Bytes operator()(const collateral::VcekKey& key) const {
    const auto product = product_of(key.product);
    const auto chip = authority.chip_id(product);
    const auto tcb = tcb_of(key.tcb);
    if (!same_bytes(key.hwid, ByteView{chip}.first(collateral::hwid_size(key.product)))) return {};
    if (!evidence::snp_tcb_gaps(standing.story.reached(product), tcb).empty()) return {};
    return authority.issue_vek(product, VekKind::vcek, tcb)->der;
  }
  Bytes operator()(const collateral::AmdChainKey& key) const {
    return to_bytes(authority.chain(product_of(key.product), kind_of(key.endorsement)));
  }
  Bytes operator()(const collateral::AmdCrlKey& key) const {
    return lab_snp::issue_crl(authority, standing.story, product_of(key.product), standing.now);
  }
  Bytes operator()(const collateral::TcbInfoKey&) const { return {}; }
  Bytes operator()(const collateral::IdentityKey&) const { return {}; }
  Bytes operator()(const collateral::PckCrlKey&) const { return {}; }
  Bytes operator()(const collateral::RootCrlKey&) const { return {}; }
};

}  // namespace

std::optional<collateral::Document> SnpDocuments::find(const Key& key) const {
  const auto standing = standing_();
  if (!standing) return std::nullopt;
  const auto body = std::visit(Issue{authority_, *standing}, key);
  if (body.empty()) return std::nullopt;
  auto document = collateral::read_document(key, body, {});
  CLOISTER_ASSERT(document.ok());  // our own
  return std::move(document).value();
}

}  // namespace cloister::lab_kds
