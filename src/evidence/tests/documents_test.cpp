#include <gtest/gtest.h>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/tcb_info.hpp"
#include "samples.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;
using cloister::test::read_text;
using test::sample_qe_identity;
using test::sample_tcb_info;

/// `text` with its first `from` made `to`.
std::string with(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string lower(std::string text) {
  for (auto& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

std::string tcb_v2() { return write_tcb_info_body(sample_tcb_info(2, TeeType::sgx)); }
std::string tcb_sgx() { return write_tcb_info_body(sample_tcb_info(3, TeeType::sgx)); }
std::string tcb_tdx() { return write_tcb_info_body(sample_tcb_info(3, TeeType::tdx)); }
std::string identity() { return write_qe_identity_body(sample_qe_identity()); }

void expect_tcb_refused(const std::string& body, std::string_view detail, Errc code = Errc::collateral_malformed) {
  const auto info = parse_tcb_info_body(body);
  ASSERT_FALSE(info) << body;
  EXPECT_EQ(info.error().code(), code) << info.error().text();
  EXPECT_NE(info.error().detail().find(detail), std::string::npos) << info.error().text();
}

void expect_identity_refused(const std::string& body, std::string_view detail, Errc code = Errc::collateral_malformed) {
  const auto read = parse_qe_identity_body(body);
  ASSERT_FALSE(read) << body;
  EXPECT_EQ(read.error().code(), code) << read.error().text();
  EXPECT_NE(read.error().detail().find(detail), std::string::npos) << read.error().text();
}

TEST(TcbStatus, NamesRoundTrip) {
  for (const auto status : {TcbStatus::up_to_date, TcbStatus::sw_hardening_needed, TcbStatus::configuration_needed,
                            TcbStatus::configuration_and_sw_hardening_needed, TcbStatus::out_of_date,
                            TcbStatus::out_of_date_configuration_needed, TcbStatus::revoked}) {
    EXPECT_EQ(tcb_status_from_string(to_string(status)), status);
  }
  for (const auto* name : {"", "uptodate", "UpToDate ", "TDRelaunchAdvised", "NotSupported"}) {
    EXPECT_FALSE(tcb_status_from_string(name)) << name;
  }
}

TEST(TcbInfo, RoundTripsInEveryForm) {
  for (const auto& info : {sample_tcb_info(2, TeeType::sgx), sample_tcb_info(3, TeeType::sgx), sample_tcb_info(3, TeeType::tdx)}) {
    const auto read = parse_tcb_info_body(write_tcb_info_body(info));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, info);
  }
}

TEST(TcbInfo, EnvelopeKeepsTheSignedBytes) {
  const auto body = with(tcb_tdx(), "\"version\":3", " \"version\" :\n3");
  ByteArray<64> signature;
  signature.fill(0xAB);
  const auto read = parse_tcb_info(write_tcb_info(body, signature));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->body, body);
  EXPECT_EQ(read->signature, signature);
  EXPECT_EQ(read->info, sample_tcb_info(3, TeeType::tdx));
}

struct RealDocument {
  const char* file;
  std::uint32_t version;
  TeeType tee;
  const char* fmspc;
  std::uint32_t evaluation;
};

TEST(TcbInfo, ReadsRealDocuments) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const std::vector<RealDocument> documents{
      {"sgx-tdx-synthetic/intel-qvl/tcbInfo.json", 2, TeeType::sgx, "00707f000000", 3},
      {"sgx/automata-dcap-rs/tcbinfov2.json", 2, TeeType::sgx, "00606a000000", 17},
      {"sgx/automata-evm/0825_sgx_tcbinfov3_00606a000000.json", 3, TeeType::sgx, "00606a000000", 17},
      {"sgx/automata-solana/tcb_info_v3_sgx.json", 3, TeeType::sgx, "00a067110000", 17},
      {"sgx/intel-pckcertselection/tcb_info_4.json", 3, TeeType::sgx, "00707f000000", 0},
      {"tdx/attestation-rs/collateral_tcb_info_50806f000000.json", 3, TeeType::tdx, "50806f000000", 18},
      {"tdx/attestation-rs/collateral_tcb_info_90c06f000000.json", 3, TeeType::tdx, "90c06f000000", 18},
      {"tdx/automata-evm/0625_tcbinfo.json", 2, TeeType::sgx, "00606a000000", 17},
      {"tdx/automata-evm/1025_tcb_info.json", 3, TeeType::tdx, "00806f050000", 17},
      {"tdx/go-tdx-guest/sample_tcbInfo_response", 3, TeeType::tdx, "50806f000000", 15},
      {"tdx/go-tdx-guest/sample_tcbinfo_response_v5", 3, TeeType::tdx, "90c06f000000", 18},
      {"tdx/trustee/tcbInfo.json", 3, TeeType::tdx, "00a06d080000", 17},
  };
  for (const auto& document : documents) {
    SCOPED_TRACE(document.file);
    const auto text = read_text(vectors / "attestation" / document.file);
    const auto read = parse_tcb_info(text);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->info.version, document.version);
    EXPECT_EQ(read->info.tee, document.tee);
    EXPECT_EQ(codec::to_hex(read->info.fmspc), document.fmspc);
    EXPECT_EQ(read->info.tcb_evaluation_data_number, document.evaluation);
    EXPECT_NE(text.find(read->body), std::string::npos);
    EXPECT_EQ(*parse_tcb_info_body(write_tcb_info_body(read->info)), read->info);
  }
}

TEST(TcbInfo, WritesRealDocumentsAsIntelDoes) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* file : {"tdx/automata-evm/1025_tcb_info.json", "sgx/automata-dcap-rs/tcbinfov2.json",
                           "sgx/automata-evm/0825_sgx_tcbinfov3_00606a000000.json"}) {
    SCOPED_TRACE(file);
    const auto read = parse_tcb_info(read_text(vectors / "attestation" / file));
    ASSERT_TRUE(read);
    EXPECT_EQ(lower(write_tcb_info_body(read->info)), lower(read->body));  // Intel mixes the case of hex digits
  }
}

TEST(TcbInfo, SignaturesOfRealDocumentsHoldOverTheirBodies) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto collateral = parse_quote_collateral(read_text(vectors / "attestation/dcap-cases/bundles/evm1025-00806f.json"));
  ASSERT_TRUE(collateral) << collateral.error().text();
  const auto chain = crypto::x509::parse_chain(collateral->tcb_info_issuer_chain);
  ASSERT_TRUE(chain);
  const auto* key = std::get_if<crypto::EcPublicKey>(&chain->front()->key);
  ASSERT_NE(key, nullptr);
  EXPECT_TRUE(key->verify(as_bytes(collateral->tcb_info), collateral->tcb_info_signature));
  EXPECT_TRUE(key->verify(as_bytes(collateral->qe_identity), collateral->qe_identity_signature));
}

TEST(TcbInfo, ReadsTdxModuleIdentitiesAndAdvisories) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto read = parse_tcb_info(read_text(vectors / "attestation/tdx/automata-evm/1025_tcb_info.json"));
  ASSERT_TRUE(read);
  const auto& info = read->info;
  EXPECT_EQ(to_rfc3339(info.issue_date), "2025-10-19T17:48:50Z");
  ASSERT_EQ(info.tdx_module_identities.size(), 2U);
  EXPECT_EQ(info.tdx_module_identities[1].id, "TDX_01");
  EXPECT_EQ(info.tdx_module_identities[1].levels[1].isv_svn, 2);
  EXPECT_EQ(info.tdx_module_identities[1].levels[1].status, TcbStatus::out_of_date);
  const auto& level = info.levels.front();
  EXPECT_EQ(level.sgx[0].svn, 7);
  EXPECT_EQ(level.sgx[7].type, "SEAMLDR ACM");
  EXPECT_EQ(level.pce_svn, 11);
  ASSERT_TRUE(level.tdx);
  EXPECT_EQ((*level.tdx)[0].svn, 5);
  EXPECT_TRUE(level.advisory_ids.empty());
  EXPECT_FALSE(info.levels.back().advisory_ids.empty());
}

TEST(TcbInfo, RefusesThePublicNegatives) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(vectors / "attestation/sgx/openenclave-negative/tcbinfo")) {
    if (entry.path().filename().string().find("Negative") == std::string::npos) continue;
    const auto read = parse_tcb_info(read_text(entry.path()));
    EXPECT_FALSE(read) << entry.path();
    ++seen;
  }
  EXPECT_GT(seen, 8U);
}

TEST(TcbInfo, LeavesUnknownMembersAlone) {
  const auto body = with(tcb_tdx(), "\"tcbType\"", "\"aMemberOfTomorrow\":[1],\"tcbType\"");
  const auto read = parse_tcb_info_body(body);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, sample_tcb_info(3, TeeType::tdx));
}

TEST(TcbInfo, RefusesOtherVersions) {
  expect_tcb_refused(with(tcb_tdx(), "\"version\":3", "\"version\":1"), "version");
  expect_tcb_refused(with(tcb_tdx(), "\"version\":3", "\"version\":4"), "version");
}

TEST(TcbInfo, RefusesOtherIds) { expect_tcb_refused(with(tcb_tdx(), "\"TDX\"", "\"tdx\""), "SGX or TDX"); }

TEST(TcbInfo, RefusesAMissingIdInVersion3) { expect_tcb_refused(with(tcb_tdx(), "\"id\":\"TDX\",", ""), "id"); }

TEST(TcbInfo, RefusesAnotherTcbType) { expect_tcb_refused(with(tcb_tdx(), "\"tcbType\":0", "\"tcbType\":1"), "tcbType"); }

TEST(TcbInfo, RefusesUnknownStatuses) {
  expect_tcb_refused(with(tcb_tdx(), "\"Revoked\"", "\"revoked\""), "not a TCB status");
  expect_tcb_refused(with(tcb_tdx(), "\"OutOfDate\"", "\"Fine\""), "not a TCB status");
}

TEST(TcbInfo, RefusesDatesThatAreNone) {
  expect_tcb_refused(with(tcb_tdx(), "2026-01-05T", "2026-13-05T"), "issueDate");
  expect_tcb_refused(with(tcb_tdx(), "2026-01-25T", "2026-02-30T"), "nextUpdate");
  expect_tcb_refused(with(tcb_tdx(), "\"tcbDate\":\"2026-01-03T12:00:00Z\"", "\"tcbDate\":\"soon\""), "tcbDate");
}

TEST(TcbInfo, RefusesEachRequiredMemberMissing) {
  for (const auto* name : {"version", "issueDate", "nextUpdate", "fmspc", "pceId", "tcbType", "tcbEvaluationDataNumber",
                           "tdxModule", "tcbLevels"}) {
    auto value = *json::parse(tcb_tdx());
    auto& members = *value.as_object();
    std::erase_if(members, [&](const auto& entry) { return entry.first == name; });
    expect_tcb_refused(json::write(value), name);
  }
}

TEST(TcbInfo, RefusesWrongLengths) {
  auto info = sample_tcb_info(3, TeeType::sgx);
  const auto fmspc = codec::to_hex(info.fmspc);
  expect_tcb_refused(with(tcb_sgx(), fmspc, fmspc.substr(2)), "fmspc");
  expect_tcb_refused(with(tcb_sgx(), fmspc, "zz" + fmspc.substr(2)), "fmspc");
}

TEST(TcbInfo, RefusesSvnsOutOfRange) {
  expect_tcb_refused(with(tcb_sgx(), "\"svn\":9", "\"svn\":256"), "svn");
  expect_tcb_refused(with(tcb_sgx(), "\"svn\":9", "\"svn\":-1"), "svn");
  expect_tcb_refused(with(tcb_sgx(), "\"pcesvn\":11", "\"pcesvn\":65536"), "pcesvn");
  expect_tcb_refused(with(tcb_v2(), "\"sgxtcbcomp01svn\":9", "\"sgxtcbcomp01svn\":256"), "sgxtcbcomp01svn");
}

TEST(TcbInfo, RefusesASampleWithSvnsThatNoByteHolds) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto read = parse_tcb_info(read_text(vectors / "attestation/sgx-tdx-synthetic/intel-qvl/tdx/tcbInfo.json"));
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().detail().find("component 2.svn"), std::string::npos) << read.error().text();
}

TEST(TcbInfo, RefusesAnythingButSixteenComponents) {
  expect_tcb_refused(with(tcb_sgx(), ",{\"svn\":10}", ""), "16 components expected, got 15");
  expect_tcb_refused(with(tcb_sgx(), ",{\"svn\":10}", ",{\"svn\":10},{\"svn\":10}"), "16 components expected, got 17");
  expect_tcb_refused(with(tcb_v2(), "\"sgxtcbcomp16svn\"", "\"sgxtcbcomp17svn\""), "sgxtcbcomp16svn");
}

TEST(TcbInfo, RefusesTdxLevelsWithoutTdxComponents) {
  expect_tcb_refused(with(tcb_tdx(), "tdxtcbcomponents", "other"), "tdxtcbcomponents");
}

TEST(TcbInfo, RefusesNoLevels) {
  auto info = sample_tcb_info(3, TeeType::tdx);
  info.levels.clear();
  expect_tcb_refused(write_tcb_info_body(info), "at least one level");
  info = sample_tcb_info(3, TeeType::tdx);
  info.tdx_module_identities.front().levels.clear();
  expect_tcb_refused(write_tcb_info_body(info), "at least one level");
}

TEST(TcbInfo, RefusesMoreThanItsLimits) {
  auto levels = sample_tcb_info(3, TeeType::sgx);
  levels.levels.resize(kMaxTcbLevels + 1, levels.levels.front());
  expect_tcb_refused(write_tcb_info_body(levels), "tcbLevels", Errc::limit_exceeded);
  auto identities = sample_tcb_info(3, TeeType::tdx);
  identities.tdx_module_identities.resize(kMaxModuleIdentities + 1, identities.tdx_module_identities.front());
  expect_tcb_refused(write_tcb_info_body(identities), "tdxModuleIdentities", Errc::limit_exceeded);
  auto advisories = sample_tcb_info(3, TeeType::sgx);
  advisories.levels.front().advisory_ids.resize(kMaxAdvisories + 1, "INTEL-SA-00001");
  expect_tcb_refused(write_tcb_info_body(advisories), "advisoryIDs", Errc::limit_exceeded);
  expect_tcb_refused(std::string(kMaxTcbDocumentSize, ' ') + tcb_sgx(), "", Errc::limit_exceeded);
}

TEST(TcbInfo, RefusesTextThatIsNotOneObject) {
  expect_tcb_refused("", "");
  expect_tcb_refused("[]", "object");
  expect_tcb_refused(tcb_sgx() + "{}", "");
  expect_tcb_refused(with(tcb_sgx(), "\"tcbType\":0", "\"tcbType\":0,\"tcbType\":0"), "");
}

TEST(TcbInfo, RefusesEnvelopesWithoutASignature) {
  const auto body = tcb_sgx();
  const ByteArray<64> signature{};
  for (const auto& envelope : {
           with(write_tcb_info(body, signature), "\"signature\"", "\"SIGNATURE\""),
           with(write_tcb_info(body, signature), "\"signature\":\"00", "\"signature\":\""),
           with(write_tcb_info(body, signature), "\"signature\":\"00", "\"signature\":\"xx"),
           with(write_tcb_info(body, signature), "\"tcbInfo\"", "\"TCBINFO\""),
       }) {
    const auto read = parse_tcb_info(envelope);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), Errc::collateral_malformed);
  }
}

TEST(QeIdentity, RoundTrips) {
  const auto read = parse_qe_identity_body(identity());
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, sample_qe_identity());
}

TEST(QeIdentity, ReadsRealDocuments) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const std::vector<std::tuple<const char*, EnclaveId, std::uint16_t, std::size_t>> documents{
      {"sgx/automata-dcap-rs/qeidentityv2.json", EnclaveId::qe, 1, 6},
      {"sgx/automata-evm/0825_sgx_qeidentity_v4.json", EnclaveId::qe, 1, 6},
      {"tdx/automata-evm/1025_identity.json", EnclaveId::td_qe, 2, 1},
      {"tdx/go-tdx-guest/sample_qeIdentity_response", EnclaveId::td_qe, 2, 1},
      {"tdx/trustee/enclaveIdentity.json", EnclaveId::td_qe, 2, 1},
      {"sgx-tdx-synthetic/intel-qvl/qeIdentity.json", EnclaveId::qe, 1, 1},
  };
  for (const auto& [file, id, prod_id, levels] : documents) {
    SCOPED_TRACE(file);
    const auto read = parse_qe_identity(read_text(vectors / "attestation" / file));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->identity.id, id);
    EXPECT_EQ(read->identity.isv_prod_id, prod_id);
    EXPECT_EQ(read->identity.misc_select_mask, 0xFFFFFFFFU);
    EXPECT_EQ(read->identity.levels.size(), levels);
    EXPECT_EQ(lower(write_qe_identity_body(read->identity)), lower(read->body));
  }
}

TEST(QeIdentity, ReadsMiscselectAsTheReportHasIt) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto folder = vectors / "attestation/sgx-tdx-synthetic/intel-qvl";
  const auto read = parse_qe_identity(read_text(folder / "qeIdentity.json"));
  const auto quote = parse_quote(cloister::test::read_file(folder / "quote.dat"));
  ASSERT_TRUE(read && quote);
  EXPECT_NE(read->identity.misc_select, 0U);
  EXPECT_EQ(quote->signature().qe_report.misc_select, read->identity.misc_select);
}

TEST(QeIdentity, RefusesTheVerifiersOwnIdentity) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto read = parse_qe_identity(read_text(vectors / "attestation/sgx-tdx-synthetic/intel-qvl/qveIdentity.json"));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::collateral_malformed);
}

TEST(QeIdentity, RefusesOtherVersions) {
  expect_identity_refused(with(identity(), "\"version\":2", "\"version\":1"), "version");
  expect_identity_refused(with(identity(), "\"version\":2", "\"version\":3"), "version");
}

TEST(QeIdentity, RefusesEachMemberMissing) {
  for (const auto* name : {"id", "version", "issueDate", "nextUpdate", "tcbEvaluationDataNumber", "miscselect",
                           "miscselectMask", "attributes", "attributesMask", "mrsigner", "isvprodid", "tcbLevels"}) {
    auto value = *json::parse(identity());
    std::erase_if(*value.as_object(), [&](const auto& entry) { return entry.first == name; });
    expect_identity_refused(json::write(value), name);
  }
}

TEST(QeIdentity, RefusesWrongValues) {
  expect_identity_refused(with(identity(), "\"isvsvn\":4", "\"isvsvn\":65536"), "isvsvn");
  expect_identity_refused(with(identity(), "\"isvsvn\":4", "\"isvsvn\":\"4\""), "isvsvn");
  expect_identity_refused(with(identity(), "\"OutOfDate\"", "\"Unknown\""), "not a TCB status");
  expect_identity_refused(with(identity(), "\"miscselect\":\"", "\"miscselect\":\"00"), "miscselect");
  auto none = sample_qe_identity();
  none.levels.clear();
  expect_identity_refused(write_qe_identity_body(none), "at least one level");
  auto many = sample_qe_identity();
  many.levels.resize(kMaxTcbLevels + 1, many.levels.front());
  expect_identity_refused(write_qe_identity_body(many), "tcbLevels", Errc::limit_exceeded);
}

TEST(QeIdentity, EnvelopeKeepsTheSignedBytes) {
  ByteArray<64> signature;
  signature.fill(0x17);
  const auto read = parse_qe_identity(write_qe_identity(identity(), signature));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->body, identity());
  EXPECT_EQ(read->signature, signature);
}

}  // namespace
}  // namespace cloister::evidence
