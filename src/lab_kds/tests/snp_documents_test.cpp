#include "cloister/lab_kds/snp_documents.hpp"

#include <gtest/gtest.h>

#include <map>

#include "cloister/codec/text.hpp"
#include "cloister/collateral_service/routes.hpp"
#include "support/support.hpp"

namespace cloister::lab_kds {
namespace {

using collateral::EndorsementKey;
using collateral::Product;
using evidence::SnpProduct;
using evidence::VekKind;

const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);

class SnpDocumentsTest : public testing::Test {
 protected:
  [[nodiscard]] collateral::VcekKey milan() const {
    return {.product = Product::milan, .hwid = to_bytes(authority_.chip_id(SnpProduct::milan)),
            .tcb = {.fmc = {}, .boot_loader = 4, .tee = 0, .snp = 24, .microcode = 219}};
  }
  std::map<Product, SnpProduct> product_of_{{Product::milan, SnpProduct::milan}, {Product::turin, SnpProduct::turin}};
  test::FakeClock clock_{kCreated + std::chrono::days{5}};
  lab_snp::Authority authority_ =
      lab_snp::Authority::create(crypto::Secret<32>{ByteArray<32>{7}}, lab_snp::AuthorityKeys::generate(2048), kCreated);
  lab_snp::TcbStory story_{kCreated};
  bool readable_ = true;
  SnpDocuments documents_{authority_, [this] {
                            return readable_ ? std::optional{Standing{clock_.now(), story_}} : std::nullopt;
                          }};
};

TEST_F(SnpDocumentsTest, GivesTheChipsCertificate) {
  const auto found = documents_.find(milan());
  ASSERT_TRUE(found.has_value());
  const auto certificate = crypto::x509::parse_certificate(found->body).value();
  EXPECT_EQ(certificate->tbs, authority_.issue_vek(SnpProduct::milan, VekKind::vcek, lab_snp::usual_tcb(SnpProduct::milan))->tbs);
  EXPECT_TRUE(crypto::x509::verify_signature(*certificate, *authority_.issuer(SnpProduct::milan, VekKind::vcek)).ok());
}

TEST_F(SnpDocumentsTest, GivesOlderTcbsOfItsChipsAlone) {
  auto key = milan();
  key.tcb.microcode = 115;
  EXPECT_TRUE(documents_.find(key).has_value());
  key.tcb.microcode = 220;  // not reached
  EXPECT_FALSE(documents_.find(key).has_value());
  key = milan();
  key.hwid[63] ^= 1;
  EXPECT_FALSE(documents_.find(key).has_value());
  key = milan();
  key.product = Product::genoa;  // another chip
  EXPECT_FALSE(documents_.find(key).has_value());
  EXPECT_FALSE(documents_.find(collateral::RootCrlKey{}).has_value());
}

TEST_F(SnpDocumentsTest, FollowsTheStory) {
  auto newer = lab_snp::usual_tcb(SnpProduct::milan);
  ++newer.microcode;
  auto key = milan();
  key.tcb.microcode = newer.microcode;
  EXPECT_FALSE(documents_.find(key).has_value());
  ASSERT_TRUE(story_.add({clock_.now(), SnpProduct::milan, lab_snp::Load{newer}}));
  EXPECT_TRUE(documents_.find(key).has_value());
  EXPECT_TRUE(documents_.find(milan()).has_value());  // the older one holds on

  const auto revoked = [this](Product product, EndorsementKey endorsement, VekKind of) {
    const auto crl = documents_.find(collateral::AmdCrlKey{.product = product, .endorsement = endorsement});
    return crypto::x509::parse_crl(crl->body).value().revokes(authority_.issuer(product_of_[product], of)->serial);
  };
  EXPECT_FALSE(revoked(Product::milan, EndorsementKey::vcek, VekKind::vcek));
  ASSERT_TRUE(story_.add({clock_.now(), SnpProduct::milan, lab_snp::RevokeIssuer{VekKind::vcek}}));
  for (const auto endorsement : {EndorsementKey::vcek, EndorsementKey::vlek}) {  // the root has one list
    EXPECT_TRUE(revoked(Product::milan, endorsement, VekKind::vcek));
    EXPECT_FALSE(revoked(Product::milan, endorsement, VekKind::vlek));
  }
  EXPECT_FALSE(revoked(Product::turin, EndorsementKey::vcek, VekKind::vcek));
}

TEST_F(SnpDocumentsTest, HasNothingWhileTheStoryCannotBeRead) {
  readable_ = false;
  EXPECT_FALSE(documents_.find(milan()).has_value());
  EXPECT_FALSE(documents_.find(collateral::AmdChainKey{.product = Product::milan}).has_value());
  EXPECT_FALSE(documents_.find(collateral::AmdCrlKey{.product = Product::milan}).has_value());
}

TEST_F(SnpDocumentsTest, GivesChainsAndLists) {
  for (const auto endorsement : {EndorsementKey::vcek, EndorsementKey::vlek}) {
    const auto chain = documents_.find(collateral::AmdChainKey{.product = Product::turin, .endorsement = endorsement});
    ASSERT_TRUE(chain.has_value());
    const auto kind = endorsement == EndorsementKey::vlek ? VekKind::vlek : VekKind::vcek;
    EXPECT_EQ(as_text(chain->body), authority_.chain(SnpProduct::turin, kind));
    const auto crl = documents_.find(collateral::AmdCrlKey{.product = Product::turin, .endorsement = endorsement});
    ASSERT_TRUE(crl.has_value());
    EXPECT_EQ(crl->issued, clock_.now());
    EXPECT_TRUE(crypto::x509::verify_signature(crypto::x509::parse_crl(crl->body).value(), *authority_.root(SnpProduct::turin)).ok());
  }
}

TEST_F(SnpDocumentsTest, AnswersByTheVendorsRoutes) {
  const auto hwid = codec::to_hex(ByteView{authority_.chip_id(SnpProduct::turin)}.first(8));
  const auto get = [this](std::string path, std::string_view query) {
    http::Request request;
    request.path = std::move(path);
    request.query = http::Query::parse(query).value();
    return collateral_service::respond(documents_, request).status;
  };
  EXPECT_EQ(get("/vcek/v1/Turin/" + hwid, "fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=82"), 200);
  EXPECT_EQ(get("/vcek/v1/Turin/" + hwid, "fmcSPL=02&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=82"), 404);
  EXPECT_EQ(get("/vcek/v1/Turin/cert_chain", ""), 200);
  EXPECT_EQ(get("/vlek/v1/Milan/crl", ""), 200);
  EXPECT_EQ(get("/vlek/v1/Genoa/crl", ""), 200);
}

}  // namespace
}  // namespace cloister::lab_kds
