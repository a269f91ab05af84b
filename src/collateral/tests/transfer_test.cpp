#include "cloister/collateral/transfer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "support/support.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::collateral {
namespace {

using evidence::TeeType;
using test::SyntheticPlatform;

BundleFile whole_of(const SyntheticPlatform& platform) {
  return {"collateral.json", to_bytes(evidence::write_quote_collateral(platform.build().collateral))};
}
std::vector<std::string> names_of(const std::vector<Document>& documents) {
  std::vector<std::string> out;
  for (const auto& document : documents) out.push_back(to_string(document.key));
  std::ranges::sort(out);
  return out;
}
void write(const std::filesystem::path& folder, const std::vector<BundleFile>& files) {
  for (const auto& file : files) std::ofstream{folder / file.name, std::ios::binary} << as_text(file.content);
}

TEST(DocumentsOf, TakesAWholeFileApart) {
  const auto found = documents_of({whole_of(SyntheticPlatform{})});
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(found->left_out.empty());
  EXPECT_EQ(names_of(found->documents),
            (std::vector<std::string>{"pck_crl/platform", "qe_identity/td_qe", "root_ca_crl", "tcb_info/tdx/90c06f000000"}));
}

TEST(DocumentsOf, TakesTheNewerOfTwo) {
  SyntheticPlatform newer;
  newer.tcb_info.issue_date += std::chrono::hours{1};
  ++newer.tcb_info.tcb_evaluation_data_number;
  for (const bool first : {true, false}) {
    std::vector<BundleFile> files{whole_of(SyntheticPlatform{}), whole_of(newer)};
    if (first) std::ranges::reverse(files);
    const auto found = documents_of(files);
    ASSERT_TRUE(found.ok());
    const auto tcb = std::ranges::find(found->documents, parse_key("tcb_info/tdx/90c06f000000").value(), &Document::key);
    EXPECT_EQ(tcb->evaluation_number, newer.tcb_info.tcb_evaluation_data_number);
  }
}

TEST(DocumentsOf, LeavesOutWhatHasNoSignerHere) {
  const auto built = SyntheticPlatform{}.build().collateral;
  const auto found = documents_of({{"tcb.json", to_bytes(evidence::write_tcb_info(built.tcb_info, built.tcb_info_signature))},
                                   {"README", to_bytes(std::string_view{"words"})}});
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->documents.empty());
  ASSERT_EQ(found->left_out.size(), 2U);
  EXPECT_TRUE(found->left_out[0].starts_with("tcb.json: "));
}

TEST(DocumentsOf, RefusesADamagedFile) {
  const auto found = documents_of({{"tcb.json", to_bytes(std::string_view{R"({"tcbInfo":7})"})}});
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), Errc::collateral_malformed);
}

TEST(DocumentsOf, DoesWithoutTheIssuerOfAPckCrl) {
  auto whole = SyntheticPlatform{}.build().collateral;
  whole.pck_crl_issuer_chain = whole.tcb_info_issuer_chain;  // as many files of collateral have it
  const auto found = documents_of({{"collateral.json", to_bytes(evidence::write_quote_collateral(whole))}});
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(found->left_out.empty());
  EXPECT_EQ(found->documents.size(), 4U);
}

TEST(CarriedBundle, HasEverythingOfRealCollateral) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  std::size_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator{vectors / "attestation/dcap-cases/bundles"}) {
    SCOPED_TRACE(file.path().filename().string());
    const auto files = read_bundle(file.path());
    ASSERT_TRUE(files.ok());
    const auto found = documents_of(*files);
    ASSERT_TRUE(found.ok()) << found.error().text();
    EXPECT_TRUE(found->left_out.empty()) << found->left_out.front();
    EXPECT_EQ(found->documents.size(), 4U);
    const auto bundle = Bundle::from_files(write_bundle(found->documents));
    ASSERT_TRUE(bundle.ok()) << bundle.error().text();
    const auto original = evidence::parse_quote_collateral(as_text(files->front().content)).value();
    const auto tcb = evidence::parse_tcb_info_body(original.tcb_info).value();
    const auto carried = bundle->find({.tee = tcb.tee, .fmspc = tcb.fmspc, .ca = {}});
    ASSERT_TRUE(carried.ok()) << carried.error().text();
    EXPECT_EQ(carried->tcb_info, original.tcb_info);
    EXPECT_EQ(carried->qe_identity, original.qe_identity);
    EXPECT_EQ(carried->pck_crl, original.pck_crl);
    EXPECT_EQ(carried->root_ca_crl, original.root_ca_crl);
    ++count;
  }
  EXPECT_GT(count, 0U);
}

TEST(CarriedBundle, IsWrittenForVerifiersAndForCaches) {
  const test::TempDir folder;
  const SyntheticPlatform platform;
  const auto found = documents_of({whole_of(platform), whole_of(SyntheticPlatform{TeeType::sgx, 3})});
  ASSERT_TRUE(found.ok());
  write(folder.path(), write_bundle(found->documents));

  const auto source = open_collateral(folder.path());
  ASSERT_TRUE(source.ok()) << source.error().text();
  const auto collateral = (*source)->find(wanted_by(*evidence::parse_quote(platform.build().quote)));
  ASSERT_TRUE(collateral.ok()) << collateral.error().text();
  EXPECT_TRUE(evidence::parse_documents(*collateral).ok());

  const auto files = read_bundle(folder.path());
  ASSERT_TRUE(files.ok());
  const auto again = documents_of(*files);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->left_out.empty());
  EXPECT_EQ(again->documents, found->documents);
}

TEST(CarriedBundle, KeepsTheEvaluationThatItsManifestNames) {
  const test::TempDir folder;
  auto found = documents_of({whole_of(SyntheticPlatform{})});
  ASSERT_TRUE(found.ok());
  for (auto& document : found->documents) {
    if (auto* info = std::get_if<TcbInfoKey>(&document.key)) info->evaluation.early = true;
  }
  write(folder.path(), write_bundle(found->documents));
  const auto again = documents_of(read_bundle(folder.path()).value());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->documents, found->documents);
}

TEST(CarriedBundle, CarriesAmdsDocuments) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto found = documents_of({{"vcek", test::read_file(vectors / "attestation/snp/virtee/vcek_turin.der")},
                                   {"roots", test::read_file(vectors / "attestation/snp/roots/turin_ask_ark_asvk.pem")}});
  ASSERT_TRUE(found.ok()) << found.error().text();
  ASSERT_EQ(found->documents.size(), 3U);
  const auto again = documents_of(write_bundle(found->documents));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(names_of(again->documents), names_of(found->documents));
}

TEST(CarriedBundle, MayBeOneFile) {
  const test::TempDir folder;
  write(folder.path(), {whole_of(SyntheticPlatform{})});
  const auto files = read_bundle(folder.path() / "collateral.json");
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(documents_of(*files)->documents.size(), 4U);
  EXPECT_EQ(read_bundle(folder.path() / "absent").error().code(), Errc::io_error);
}

}  // namespace
}  // namespace cloister::collateral
