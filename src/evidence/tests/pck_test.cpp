#include "cloister/evidence/pck.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "samples.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

namespace der = codec::der;
namespace x509 = crypto::x509;
using test::sample_pck_extension;

const std::string kOid{kPckExtensionOid};

/// The members of the sample's outer SEQUENCE, to be changed one at a time.
std::vector<Bytes> members() {
  const auto whole = encode_pck_extension(sample_pck_extension());
  der::Reader outer{whole};
  auto in = outer.enter(der::tag::kSequence);
  std::vector<Bytes> out;
  while (!in.at_end()) out.push_back(to_bytes(in.any().whole));
  return out;
}

Bytes member(const std::string& oid, const Bytes& value) { return der::sequence({der::object_id(oid), value}); }

/// The sample's TCB, its 18 members given by their values.
Bytes tcb(unsigned components, std::uint64_t first, std::uint64_t pce_svn, std::size_t cpu_svn_size) {
  std::vector<Bytes> out;
  for (unsigned i = 1; i <= components; ++i) {
    out.push_back(member(kOid + ".2." + std::to_string(i), der::integer(i == 1 ? first : i)));
  }
  out.push_back(member(kOid + ".2.17", der::integer(pce_svn)));
  out.push_back(member(kOid + ".2.18", der::octet_string(Bytes(cpu_svn_size, 1))));
  return member(kOid + ".2", der::sequence(out));
}

void expect_refused(const std::vector<Bytes>& parts, std::string_view detail) {
  const auto extension = parse_pck_extension(der::sequence(parts));
  ASSERT_FALSE(extension);
  EXPECT_EQ(extension.error().code(), Errc::certificate_malformed);
  EXPECT_NE(extension.error().detail().find(detail), std::string::npos) << extension.error().text();
}

TEST(PckExtension, RoundTrips) {
  const auto extension = sample_pck_extension();
  const auto read = parse_pck_extension(encode_pck_extension(extension));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, extension);
}

TEST(PckExtension, RoundTripsWithoutThePlatformsParts) {
  auto extension = sample_pck_extension();
  extension.platform_instance_id.reset();
  extension.configuration.reset();
  extension.sgx_type = SgxType::standard;
  EXPECT_EQ(*parse_pck_extension(encode_pck_extension(extension)), extension);
}

TEST(PckExtension, RoundTripsAPartialConfiguration) {
  auto extension = sample_pck_extension();
  extension.configuration = PckConfiguration{{}, true, {}};
  EXPECT_EQ(*parse_pck_extension(encode_pck_extension(extension)), extension);
}

TEST(PckExtension, ReadsMembersInAnyOrder) {
  auto parts = members();
  std::ranges::reverse(parts);
  const auto read = parse_pck_extension(der::sequence(parts));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, sample_pck_extension());
}

TEST(PckExtension, ReadsARealCertificate) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto der = cloister::test::read_file(vectors / "attestation/tdx/automata-solana/pck.der");
  const auto certificate = x509::parse_certificate(der);
  ASSERT_TRUE(certificate) << certificate.error().text();
  const auto extension = pck_extension(**certificate);
  ASSERT_TRUE(extension) << extension.error().text();
  EXPECT_EQ(codec::to_hex(extension->fmspc), "00606a000000");
  EXPECT_EQ(codec::to_hex(extension->pce_id), "0000");
  EXPECT_EQ(extension->pce_svn, 13);
  // CPUSVN is the components, one byte each, on every platform seen.
  EXPECT_EQ(extension->cpu_svn, extension->components);
  EXPECT_TRUE(extension->platform_instance_id);
  ASSERT_TRUE(extension->configuration);
  EXPECT_TRUE(extension->configuration->dynamic_platform);
}

TEST(PckExtension, RealExtensionsEncodeBackToTheirBytes) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  std::size_t seen = 0;
  for (const auto& file : test::quote_files(vectors)) {
    SCOPED_TRACE(file.name);
    const auto quote = parse_quote(file.bytes);
    ASSERT_TRUE(quote);
    const auto& certification = quote->signature().certification;
    if (!as_text(certification.data).starts_with("-----BEGIN")) continue;  // a sample carries its chain elsewhere
    const auto chain = x509::parse_chain(as_text(certification.data));
    ASSERT_TRUE(chain) << chain.error().text();
    const auto extension = pck_extension(*chain->front());
    ASSERT_TRUE(extension) << extension.error().text();
    EXPECT_EQ(encode_pck_extension(*extension), chain->front()->find(der::oid(kOid))->value);
    ++seen;
  }
  EXPECT_GT(seen, 15U);
}

TEST(PckExtension, ReadsSampleCertificates) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  std::vector<std::filesystem::path> files{
      vectors / "attestation/sgx-tdx-synthetic/intel-qvl/pckCert.pem",
      vectors / "attestation/sgx-tdx-synthetic/intel-qvl/tdx/pckCert.pem",
      vectors / "lab/sgx/pck_quote.cert",
  };
  for (const auto& entry : std::filesystem::directory_iterator(vectors / "attestation/sgx/intel-pckcertselection")) {
    if (entry.path().extension() == ".pem") files.push_back(entry.path());
  }
  for (const auto& file : files) {
    SCOPED_TRACE(file);
    const auto chain = x509::parse_chain(cloister::test::read_text(file));
    ASSERT_TRUE(chain) << chain.error().text();
    const auto extension = pck_extension(*chain->front());
    ASSERT_TRUE(extension) << extension.error().text();
    EXPECT_EQ(encode_pck_extension(*extension), chain->front()->find(der::oid(kOid))->value);
  }
}

TEST(PckExtension, RefusesACertificateWithoutOne) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto der = cloister::test::read_file(vectors / "attestation/tdx/automata-solana/root.der");
  const auto extension = pck_extension(**x509::parse_certificate(der));
  ASSERT_FALSE(extension);
  EXPECT_EQ(extension.error().code(), Errc::certificate_malformed);
}

TEST(PckExtension, RefusesEachRequiredMemberMissing) {
  for (std::size_t i = 0; i < 5; ++i) {
    auto parts = members();
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
    expect_refused(parts, kOid + '.' + std::to_string(i + 1) + " is missing");
  }
}

TEST(PckExtension, RefusesAMemberTwice) {
  auto parts = members();
  parts.push_back(parts.front());
  expect_refused(parts, "is there twice");
}

TEST(PckExtension, RefusesUnknownMembers) {
  for (const auto* oid : {".8", ".0", ".1.1"}) {
    auto parts = members();
    parts.push_back(member(kOid + oid, der::integer(1)));
    expect_refused(parts, "unknown member");
  }
}

TEST(PckExtension, RefusesAMemberWithThreeParts) {
  auto parts = members();
  parts[2] = der::sequence({der::object_id(kOid + ".3"), der::octet_string(Bytes(2)), der::null()});
  expect_refused(parts, "");
}

TEST(PckExtension, RefusesWrongLengths) {
  const std::vector<std::pair<std::size_t, std::size_t>> sizes{{1, 15}, {3, 3}, {4, 5}, {6, 17}};
  for (const auto& [number, size] : sizes) {
    auto parts = members();
    parts[number - 1] = member(kOid + '.' + std::to_string(number), der::octet_string(Bytes(size)));
    expect_refused(parts, "bytes expected");
  }
}

TEST(PckExtension, RefusesWrongTypes) {
  for (const std::size_t number : {std::size_t{1}, std::size_t{2}, std::size_t{5}, std::size_t{6}, std::size_t{7}}) {
    auto parts = members();
    parts[number - 1] = member(kOid + '.' + std::to_string(number), der::integer(1));
    expect_refused(parts, "is of another type");
  }
}

TEST(PckExtension, RefusesAnUnknownSgxType) {
  auto parts = members();
  parts[4] = member(kOid + ".5", der::element(der::tag::kEnumerated, Bytes{3}));
  expect_refused(parts, "SGX type 0 to 2");
}

TEST(PckExtension, RefusesAComponentAbove255) {
  auto parts = members();
  parts[1] = tcb(16, 256, 11, 16);
  expect_refused(parts, "at most 255");
}

TEST(PckExtension, RefusesAPceSvnAbove65535) {
  auto parts = members();
  parts[1] = tcb(16, 1, 65536, 16);
  expect_refused(parts, "at most 65535");
}

TEST(PckExtension, RefusesAMissingComponent) {
  auto parts = members();
  parts[1] = tcb(15, 1, 11, 16);
  expect_refused(parts, ".2.16 is missing");
}

TEST(PckExtension, RefusesAShortCpuSvn) {
  auto parts = members();
  parts[1] = tcb(16, 1, 11, 15);
  expect_refused(parts, ".2.18: 16 bytes expected");
}

TEST(PckExtension, RefusesAFlagThatIsNoBoolean) {
  auto parts = members();
  parts[6] = member(kOid + ".7", der::sequence({member(kOid + ".7.1", der::integer(1))}));
  expect_refused(parts, ".7.1 is of another type");
}

TEST(PckExtension, RefusesTrailingBytes) {
  auto bytes = encode_pck_extension(sample_pck_extension());
  bytes.push_back(0);
  EXPECT_EQ(parse_pck_extension(bytes).error().code(), Errc::certificate_malformed);
}

TEST(PckExtension, RefusesEveryTruncation) {
  const auto bytes = encode_pck_extension(sample_pck_extension());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto extension = parse_pck_extension(ByteView{bytes}.first(size));
    ASSERT_FALSE(extension) << size;
    EXPECT_EQ(extension.error().code(), Errc::certificate_malformed);
  }
}

}  // namespace
}  // namespace cloister::evidence
