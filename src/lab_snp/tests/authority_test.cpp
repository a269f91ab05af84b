#include "cloister/lab_snp/authority.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::lab_snp {
namespace {

using evidence::SnpProduct;
using evidence::VekKind;

const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);
constexpr evidence::SnpTcb kTcb{.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};
constexpr auto kProducts = {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin};
constexpr auto kKinds = {VekKind::vcek, VekKind::vlek};

/// 1.3.6.1.4.1.3704.1 and what is under it.
bool is_amds(const crypto::x509::Extension& extension) {
  const auto arc = codec::der::oid(evidence::kVekExtensionArc);
  return extension.oid.size() > arc.size() && std::equal(arc.begin(), arc.end(), extension.oid.begin());
}

crypto::Secret<32> seed(std::uint8_t byte = 7) { return crypto::Secret<32>{ByteArray<32>{byte}}; }

/// Keys of 2048 bits are made in no time; nothing else depends on the size.
class AuthorityTest : public testing::Test {
 protected:
  static AuthorityKeys copy(const AuthorityKeys& keys) {
    return parse_authority_keys(as_text(write_authority_keys(keys).reveal())).value();
  }
  AuthorityKeys keys_ = AuthorityKeys::generate(2048);
};

TEST_F(AuthorityTest, ChainsAreSignedUpToTheRoot) {
  const auto authority = Authority::create(seed(), copy(keys_), kCreated);
  for (const auto product : kProducts) {
    for (const auto kind : kKinds) {
      const auto vek = authority.issue_vek(product, kind, kTcb);
      EXPECT_TRUE(crypto::x509::verify_signature(*vek, *authority.issuer(product, kind)).ok());
      EXPECT_TRUE(crypto::x509::verify_signature(*authority.issuer(product, kind), *authority.root(product)).ok());
      const auto chain = crypto::x509::parse_chain(authority.chain(product, kind)).value();
      ASSERT_EQ(chain.size(), 2U);
      EXPECT_EQ(chain[0]->der, authority.issuer(product, kind)->der);
      EXPECT_EQ(chain[1]->der, authority.root(product)->der);
      EXPECT_EQ(chain[1]->algorithm, crypto::x509::SignatureAlgorithm::rsa_pss_sha384);
    }
  }
}

TEST_F(AuthorityTest, EveryCertificateSaysThatItIsALabs) {
  const auto authority = Authority::create(seed(), copy(keys_), kCreated);
  for (const auto product : kProducts) {
    for (const auto kind : kKinds) {
      for (const auto& certificate : authority.endorsements(product, kind, kTcb, kCreated).certificates) {
        EXPECT_TRUE(evidence::has_lab_marker(*certificate)) << certificate->subject_common_name;
        EXPECT_EQ(certificate->subject_common_name.find("LAB ONLY - NOT HARDWARE"), 0U) << certificate->subject_common_name;
      }
    }
  }
}

/// AMD's profile has no room for the marker in a VEK; whoever resolves its chain meets it twice.
TEST_F(AuthorityTest, EveryChainUnderTheVendorsNamesEndsInTheMarker) {
  const auto authority = Authority::create(seed(), copy(keys_), kCreated, Names::vendor);
  for (const auto product : kProducts) {
    for (const auto kind : kKinds) {
      const auto vek = authority.issue_vek(product, kind, kTcb);
      EXPECT_FALSE(evidence::has_lab_marker(*vek));
      for (const auto& extension : vek->extensions) {
        EXPECT_TRUE(is_amds(extension)) << codec::to_hex(extension.oid);
      }
      EXPECT_TRUE(evidence::has_lab_marker(*authority.issuer(product, kind)));
      EXPECT_TRUE(evidence::has_lab_marker(*authority.root(product)));
    }
  }
}

TEST_F(AuthorityTest, ImitatesTheVendorsNamesWhereAsked) {
  const auto authority = Authority::create(seed(), copy(keys_), kCreated, Names::vendor);
  EXPECT_EQ(authority.root(SnpProduct::genoa)->subject_common_name, "ARK-Genoa");
  EXPECT_EQ(authority.issuer(SnpProduct::genoa, VekKind::vcek)->subject_common_name, "SEV-Genoa");
  EXPECT_EQ(authority.issuer(SnpProduct::genoa, VekKind::vlek)->subject_common_name, "SEV-VLEK-Genoa");
  EXPECT_EQ(authority.issue_vek(SnpProduct::genoa, VekKind::vcek, kTcb)->subject_common_name, "SEV-VCEK");
  EXPECT_EQ(authority.issue_vek(SnpProduct::genoa, VekKind::vlek, kTcb)->subject_common_name, "SEV-VLEK");
}

TEST_F(AuthorityTest, ExtensionsFollowTheProduct) {
  const auto authority = Authority::create(seed(), copy(keys_), kCreated);
  const auto extension = [&](SnpProduct product, VekKind kind) {
    auto tcb = kTcb;
    if (product == SnpProduct::turin) tcb.fmc = 1;
    return evidence::vek_extension(*authority.issue_vek(product, kind, tcb)).value();
  };
  const auto milan = extension(SnpProduct::milan, VekKind::vcek);
  EXPECT_EQ(milan.product_name, "Milan-B0");
  EXPECT_EQ(milan.hwid, to_bytes(authority.chip_id(SnpProduct::milan)));
  EXPECT_EQ(milan.spl4, 0);
  EXPECT_FALSE(milan.fmc.has_value());
  EXPECT_EQ(milan.tcb_version(), evidence::encode_snp_tcb(kTcb, SnpProduct::milan));
  const auto turin = extension(SnpProduct::turin, VekKind::vcek);
  EXPECT_EQ(turin.struct_version, 1U);
  EXPECT_EQ(turin.hwid->size(), 8U);
  EXPECT_EQ(turin.fmc, 1);
  EXPECT_TRUE(all_zero(ByteView{authority.chip_id(SnpProduct::turin)}.subspan(8)));
  const auto vlek = extension(SnpProduct::milan, VekKind::vlek);
  EXPECT_EQ(vlek.product_name, "Milan");
  EXPECT_FALSE(vlek.hwid.has_value());
  EXPECT_EQ(vlek.csp_id, "CN=LAB ONLY - NOT HARDWARE");
}

TEST_F(AuthorityTest, OneSeedSignsTheSameContents) {
  const auto one = Authority::create(seed(), copy(keys_), kCreated);
  const auto same = Authority::create(seed(), copy(keys_), kCreated);
  const auto other = Authority::create(seed(8), copy(keys_), kCreated);
  for (const auto product : kProducts) {
    EXPECT_EQ(one.root(product)->tbs, same.root(product)->tbs);
    EXPECT_EQ(one.chip_id(product), same.chip_id(product));
    EXPECT_NE(one.chip_id(product), other.chip_id(product));
    for (const auto kind : kKinds) {
      const auto vek = one.issue_vek(product, kind, kTcb);
      EXPECT_EQ(vek->tbs, same.issue_vek(product, kind, kTcb)->tbs);
      EXPECT_NE(vek->public_key_info, other.issue_vek(product, kind, kTcb)->public_key_info);
    }
  }
}

TEST_F(AuthorityTest, CrlIsTheRootsAndRevokesByItsList) {
  const auto authority = Authority::create(seed(), copy(keys_), kCreated);
  const auto serial = authority.issuer(SnpProduct::milan, VekKind::vcek)->serial;
  const auto now = kCreated + std::chrono::days{3};
  const auto list = crypto::x509::parse_crl(authority.crl(SnpProduct::milan, now, {{serial, now}})).value();
  EXPECT_TRUE(crypto::x509::verify_signature(list, *authority.root(SnpProduct::milan)).ok());
  EXPECT_TRUE(list.revokes(serial));
  EXPECT_EQ(list.this_update, now);
  EXPECT_EQ(list.next_update, now + std::chrono::days{365});
  EXPECT_FALSE(crypto::x509::parse_crl(authority.crl(SnpProduct::milan, now)).value().revokes(serial));
}

TEST_F(AuthorityTest, RefusesFilesThatAreNotItsKeys) {
  const std::string pem{as_text(write_authority_keys(keys_).reveal())};
  EXPECT_TRUE(parse_authority_keys(pem).ok());
  EXPECT_EQ(parse_authority_keys("").error().code(), Errc::key_invalid);
  EXPECT_EQ(parse_authority_keys(pem + pem).error().code(), Errc::key_invalid);
  EXPECT_EQ(parse_authority_keys(pem.substr(0, pem.size() / 2)).error().code(), Errc::key_invalid);
  const auto other = codec::to_pem("CERTIFICATE", Bytes{0x30, 0x00});
  EXPECT_EQ(parse_authority_keys(other + other + other).error().code(), Errc::key_invalid);
}

TEST(AuthorityKeysTest, AreOf4096BitsUnlessAsked) {
  EXPECT_EQ(AuthorityKeys::generate().ark.public_key().modulus.size(), 512U);
}

}  // namespace
}  // namespace cloister::lab_snp
