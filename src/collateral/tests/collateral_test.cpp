#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cloister/attestation/verify.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/manifest.hpp"
#include "cloister/collateral/recognise.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::collateral {
namespace {

namespace fs = std::filesystem;
using evidence::TeeType;
using test::SyntheticPlatform;

void write(const fs::path& path, ByteView bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(as_text(bytes).data(), static_cast<std::streamsize>(bytes.size()));
}
void write(const fs::path& path, std::string_view text) { write(path, as_bytes(text)); }

/// The responses of the platform's service, each in its file.
void write_responses(const fs::path& folder, const SyntheticPlatform& platform, const std::string& prefix = "") {
  const auto built = platform.build();
  const auto& c = built.collateral;
  write(folder / (prefix + "tcb.json"), evidence::write_tcb_info(c.tcb_info, c.tcb_info_signature));
  write(folder / (prefix + "identity.json"), evidence::write_qe_identity(c.qe_identity, c.qe_identity_signature));
  write(folder / (prefix + "root.crl"), c.root_ca_crl);
  write(folder / (prefix + "pck.crl.pem"), codec::to_pem("X509 CRL", c.pck_crl));
  write(folder / (prefix + "signers.pem"), c.tcb_info_issuer_chain + c.qe_identity_issuer_chain);
  write(folder / (prefix + "pck-ca.pem"), c.pck_crl_issuer_chain);
}

Wanted wanted_of(const SyntheticPlatform& platform) { return wanted_by(*evidence::parse_quote(platform.build().quote)); }

bool verifies(const SyntheticPlatform& platform, const evidence::QuoteCollateral& collateral) {
  const auto built = platform.build();
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  const auto documents = evidence::parse_documents(collateral);
  return documents.ok() && attestation::verify(*evidence::parse_quote(built.quote), *documents, anchors, SyntheticPlatform::now())
                               .evidence.has_value();
}

void expect_error(const fs::path& path, const SyntheticPlatform& platform, Errc code) {
  const auto source = open_collateral(path);
  const auto found = source ? (*source)->find(wanted_of(platform)) : Result<evidence::QuoteCollateral>{source.error()};
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(to_string(found.error().code()), to_string(code)) << found.error().detail();
}

TEST(WantedBy, IsReadFromThePckCertificate) {
  const auto wanted = wanted_of(SyntheticPlatform{});
  EXPECT_EQ(wanted.tee, TeeType::tdx);
  EXPECT_EQ(wanted.fmspc, (ByteArray<6>{0x90, 0xC0, 0x6F, 0, 0, 0}));
  EXPECT_EQ(wanted.ca, CaType::platform);
  SyntheticPlatform processor{TeeType::sgx, 3};
  processor.authority.common_name = processor.pck.issuer_name = "Test PCK Processor CA";
  EXPECT_EQ(wanted_of(processor).ca, CaType::processor);
}

TEST(WantedBy, IsReadFromChainsInAnyOrder) {
  SyntheticPlatform platform;
  auto chain = crypto::x509::parse_chain(platform.pck_chain()).value();
  std::string reversed;
  for (auto one = chain.rbegin(); one != chain.rend(); ++one) reversed += codec::to_pem("CERTIFICATE", (*one)->der);
  platform.certification = evidence::CertificationData{evidence::CertificationType::pck_chain, to_bytes(reversed)};
  const auto wanted = wanted_of(platform);
  EXPECT_EQ(wanted.fmspc, (ByteArray<6>{0x90, 0xC0, 0x6F, 0, 0, 0}));
  EXPECT_EQ(wanted.ca, CaType::platform);
}

TEST(WantedBy, IsTheTeeAloneWithoutCertificate) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.certification = evidence::CertificationData{evidence::CertificationType::ppid_plain, Bytes(36, 0)};
  const auto wanted = wanted_of(platform);
  EXPECT_EQ(wanted.tee, TeeType::sgx);
  EXPECT_FALSE(wanted.fmspc.has_value());
  EXPECT_FALSE(wanted.ca.has_value());
}

TEST(OpenCollateral, TakesOneFileForEveryQuote) {
  const test::TempDir folder;
  const auto built = SyntheticPlatform{}.build();
  write(folder.path() / "c.json", evidence::write_quote_collateral(built.collateral));
  const auto source = open_collateral(folder.path() / "c.json");
  ASSERT_TRUE(source.ok()) << source.error().text();
  EXPECT_EQ(*(*source)->find(wanted_of(SyntheticPlatform{})), built.collateral);
  EXPECT_EQ(*(*source)->find(wanted_of(SyntheticPlatform{TeeType::sgx, 3})), built.collateral);
}

TEST(OpenCollateral, TakesADirectoryOfResponses) {
  const test::TempDir folder;
  const SyntheticPlatform platform;
  write_responses(folder.path(), platform);
  write(folder.path() / "README", "not of any kind");
  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok()) << source.error().text();
  const auto found = (*source)->find(wanted_of(platform));
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(verifies(platform, *found));
}

TEST(OpenCollateral, ChoosesByTeeAndFmspc) {
  const test::TempDir folder;
  const SyntheticPlatform tdx;
  const SyntheticPlatform sgx{TeeType::sgx, 3};
  SyntheticPlatform other;
  other.tcb_info.fmspc = other.platform->fmspc = {1, 2, 3, 4, 5, 6};
  write_responses(folder.path(), other, "1-");
  write_responses(folder.path(), sgx, "2-");
  write_responses(folder.path(), tdx, "3-");
  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok());
  for (const SyntheticPlatform* platform : {&tdx, &sgx, static_cast<const SyntheticPlatform*>(&other)}) {
    const auto found = (*source)->find(wanted_of(*platform));
    ASSERT_TRUE(found.ok()) << found.error().text();
    EXPECT_TRUE(verifies(*platform, *found));
  }
  SyntheticPlatform unknown;
  unknown.platform->fmspc = {9, 9, 9, 9, 9, 9};
  expect_error(folder.path(), unknown, Errc::collateral_missing);
}

TEST(OpenCollateral, TakesWholeCollateralInADirectory) {
  const test::TempDir folder;
  const SyntheticPlatform tdx;
  const SyntheticPlatform sgx{TeeType::sgx, 3};
  write(folder.path() / "a.json", evidence::write_quote_collateral(tdx.build().collateral));
  write(folder.path() / "b.json", evidence::write_quote_collateral(sgx.build().collateral));
  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok());
  EXPECT_TRUE(verifies(sgx, *(*source)->find(wanted_of(sgx))));
  EXPECT_TRUE(verifies(tdx, *(*source)->find(wanted_of(tdx))));
}

TEST(OpenCollateral, NamesWhatIsMissing) {
  for (const auto* name : {"tcb.json", "identity.json", "root.crl", "pck.crl.pem", "signers.pem"}) {
    const test::TempDir folder;
    write_responses(folder.path(), SyntheticPlatform{});
    fs::remove(folder.path() / name);
    expect_error(folder.path(), SyntheticPlatform{}, Errc::collateral_missing);
  }
}

TEST(OpenCollateral, DoesWithoutTheAuthoritysCertificate) {
  const test::TempDir folder;
  const SyntheticPlatform platform;
  write_responses(folder.path(), platform);
  fs::remove(folder.path() / "pck-ca.pem");
  const auto found = (*open_collateral(folder.path()))->find(wanted_of(platform));
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(verifies(platform, *found));
}

TEST(OpenCollateral, RefusesADamagedFileOfAKnownKind) {
  const test::TempDir folder;
  write_responses(folder.path(), SyntheticPlatform{});
  write(folder.path() / "tcb.json", R"({"tcbInfo":{"version":3},"signature":"00"})");
  expect_error(folder.path(), SyntheticPlatform{}, Errc::collateral_malformed);
}

TEST(OpenCollateral, SaysWhenThereIsNothingToOpen) {
  const test::TempDir folder;
  expect_error(folder.path() / "none", SyntheticPlatform{}, Errc::io_error);
  expect_error(folder.path(), SyntheticPlatform{}, Errc::collateral_missing);
}

// --- manifests ---

TEST(Manifest, SaysWhichFilesCount) {
  const test::TempDir folder;
  const SyntheticPlatform platform;
  write_responses(folder.path(), platform);
  write(folder.path() / "broken.json", R"({"tcbInfo":7})");  // not listed
  write(folder.path() / "manifest.json",
        R"({"version":1,"files":[{"kind":"tcb_info","key":"90c06f000000","file":"tcb.json"},
            {"kind":"qe_identity","file":"identity.json"},{"kind":"root_ca_crl","file":"root.crl"},
            {"kind":"pck_crl","key":"platform","file":"pck.crl.pem"},{"kind":"certificates","file":"signers.pem"}]})");
  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok()) << source.error().text();
  EXPECT_TRUE(verifies(platform, *(*source)->find(wanted_of(platform))));
}

TEST(Manifest, MayBeTheListAlone) {
  const test::TempDir folder;
  write_responses(folder.path(), SyntheticPlatform{});
  write(folder.path() / "manifest.json", R"([{"kind":"tcb_info","key":"","file":"tcb.json"}])");
  expect_error(folder.path(), SyntheticPlatform{}, Errc::collateral_missing);
}

TEST(Manifest, IsRefusedWhenItIsWrong) {
  const test::TempDir folder;
  write_responses(folder.path(), SyntheticPlatform{});
  const auto refused = [&](std::string_view manifest, Errc code) {
    write(folder.path() / "manifest.json", manifest);
    expect_error(folder.path(), SyntheticPlatform{}, code);
  };
  refused("{", Errc::collateral_malformed);
  refused("7", Errc::collateral_malformed);
  refused(R"({"files":7})", Errc::collateral_malformed);
  refused(R"([{"kind":"tcb_info"}])", Errc::collateral_malformed);
  refused(R"([{"kind":"tcb_info","file":"identity.json"}])", Errc::collateral_malformed);
  refused(R"([{"file":"../tcb.json"}])", Errc::collateral_malformed);
  refused(R"([{"file":"/etc/hostname"}])", Errc::collateral_malformed);
  refused(R"([{"file":""}])", Errc::collateral_malformed);
  refused(R"([{"file":".tcb.json"}])", Errc::collateral_malformed);
  refused(R"([{"file":"tcb.json\u0000"}])", Errc::collateral_malformed);
  refused(R"({"version":2,"files":[{"file":"tcb.json"}]})", Errc::collateral_malformed);
  refused(R"({"version":"1","files":[{"file":"tcb.json"}]})", Errc::collateral_malformed);
  refused(R"([{"file":"absent.json"}])", Errc::io_error);
}

TEST(Manifest, ReadsAsItWasWritten) {
  const std::vector<ManifestEntry> entries = {{"tcb.json", "tcb_info", "90c06f000000"}, {"any thing", "", ""}};
  const auto again = parse_manifest(write_manifest(entries));
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_EQ(*again, entries);
}

TEST(Manifest, LeavesAloneWhatOthersAdd) {
  const auto entries = parse_manifest(R"({"source":"x","files":[{"kind":null,"key":{"fmspc":"00"},"file":"a","size":7}]})");
  ASSERT_TRUE(entries.ok()) << entries.error().text();
  EXPECT_EQ(*entries, (std::vector<ManifestEntry>{{"a", "", ""}}));
}

TEST(Manifest, HasAtMost1024Files) {
  std::vector<ManifestEntry> entries(kMaxBundleFiles, {"a", "", ""});
  EXPECT_TRUE(parse_manifest(write_manifest(entries)).ok());
  entries.push_back({"a", "", ""});
  EXPECT_EQ(parse_manifest(write_manifest(entries)).error().code(), Errc::limit_exceeded);
}

// --- recognition ---

template <class T>
bool is(ByteView content) {
  const auto part = recognise(content);
  return part.ok() && std::holds_alternative<T>(*part);
}

TEST(Recognise, KnowsEveryEncodingOfACrl) {
  const auto der = SyntheticPlatform{}.build().collateral.pck_crl;
  using crypto::x509::Crl;
  EXPECT_TRUE(is<Crl>(der));
  EXPECT_TRUE(is<Crl>(as_bytes(codec::to_hex(der) + "\n")));
  EXPECT_TRUE(is<Crl>(as_bytes(codec::to_base64(der))));
  EXPECT_TRUE(is<Crl>(as_bytes(codec::to_pem("X509 CRL", der))));
}

TEST(Recognise, KnowsEveryEncodingOfCertificates) {
  const auto built = SyntheticPlatform{}.build();
  EXPECT_TRUE(is<Certificates>(built.root->der));
  EXPECT_TRUE(is<Certificates>(as_bytes(built.collateral.tcb_info_issuer_chain)));
  std::string escaped;  // as in the headers of the service
  for (const char c : built.collateral.tcb_info_issuer_chain) {
    if (c == '\n') escaped += "%0A";
    else if (c == ' ') escaped += "%20";
    else if (c == '+') escaped += "%2B";
    else escaped += c;
  }
  EXPECT_TRUE(is<Certificates>(as_bytes(escaped)));
}

TEST(Recognise, LeavesOtherFilesAlone) {
  for (const std::string_view text : {"", "hello", "{}", R"({"enclaveIdentity":{"id":"QVE"},"signature":""})", "3000",
                                      "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}) {
    EXPECT_TRUE(is<OtherFile>(as_bytes(text))) << text;
  }
}

// --- Intel's own samples: another root, bare files, a quote without chain ---

TEST(IntelSample, VerifiesFromItsBareFiles) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto folder = vectors / "attestation/sgx-tdx-synthetic/intel-qvl";
  const auto quote = evidence::parse_quote(test::read_file(folder / "quote.dat"));
  ASSERT_TRUE(quote.ok());
  const auto source = open_collateral(folder);
  ASSERT_TRUE(source.ok()) << source.error().text();
  const auto found = (*source)->find(wanted_by(*quote));
  ASSERT_TRUE(found.ok()) << found.error().text();
  const auto documents = evidence::parse_documents(*found);
  ASSERT_TRUE(documents.ok());
  const auto root = crypto::x509::parse_chain(test::read_text(folder / "trustedRootCaCert.pem"));
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(root->front(), attestation::AnchorKind::given));
  const auto at = *parse_rfc3339("2024-01-01T00:00:00Z");
  EXPECT_TRUE(attestation::verify(*quote, *documents, anchors, at).evidence.has_value());
  EXPECT_EQ(attestation::verify(*quote, *documents, attestation::TrustAnchors::vendors(), at).report.error()->code(),
            Errc::root_untrusted);
}

// --- SEV-SNP ---

evidence::SnpReport any_report() { return *evidence::parse_snp_report(test::SyntheticSnp{}.build().report); }

TEST(SnpEndorsements, AreTheDirectorysCertificatesAndListsOfThatVendor) {
  const test::TempDir folder;
  test::SyntheticSnp chip;
  chip.root.common_name = chip.root.issuer_name = chip.authority.issuer_name = chip.crl->issuer_name = "ARK-Milan";
  const auto built = chip.build();
  write_responses(folder.path(), SyntheticPlatform{});
  write(folder.path() / "vcek", built.endorsements.certificates[0]->der);
  write(folder.path() / "cert_chain", codec::to_pem("CERTIFICATE", built.endorsements.certificates[1]->der) +
                                          codec::to_pem("CERTIFICATE", built.endorsements.certificates[2]->der));
  write(folder.path() / "crl", built.endorsements.crls[0].der);
  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok()) << source.error().text();
  const auto found = (*source)->find(any_report(), {});
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_EQ(found->certificates.size(), 3U);
  EXPECT_EQ(found->crls.size(), 1U);
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  EXPECT_TRUE(attestation::verify(*evidence::parse_snp_report(built.report), *found, anchors, test::SyntheticSnp::now()).evidence);
  EXPECT_TRUE(verifies(SyntheticPlatform{}, *(*source)->find(wanted_of(SyntheticPlatform{}))));  // the other vendor's, as before
}

TEST(SnpEndorsements, MayBeOneFile) {
  const test::TempDir folder;
  const auto built = test::SyntheticSnp{}.build();
  write(folder.path() / "chain.pem", codec::to_pem("CERTIFICATE", built.root->der));
  write(folder.path() / "crl.der", built.endorsements.crls[0].der);
  const auto chain = open_collateral(folder.path() / "chain.pem");
  ASSERT_TRUE(chain.ok()) << chain.error().text();
  EXPECT_EQ((*chain)->find(any_report(), {})->certificates.size(), 1U);
  const auto crl = open_collateral(folder.path() / "crl.der");
  ASSERT_TRUE(crl.ok()) << crl.error().text();
  EXPECT_EQ((*crl)->find(any_report(), {})->crls.size(), 1U);
}

TEST(SnpEndorsements, AreMissingWhereOnlyTheOtherVendorsAre) {
  const test::TempDir folder;
  write_responses(folder.path(), SyntheticPlatform{});
  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->find(any_report(), {}).error().code(), Errc::collateral_missing);
  const SingleCollateral single{SyntheticPlatform{}.build().collateral};
  EXPECT_EQ(single.find(any_report(), {}).error().code(), Errc::collateral_missing);
}

}  // namespace
}  // namespace cloister::collateral
