#include "cloister/collateral_service/routes.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "cloister/codec/text.hpp"
#include "cloister/collateral/transfer.hpp"
#include "cloister/collateral_service/documents.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/vendor_service.hpp"

namespace cloister::collateral_service {
namespace {

using collateral::parse_key;
using evidence::TeeType;
using test::SyntheticPlatform;

http::Request request_of(std::string_view target, http::Headers headers = {}) {
  const auto parsed = http::parse_target(target).value();
  http::Request out;
  for (const auto& segment : parsed.segments) out.path += '/' + segment;
  out.query = parsed.query;
  out.headers = std::move(headers);
  return out;
}

class Routes : public testing::Test {
 protected:
  Routes() {
    for (auto& document : test::documents_of(SyntheticPlatform{}.build().collateral)) documents_.put(std::move(document));
    for (auto& document : test::documents_of(SyntheticPlatform{TeeType::sgx, 3}.build().collateral)) documents_.put(std::move(document));
  }
  [[nodiscard]] http::Response get(std::string_view target, http::Headers headers = {}) const {
    return respond(documents_, request_of(target, std::move(headers)));
  }
  static std::string header(const http::Response& response, std::string_view name) {
    return std::string{response.headers.find(name).value_or("absent")};
  }
  MemoryDocuments documents_;
};

TEST_F(Routes, AreTheVendors) {
  const auto hwid = std::string(128, 'a');
  const std::vector<std::pair<std::string, std::string>> known{
      {"/sgx/certification/v4/tcb?fmspc=00906ED50000", "tcb_info/sgx/00906ed50000"},
      {"/sgx/certification/v3/tcb?fmspc=00906ed50000&update=standard", "tcb_info/sgx/00906ed50000"},
      {"/tdx/certification/v4/tcb?fmspc=90c06f000000&update=early", "tcb_info/tdx/90c06f000000/early"},
      {"/tdx/certification/v4/tcb?tcbEvaluationDataNumber=17&fmspc=90c06f000000", "tcb_info/tdx/90c06f000000/eval-17"},
      {"/sgx/certification/v4/qe/identity", "qe_identity/qe"},
      {"/tdx/certification/v4/qe/identity?update=early", "qe_identity/td_qe/early"},
      {"/sgx/certification/v4/qve/identity", "qve_identity"},
      {"/sgx/certification/v4/pckcrl?ca=platform&encoding=der", "pck_crl/platform"},
      {"/sgx/certification/v4/pckcrl?ca=processor", "pck_crl/processor"},
      {"/sgx/certification/v4/rootcacrl", "root_ca_crl"},
      {"/vcek/v1/Milan/cert_chain", "amd_chain/vcek/Milan"},
      {"/vlek/v1/Genoa/crl", "amd_crl/vlek/Genoa"},
      {"/vcek/v1/Milan/" + hwid + "?blSPL=03&teeSPL=00&snpSPL=22&ucodeSPL=213", "vcek/Milan/" + hwid + "/bl3-tee0-snp22-ucode213"},
      {"/vcek/v1/Turin/0102030405060708?fmcSPL=01&blSPL=02", "vcek/Turin/0102030405060708/fmc1-bl2-tee0-snp0-ucode0"},
  };
  for (const auto& [target, key] : known) {
    const auto request = request_of(target);
    const auto asked = asked_for(request.path, request.query);
    ASSERT_TRUE(asked.ok()) << target << ": " << asked.error().text();
    EXPECT_EQ(to_string(asked->key), key);
  }
}

TEST_F(Routes, RefuseWhatTheVendorsDoNotHave) {
  for (const auto* target : {"/", "/sgx/certification/v4", "/sgx/certification/v5/tcb?fmspc=00906ed50000",
                             "/tdx/certification/v3/tcb?fmspc=00906ed50000", "/tdx/certification/v4/qve/identity",
                             "/tdx/certification/v4/pckcrl?ca=platform", "/tdx/certification/v4/rootcacrl",
                             "/sgx/other/v4/tcb?fmspc=00906ed50000", "/sgx/certification/v4/tcb/more", "/sgx/certification/v4/qe",
                             "/vcek/v2/Milan/crl", "/vcek/v1/Rome/crl", "/vcek/v1/Milan/0102", "/vcek/v1/Milan/crl/more",
                             "/vlek/v1/Turin/0102030405060708", "/vcek/v1/Turin/zz02030405060708"}) {
    EXPECT_EQ(get(target).status, 404) << target;
  }
  for (const auto* target : {"/sgx/certification/v4/tcb", "/sgx/certification/v4/tcb?fmspc=00", "/sgx/certification/v4/tcb?fmspc=00906ed50000&x=1",
                             "/sgx/certification/v4/tcb?fmspc=00906ed50000&update=late",
                             "/sgx/certification/v4/tcb?fmspc=00906ed50000&update=early&tcbEvaluationDataNumber=1",
                             "/sgx/certification/v4/tcb?fmspc=00906ed50000&tcbEvaluationDataNumber=x",
                             "/sgx/certification/v4/pckcrl", "/sgx/certification/v4/pckcrl?ca=root",
                             "/sgx/certification/v4/pckcrl?ca=platform&encoding=xml",
                             "/vcek/v1/Turin/0102030405060708?blSPL=256", "/vcek/v1/Turin/0102030405060708?splSPL=1"}) {
    EXPECT_EQ(get(target).status, 400) << target;
  }
}

TEST_F(Routes, GiveDocumentsAsTheVendorsDo) {
  const auto tcb = get("/tdx/certification/v4/tcb?fmspc=90c06f000000");
  EXPECT_EQ(tcb.status, 200);
  EXPECT_EQ(header(tcb, "Content-Type"), "application/json");
  EXPECT_TRUE(evidence::parse_tcb_info(as_text(tcb.body)).ok());
  EXPECT_TRUE(header(tcb, "TCB-Info-Issuer-Chain").starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
  EXPECT_TRUE(header(tcb, "TCB-Info-Issuer-Chain").ends_with("-----END%20CERTIFICATE-----%0A"));
  const auto v3 = get("/sgx/certification/v3/tcb?fmspc=" + codec::to_hex(SyntheticPlatform{TeeType::sgx, 3}.tcb_info.fmspc));
  EXPECT_EQ(header(v3, "TCB-Info-Issuer-Chain"), "absent");
  EXPECT_NE(header(v3, "SGX-TCB-Info-Issuer-Chain"), "absent");
  EXPECT_NE(header(get("/tdx/certification/v4/qe/identity"), "SGX-Enclave-Identity-Issuer-Chain"), "absent");
  const auto crl = get("/sgx/certification/v4/pckcrl?ca=platform&encoding=der");
  EXPECT_EQ(header(crl, "Content-Type"), "application/pkix-crl");
  EXPECT_TRUE(crypto::x509::parse_crl(crl.body).ok());
  EXPECT_NE(header(crl, "SGX-PCK-CRL-Issuer-Chain"), "absent");
  const auto pem = get("/sgx/certification/v4/pckcrl?ca=platform");
  EXPECT_EQ(header(pem, "Content-Type"), "application/x-pem-file");
  EXPECT_TRUE(as_text(pem.body).starts_with("-----BEGIN X509 CRL-----"));
  EXPECT_TRUE(codec::from_hex(as_text(get("/sgx/certification/v4/rootcacrl").body)).ok());
}

TEST_F(Routes, AnswerAnEvaluationByItsNumber) {
  const auto number = std::to_string(SyntheticPlatform{}.tcb_info.tcb_evaluation_data_number);
  const std::string tcb = "/tdx/certification/v4/tcb?fmspc=90c06f000000&";
  EXPECT_EQ(get(tcb + "tcbEvaluationDataNumber=" + number).status, 200);
  EXPECT_EQ(get(tcb + "tcbEvaluationDataNumber=4000000000").status, 404);
  EXPECT_EQ(get(tcb + "update=early").status, 200);
}

TEST_F(Routes, SayWhenNothingChanged) {
  const std::string tcb = "/tdx/certification/v4/tcb?fmspc=90c06f000000";
  const auto first = get(tcb);
  EXPECT_EQ(get(tcb, {{"If-None-Match", header(first, "ETag")}}).status, 304);
  EXPECT_EQ(get(tcb, {{"If-None-Match", "\"other\""}}).status, 200);
  EXPECT_EQ(get(tcb, {{"If-Modified-Since", header(first, "Last-Modified")}}).status, 304);
  EXPECT_EQ(get(tcb, {{"If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"}}).status, 200);
  EXPECT_EQ(get(tcb, {{"If-Modified-Since", "yesterday"}}).status, 200);
  // The tag decides where there are both.
  EXPECT_EQ(get(tcb, {{"If-None-Match", "\"other\""}, {"If-Modified-Since", header(first, "Last-Modified")}}).status, 200);
}

TEST(FileDocuments, FollowsItsFile) {
  const test::TempDir folder;
  const auto file = folder.path() / "collateral.json";
  SyntheticPlatform platform;
  std::ofstream{file} << evidence::write_quote_collateral(platform.build().collateral);
  const auto documents = FileDocuments::open(file);
  ASSERT_TRUE(documents.ok()) << documents.error().text();
  EXPECT_EQ((*documents)->count(), 4U);
  const auto key = parse_key("tcb_info/tdx/90c06f000000").value();
  const auto before = (*documents)->find(key);
  ASSERT_TRUE(before.has_value());
  ++platform.tcb_info.tcb_evaluation_data_number;
  const auto changed_at = std::filesystem::last_write_time(file) + std::chrono::seconds{2};
  std::ofstream{file} << evidence::write_quote_collateral(platform.build().collateral);
  std::filesystem::last_write_time(file, changed_at);
  EXPECT_EQ((*documents)->find(key)->evaluation_number, *before->evaluation_number + 1);
  std::ofstream{file} << "{";
  std::filesystem::last_write_time(file, changed_at + std::chrono::seconds{2});
  EXPECT_TRUE((*documents)->find(key).has_value());  // as it was
}

TEST(FileDocuments, RefusesWhatHoldsNone) {
  const test::TempDir folder;
  std::ofstream{folder.path() / "README"} << "nothing";
  EXPECT_EQ(FileDocuments::open(folder.path()).error().code(), Errc::collateral_missing);
  EXPECT_EQ(FileDocuments::open(folder.path() / "absent").error().code(), Errc::io_error);
}

}  // namespace
}  // namespace cloister::collateral_service
