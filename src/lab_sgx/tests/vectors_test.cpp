#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/quote.hpp"
#include "enclave.hpp"
#include "support/support.hpp"

/// Enclaves, signatures and quotes that others made (vectors lab/sgx), on the lab's CPU and by the primitives.
namespace cloister::lab_sgx {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
using test::kSecs;
using measure::SgxsAdd;
using measure::SgxsChunk;
using measure::SgxsCreate;

constexpr std::uint64_t kFarBase = std::uint64_t{1} << 36;  // a multiple of every size

json::Value expected_in(const fs::path& folder) { return json::parse(cloister::test::read_text(folder / "expected.json")).value(); }

/// Plays a stream as a loader does: a page is added once its chunks are known, then measured chunk by chunk.
Code load(Cpu& cpu, ByteView stream, const SecsInit& form) {
  EpcIndex at = kSecs;
  std::optional<SgxsAdd> open;
  PageBytes page{};
  std::vector<std::size_t> measured;
  Code code = Code::success;
  const auto close = [&] {
    if (open && code == Code::success) code = cpu.eadd(++at, kSecs, kFarBase + open->offset, open->secinfo, page);
    for (const auto offset : measured) {
      if (code == Code::success) code = cpu.eextend(at, offset);
    }
    page = {};
    measured.clear();
  };
  const auto play = [&](const measure::SgxsRecord& record) -> Result<void> {
    if (const auto* create = std::get_if<SgxsCreate>(&record)) {
      auto init = form;
      init.base = kFarBase;
      init.size = create->size;
      init.ssa_frame_size = create->ssa_frame_size;
      code = cpu.ecreate(kSecs, init);
    } else if (const auto* add = std::get_if<SgxsAdd>(&record)) {
      close();
      open = *add;
    } else {
      const auto& chunk = std::get<SgxsChunk>(record);
      const auto offset = chunk.offset - open->offset;
      std::ranges::copy(chunk.data, page.begin() + static_cast<std::ptrdiff_t>(offset));
      if (chunk.measured) measured.push_back(offset);
    }
    return {};
  };
  EXPECT_TRUE(measure::for_each_sgxs_record(stream, play).ok());
  close();
  return code;
}

TEST(SgxVectors, EnclaveOfOthersStartsUnderItsOwnSigstruct) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/sgx";
  const auto bytes = cloister::test::read_file(folder / "fortanix_test_enclave.sigstruct.bin");
  const auto sigstruct = evidence::parse_sigstruct(bytes).value();
  Cpu cpu{test::root(), {.pages = 64}};
  SecsInit init;
  init.misc_select = sigstruct.misc_select;
  ASSERT_EQ(load(cpu, cloister::test::read_file(folder / "fortanix_test_enclave.sgxs"), init), Code::success);
  auto forged = bytes;
  forged[1026] ^= 1;  // ISVSVN
  EXPECT_EQ(cpu.einit(kSecs, forged), Code::invalid_signature);
  EXPECT_EQ(cpu.einit(kSecs, cloister::test::read_file(folder / "sig1.sigstruct.bin")), Code::invalid_measurement);  // valid, of another
  ASSERT_EQ(cpu.einit(kSecs, bytes), Code::success);
  const auto expected = expected_in(folder);
  const auto* row = expected.find("fortanix_test_enclave.sgxs");
  EXPECT_EQ(codec::to_hex(cpu.identity(kSecs)->mr_enclave), *row->find("mrenclave")->as_string());
  EXPECT_EQ(codec::to_hex(cpu.identity(kSecs)->mr_signer), *row->find("mrsigner_of_.sigstruct")->as_string());
}

TEST(SgxVectors, StreamsMeasureOnTheCpuAsTheyDoInTheFile) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/sgx";
  const auto expected = expected_in(folder);
  for (const auto* file : {"lab_min.sgxs", "lab_partial.sgxs"}) {
    Cpu cpu{test::root(), {.pages = 64}};
    ASSERT_EQ(load(cpu, cloister::test::read_file(folder / file), {}), Code::success) << file;
    auto sigstruct = test::sigstruct();
    sigstruct.enclave_hash = codec::array_from_hex<32>(*expected.find(file)->find("mrenclave")->as_string()).value();
    measure::sign_sigstruct(sigstruct, test::signer());
    EXPECT_EQ(cpu.einit(kSecs, evidence::encode_sigstruct(sigstruct)), Code::success) << file;
  }
}

/// What expected.json says of a quote.
std::map<std::string, std::string> facts(ByteView bytes) {
  const auto quote = evidence::parse_quote(bytes).value();
  const auto& signature = quote.signature();
  const auto valid = [](const Result<void>& result) { return result.ok() ? "valid" : "invalid"; };
  const auto key = crypto::EcPublicKey::from_xy(crypto::Curve::p256, signature.attestation_key).value();
  const auto chain = crypto::x509::parse_chain(as_text(signature.certification.data)).value();
  const auto pck = std::get<crypto::EcPublicKey>(chain.front()->key);
  Digest64 binding{};
  std::ranges::copy(crypto::sha256({signature.attestation_key, signature.qe_auth_data}), binding.begin());
  return {{"v", std::to_string(quote.header().version)},
          {"mrenclave", codec::to_hex(quote.sgx()->mr_enclave)},
          {"cert_type", std::to_string(static_cast<int>(signature.certification.type))},
          {"isv_sig", valid(key.verify(quote.signed_bytes(), signature.signature))},
          {"qe_sig", valid(pck.verify(quote.qe_report_bytes(), signature.qe_report_signature))},
          {"qe_binding", signature.qe_report.report_data == binding ? "valid" : "invalid"}};
}

TEST(SgxVectors, QuotesAreWhatTheirTableSays) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/sgx";
  const auto expected = expected_in(folder);
  for (const auto* file : {"quote_pck_cert_chain.bin", "fortanix_pcs_quote.bin"}) {
    const auto found = facts(cloister::test::read_file(folder / file));
    for (const auto& [name, value] : *expected.find(file)->as_object()) {
      EXPECT_EQ(found.at(name), value.as_string() != nullptr ? *value.as_string() : json::write(value)) << file << ": " << name;
    }
  }
  // "ISV signature invalid; bytes 437, 438, 439 (inside the ECDSA signature) differ"
  const auto good = cloister::test::read_file(folder / "quote_pck_cert_chain.bin");
  const auto corrupted = cloister::test::read_file(folder / "quote_pck_cert_chain_corrupted.bin");
  std::vector<std::size_t> differ;
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (good[i] != corrupted.at(i)) differ.push_back(i);
  }
  EXPECT_EQ(differ, (std::vector<std::size_t>{437, 438, 439}));
  auto changed = facts(good);
  changed["isv_sig"] = "invalid";
  EXPECT_EQ(facts(corrupted), changed);
}

// The files of both authorities have each other's names.
TEST(SgxVectors, CertificatesBesideTheQuotesAreAChain) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto read = [&](const char* file) {
    return crypto::x509::parse_chain(cloister::test::read_text(root / "lab/sgx" / file)).value().front();
  };
  const auto leaf = read("pck_quote.cert");
  const auto authority = read("root_ca.cert");
  const auto anchor = read("processor_ca.cert");
  EXPECT_TRUE(crypto::x509::verify_signature(*leaf, *authority).ok());
  EXPECT_TRUE(crypto::x509::verify_signature(*authority, *anchor).ok());
  EXPECT_TRUE(crypto::x509::verify_signature(*anchor, *anchor).ok());
  EXPECT_FALSE(crypto::x509::verify_signature(*leaf, *anchor).ok());
  const auto quote = evidence::parse_quote(cloister::test::read_file(root / "lab/sgx/quote_pck_cert_chain.bin")).value();
  const auto chain = crypto::x509::parse_chain(as_text(quote.signature().certification.data)).value();
  // It stands leaf, root, authority there.
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_EQ(chain[1]->der, anchor->der);
  EXPECT_EQ(chain[2]->public_key_info, authority->public_key_info);
}

TEST(SgxVectors, SigstructHasTheKeyOfItsPem) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/sgx";
  const auto sigstruct = evidence::parse_sigstruct(cloister::test::read_file(folder / "sig1.sigstruct.bin")).value();
  const auto little = cloister::test::read_file(folder / "sig1.key_n.bin");
  EXPECT_TRUE(same_bytes(sigstruct.modulus, little));
  const Bytes big{little.rbegin(), little.rend()};
  const auto der = codec::parse_pem(cloister::test::read_text(folder / "sig1.key.pub.pem")).value().front().der;
  EXPECT_FALSE(std::ranges::search(der, big).empty());
}

}  // namespace
}  // namespace cloister::lab_sgx
