#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/detect.hpp"
#include "support/support.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::evidence {
namespace {

namespace der = codec::der;
namespace json = codec::json;
using test::SyntheticSnp;

Bytes report_of(std::uint32_t version) { return SyntheticSnp{SnpProduct::genoa, VekKind::vcek, version}.build().report; }

void expect_refused(const Bytes& report, Errc code) {
  const auto parsed = parse_snp_report(report);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(to_string(parsed.error().code()), to_string(code)) << parsed.error().text();
}

// --- products and TCBs ---

TEST(SnpProducts, FollowFamilyAndModel) {
  struct Row {
    std::uint8_t family;
    std::uint8_t first;
    std::uint8_t last;
    std::optional<SnpProduct> product;
  };
  for (const auto& row : {Row{0x19, 0x00, 0x0F, SnpProduct::milan}, Row{0x19, 0x10, 0x1F, SnpProduct::genoa},
                          Row{0x19, 0xA0, 0xAF, SnpProduct::genoa}, Row{0x1A, 0x00, 0x11, SnpProduct::turin},
                          Row{0x1A, 0x50, 0x57, SnpProduct::venice}, Row{0x1A, 0x90, 0x9F, SnpProduct::venice},
                          Row{0x1A, 0xA0, 0xAF, SnpProduct::venice}, Row{0x1A, 0xC0, 0xC7, SnpProduct::venice},
                          Row{0x19, 0x20, 0x9F, std::nullopt}, Row{0x1A, 0x12, 0x4F, std::nullopt},
                          Row{0x1A, 0xC8, 0xFF, std::nullopt}, Row{0x17, 0x00, 0xFF, std::nullopt}}) {
    EXPECT_EQ(snp_product_from_cpuid(row.family, row.first), row.product);
    EXPECT_EQ(snp_product_from_cpuid(row.family, row.last), row.product);
  }
}

TEST(SnpProducts, HaveNamesWithOrWithoutAStepping) {
  EXPECT_EQ(snp_product_from_name("Milan-B0"), SnpProduct::milan);
  EXPECT_EQ(snp_product_from_name("Genoa"), SnpProduct::genoa);
  EXPECT_EQ(snp_product_from_name("Turin"), SnpProduct::turin);
  EXPECT_EQ(snp_product_from_name("Venice-A0"), SnpProduct::venice);
  for (const auto name : {"", "milan", "Milano", "-B0", "Rome-B0", "MilanB0"}) EXPECT_EQ(snp_product_from_name(name), std::nullopt);
}

TEST(SnpTcbs, FollowTheProductsLayout) {
  const SnpTcbVersion version{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(snp_tcb(version, SnpProduct::genoa), (SnpTcb{std::nullopt, 1, 2, 7, 8}));
  EXPECT_EQ(snp_tcb(version, SnpProduct::turin), (SnpTcb{1, 2, 3, 4, 8}));
  EXPECT_EQ(encode_snp_tcb({std::nullopt, 1, 2, 7, 8}, SnpProduct::milan), (SnpTcbVersion{1, 2, 0, 0, 0, 0, 7, 8}));
  EXPECT_EQ(encode_snp_tcb({1, 2, 3, 4, 8}, SnpProduct::venice), (SnpTcbVersion{1, 2, 3, 4, 0, 0, 0, 8}));
}

TEST(SnpTcbs, TellEveryComponentThatIsTooSmall) {
  const SnpTcb have{.fmc = std::nullopt, .bootloader = 3, .tee = 1, .snp = 8, .microcode = 100};
  EXPECT_TRUE(snp_tcb_gaps(have, have).empty());
  const auto gaps = snp_tcb_gaps(have, {.fmc = 1, .bootloader = 4, .tee = 0, .snp = 8, .microcode = 101});
  ASSERT_EQ(gaps.size(), 3U);
  EXPECT_EQ(gaps[0].component, "bootloader");
  EXPECT_EQ(gaps[1].component, "microcode");
  EXPECT_EQ(gaps[2].component, "fmc");
  EXPECT_EQ(gaps[1].have, 100);
  EXPECT_EQ(gaps[1].need, 101);
}

// --- reports ---

TEST(SnpReportFormat, ReadsWhatItWrites) {
  for (const std::uint32_t version : {2U, 3U, 4U, 5U}) {
    SyntheticSnp chip{SnpProduct::genoa, VekKind::vcek, version};
    chip.body.author_key_enabled = true;
    chip.body.report_id.fill(0x77);
    chip.body.report_id_ma.fill(0xFF);
    const auto bytes = chip.build().report;
    const auto parsed = parse_snp_report(bytes);
    ASSERT_TRUE(parsed.ok()) << parsed.error().text();
    EXPECT_EQ(parsed->body(), chip.body);
    EXPECT_TRUE(same_bytes(encode_snp_report(*encode_snp_body(parsed->body()), parsed->signature()), bytes));
    EXPECT_TRUE(same_bytes(parsed->signed_bytes(), ByteView{bytes}.first(kSnpSignedSize)));
  }
}

TEST(SnpReportFormat, PutsFieldsWhereTheSpecificationHasThem) {
  SyntheticSnp chip{SnpProduct::turin, VekKind::vlek, 5};
  chip.body.chip_key_masked = true;
  chip.body.chip_id.fill(0x99);
  const auto report = chip.build().report;
  const auto at = [&](std::size_t offset, std::size_t size) { return codec::to_hex(ByteView{report}.subspan(offset, size)); };
  EXPECT_EQ(at(0x000, 4), "05000000");
  EXPECT_EQ(at(0x004, 4), "02000000");
  EXPECT_EQ(at(0x008, 8), "0000030000000000");
  EXPECT_EQ(at(0x034, 4), "01000000");
  EXPECT_EQ(at(0x048, 4), "06000000");
  EXPECT_EQ(at(0x050, 2), "dada");
  EXPECT_EQ(at(0x090, 2), "3e3e");
  EXPECT_EQ(at(0x0C0, 2), "4d4d");
  EXPECT_EQ(at(0x0E0, 2), "1d1d");
  EXPECT_EQ(at(0x110, 2), "a4a4");
  EXPECT_EQ(at(0x180, 8), codec::to_hex(chip.body.reported_tcb));
  EXPECT_EQ(at(0x188, 3), "1a0201");
  EXPECT_EQ(at(0x1A0, 2), "9999");
  EXPECT_EQ(at(0x1E0, 8), codec::to_hex(chip.body.committed_tcb));
  EXPECT_EQ(at(0x1E8, 8), "2837010028370100");
  EXPECT_EQ(at(0x1F0, 8), codec::to_hex(chip.body.launch_tcb));
  EXPECT_EQ(at(0x1F8, 16), "03000000000000000700000000000000");
}

TEST(SnpReportFormat, RefusesOtherSizesAndVersions) {
  const auto report = report_of(3);
  for (std::size_t size = 0; size < report.size(); ++size) {
    expect_refused({report.begin(), report.begin() + static_cast<std::ptrdiff_t>(size)}, Errc::evidence_malformed);
  }
  auto longer = report;
  longer.push_back(0);
  expect_refused(longer, Errc::evidence_malformed);
  for (const unsigned version : {0U, 1U, 6U, 255U}) {
    auto other = report;
    other[0] = static_cast<std::uint8_t>(version);
    expect_refused(other, Errc::evidence_unsupported);
  }
}

TEST(SnpReportFormat, RefusesOtherSignatureAlgorithmsAndSigningKeys) {
  auto report = report_of(3);
  report[0x34] = 2;
  expect_refused(report, Errc::evidence_unsupported);
  for (const unsigned key : {2U, 3U, 4U, 5U, 6U}) {
    report = report_of(3);
    report[0x48] = static_cast<std::uint8_t>(key << 2);
    expect_refused(report, Errc::evidence_unsupported);
  }
  report[0x48] = 7 << 2;
  EXPECT_EQ(parse_snp_report(report)->body().signing_key, std::nullopt);
}

TEST(SnpReportFormat, RefusesReservedBytesByVersion) {
  struct Range {
    std::uint32_t version;
    std::size_t first;
    std::size_t last;
  };
  for (const auto& range : {Range{2, 0x4C, 0x4F}, Range{2, 0x188, 0x19F}, Range{2, 0x1F8, 0x29F}, Range{3, 0x18B, 0x19F},
                            Range{3, 0x1F8, 0x29F}, Range{4, 0x1F8, 0x29F}, Range{5, 0x18B, 0x19F}, Range{5, 0x208, 0x29F},
                            Range{3, 0x1EB, 0x1EB}, Range{3, 0x1EF, 0x1EF}}) {
    for (auto i = range.first; i <= range.last; ++i) {
      auto report = report_of(range.version);
      report[i] = 0x10;
      expect_refused(report, Errc::evidence_malformed);
    }
  }
}

TEST(SnpReportFormat, RefusesReservedBitsOfTheKeyInformation) {
  for (unsigned bit = 5; bit < 32; ++bit) {
    auto report = report_of(3);
    report[0x48 + bit / 8] = static_cast<std::uint8_t>(report[0x48 + bit / 8] | 1U << bit % 8);
    expect_refused(report, Errc::evidence_malformed);
  }
}

TEST(SnpReportFormat, RefusesPaddingOfTheSignatureThatIsNotZero) {
  for (std::size_t i = kSnpSignedSize; i < kSnpReportSize; ++i) {
    const auto offset = i - kSnpSignedSize;
    if (offset < 144 && offset % 72 < 48) continue;
    auto report = report_of(3);
    report[i] = 1;
    expect_refused(report, Errc::evidence_malformed);
  }
}

TEST(SnpReportFormat, RefusesAPolicyWithoutItsFixedBitAndVmplsThatDoNotExist) {
  auto report = report_of(3);
  report[0x0A] = static_cast<std::uint8_t>(report[0x0A] & 0xFD);
  expect_refused(report, Errc::evidence_malformed);
  SyntheticSnp chip;
  for (const std::uint32_t vmpl : {4U, 5U, 0xFFFFFFFEU}) {
    chip.body.vmpl = vmpl;
    expect_refused(chip.build().report, Errc::evidence_malformed);
  }
  for (const std::uint32_t vmpl : {0U, 3U, kSnpVmplHost}) {
    chip.body.vmpl = vmpl;
    EXPECT_EQ(parse_snp_report(chip.build().report)->body().vmpl, vmpl);
  }
}

TEST(SnpReportFormat, WritesNoMembersThatItsVersionLacks) {
  SnpReportBody body;
  body.mitigations.emplace();
  EXPECT_EQ(encode_snp_body(body).error().code(), Errc::invalid_argument);
  body = {};
  body.version = 2;
  EXPECT_EQ(encode_snp_body(body).error().code(), Errc::invalid_argument);
  body = {};
  body.version = 5;
  EXPECT_EQ(encode_snp_body(body).error().code(), Errc::invalid_argument);
  body = {};
  body.version = 6;
  EXPECT_EQ(encode_snp_body(body).error().code(), Errc::invalid_argument);
}

// --- VEK extensions ---

std::vector<crypto::x509::Extension> extensions_of(SnpProduct product = SnpProduct::milan, VekKind kind = VekKind::vcek) {
  return encode_vek_extension(*SyntheticSnp{product, kind}.extension);
}

crypto::x509::Extension& member(std::vector<crypto::x509::Extension>& extensions, std::string_view number) {
  const auto oid = der::oid(std::string{kVekExtensionArc} + '.' + std::string{number});
  const auto found = std::ranges::find(extensions, oid, &crypto::x509::Extension::oid);
  EXPECT_NE(found, extensions.end()) << number;
  return *found;
}

void expect_extension_refused(std::span<const crypto::x509::Extension> extensions) {
  const auto parsed = parse_vek_extension(extensions);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code(), Errc::certificate_malformed);
}

TEST(VekExtensions, ReadWhatTheyWriteInBothForms) {
  for (const auto product : {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin}) {
    for (const auto kind : {VekKind::vcek, VekKind::vlek}) {
      const auto extension = *SyntheticSnp{product, kind}.extension;
      for (const auto form : {HwidForm::raw, HwidForm::octet_string}) {
        const auto parsed = parse_vek_extension(encode_vek_extension(extension, form));
        ASSERT_TRUE(parsed.ok()) << parsed.error().text();
        EXPECT_EQ(*parsed, extension);
        EXPECT_EQ(parsed->kind(), kind);
        EXPECT_EQ(parsed->product(), product);
      }
    }
  }
}

TEST(VekExtensions, DemandEveryMember) {
  for (const auto product : {SnpProduct::milan, SnpProduct::turin}) {
    for (const auto kind : {VekKind::vcek, VekKind::vlek}) {
      const auto all = extensions_of(product, kind);
      for (std::size_t i = 0; i < all.size(); ++i) {
        auto without = all;
        without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
        expect_extension_refused(without);
      }
    }
  }
}

TEST(VekExtensions, RefuseMembersThatContradict) {
  auto both = extensions_of();
  both.push_back(member(both, "3.4"));
  both.back().oid = der::oid(std::string{kVekExtensionArc} + ".3.9");
  expect_extension_refused(both);
  auto two_kinds = extensions_of();
  const auto loaded = extensions_of(SnpProduct::milan, VekKind::vlek);
  two_kinds.push_back(loaded.back());
  expect_extension_refused(two_kinds);
  auto long_hwid = extensions_of(SnpProduct::turin);
  member(long_hwid, "4").value = Bytes(64, 1);
  expect_extension_refused(long_hwid);
  auto short_hwid = extensions_of();
  member(short_hwid, "4").value = Bytes(8, 1);
  expect_extension_refused(short_hwid);
}

TEST(VekExtensions, RefuseValuesOfOtherTypesAndRanges) {
  const auto refused_with = [](std::string_view number, Bytes value) {
    auto extensions = extensions_of();
    member(extensions, number).value = std::move(value);
    expect_extension_refused(extensions);
  };
  refused_with("1", der::integer(2));
  refused_with("2", der::utf8_string("Milan-B0"));
  refused_with("2", der::element(der::tag::kIa5String, {}));
  refused_with("2", der::element(der::tag::kIa5String, Bytes{'M', 7}));
  refused_with("2", der::element(der::tag::kIa5String, Bytes(257, 'M')));
  for (const auto level : {"3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8"}) {
    refused_with(level, der::integer(256));
    refused_with(level, Bytes{2, 1, 0xFF});  // negative
    refused_with(level, der::octet_string(Bytes{1}));
    refused_with(level, {});
    auto longer = der::integer(1);
    longer.push_back(0);
    refused_with(level, longer);
  }
  refused_with("4", Bytes(63, 1));
  refused_with("4", der::octet_string(Bytes(63, 1)));
  refused_with("4", {});
}

TEST(VekExtensions, RefuseLevelsThatNobodyComparesAndLeaveOthersAlone) {
  auto extensions = extensions_of();
  extensions.push_back({der::oid(std::string{kVekExtensionArc} + ".3.10"), false, der::integer(1)});
  expect_extension_refused(extensions);
  extensions.back().oid = der::oid(std::string{kVekExtensionArc} + ".7");
  EXPECT_TRUE(parse_vek_extension(extensions).ok());
  extensions.back().oid = der::oid("1.2.3.4");
  EXPECT_TRUE(parse_vek_extension(extensions).ok());
}

TEST(VekExtensions, OfRealCertificatesAreRead) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto read = [&folder](std::string_view path) {
    const auto certificate = crypto::x509::parse_certificate(cloister::test::read_file(folder / path));
    EXPECT_TRUE(certificate.ok()) << path;
    EXPECT_TRUE(is_vek(**certificate));
    return vek_extension(**certificate);
  };
  const auto milan = read("attestation/snp/trustee/test-vcek.der");
  ASSERT_TRUE(milan.ok()) << milan.error().text();
  EXPECT_EQ(milan->product_name, "Milan-B0");
  EXPECT_EQ(codec::to_hex(milan->tcb_version()), "0300000000000873");
  EXPECT_EQ(milan->hwid->size(), 64U);
  const auto vlek = read("attestation/snp/trustee/test-vlek.der");
  ASSERT_TRUE(vlek.ok()) << vlek.error().text();
  EXPECT_EQ(vlek->kind(), VekKind::vlek);
  EXPECT_EQ(vlek->csp_id, "CN=cc-us-east-2.amazonaws.com");
  const auto turin = read("lab/snp/vcek_turin.der");
  ASSERT_TRUE(turin.ok()) << turin.error().text();
  EXPECT_EQ(turin->product(), SnpProduct::turin);
  EXPECT_EQ(turin->struct_version, 1U);
  EXPECT_EQ(turin->fmc, 0);
  EXPECT_EQ(turin->microcode, 9);
  EXPECT_EQ(turin->hwid->size(), 8U);
}

// --- certificate tables, and reports with their certificates ---

TEST(SnpCertificateTable, IsReadAsItIsWritten) {
  const auto endorsements = SyntheticSnp{}.build().endorsements;
  const auto table = parse_snp_certificate_table(encode_snp_certificate_table(endorsements));
  ASSERT_TRUE(table.ok()) << table.error().text();
  ASSERT_EQ(table->certificates.size(), endorsements.certificates.size());
  for (std::size_t i = 0; i < endorsements.certificates.size(); ++i) {
    EXPECT_EQ(table->certificates[i]->der, endorsements.certificates[i]->der);
  }
  ASSERT_EQ(table->crls.size(), 1U);
  EXPECT_EQ(table->crls[0].der, endorsements.crls[0].der);
}

TEST(SnpCertificateTable, LeavesUnknownEntriesAloneAndTakesPem) {
  const auto certificate = SyntheticSnp{}.build().root;
  const auto pem = codec::to_pem("CERTIFICATE", certificate->der);
  auto table = encode_snp_certificate_table({.certificates = {certificate}, .crls = {}});
  Bytes with_pem(table.begin(), table.begin() + 20);
  with_pem.push_back(static_cast<std::uint8_t>(pem.size()));
  with_pem.push_back(static_cast<std::uint8_t>(pem.size() >> 8));
  with_pem.resize(48);
  append(with_pem, as_bytes(pem));
  EXPECT_EQ(parse_snp_certificate_table(with_pem)->certificates.size(), 1U);
  table[3] ^= 1;  // of the GUID
  EXPECT_TRUE(parse_snp_certificate_table(table)->certificates.empty());
}

TEST(SnpCertificateTable, RefusesWhatItIsNot) {
  const auto table = encode_snp_certificate_table(SyntheticSnp{}.build().endorsements);
  for (std::size_t size = 0; size < table.size(); ++size) {
    EXPECT_FALSE(parse_snp_certificate_table(ByteView{table}.first(size)).ok()) << size;
  }
  auto damaged = table;
  damaged[16] = damaged[17] = damaged[18] = damaged[19] = 0xFF;  // an offset
  EXPECT_EQ(parse_snp_certificate_table(damaged).error().code(), Errc::evidence_malformed);
  damaged = table;
  damaged[4 * 24 + 16] = 1;  // in the last entry
  EXPECT_EQ(parse_snp_certificate_table(damaged).error().code(), Errc::evidence_malformed);
  damaged = table;
  damaged[5 * 24] ^= 1;  // of the first certificate
  EXPECT_EQ(parse_snp_certificate_table(damaged).error().code(), Errc::evidence_malformed);
  Bytes endless;
  for (int i = 0; i < 65; ++i) endless.insert(endless.end(), {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(parse_snp_certificate_table(endless).error().code(), Errc::evidence_malformed);
}

TEST(DetectSnp, FindsTheCertificatesOfAnExtendedReport) {
  const auto built = SyntheticSnp{}.build();
  auto extended = built.report;
  append(extended, encode_snp_certificate_table(built.endorsements));
  for (const auto& file : {extended, to_bytes(codec::to_base64(extended)), to_bytes(codec::to_hex(extended))}) {
    const auto found = detect(file);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->kind, EvidenceKind::snp_report);
    EXPECT_EQ(found->bytes, built.report);
    EXPECT_EQ(found->endorsements.certificates.size(), 3U);
    EXPECT_EQ(found->endorsements.crls.size(), 1U);
  }
  extended.pop_back();
  EXPECT_EQ(detect(extended)->kind, EvidenceKind::unknown);
}

TEST(DetectSnp, FindsCertificatesInJsonInTheirForms) {
  const auto built = SyntheticSnp{}.build();
  const auto& vek = built.endorsements.certificates.front()->der;
  json::Array octets;
  for (const auto octet : vek) octets.emplace_back(std::int64_t{octet});
  const auto table = encode_snp_certificate_table({.certificates = {built.endorsements.certificates.front()}, .crls = {}});
  for (const auto& form : {json::Value{codec::to_pem("CERTIFICATE", vek)}, json::Value{codec::to_base64(vek)},
                           json::Value{codec::to_base64url(vek)}, json::Value{codec::to_hex(vek)}, json::Value{octets},
                           json::Value{codec::to_base64url(table)}}) {
    json::Object document{{"certificate", form}, {"report", codec::to_base64(built.report)}};
    const auto found = detect(as_bytes(json::write(json::Value{document})));
    ASSERT_TRUE(found.ok()) << found.error().text();
    EXPECT_EQ(found->member, "report");
    ASSERT_EQ(found->endorsements.certificates.size(), 1U);
    EXPECT_EQ(found->endorsements.certificates.front()->der, vek);
  }
}

TEST(DetectSnp, TakesNoMoreCertificatesThanItsLimit) {
  const auto built = SyntheticSnp{}.build();
  json::Array many;
  for (std::size_t i = 0; i <= kMaxSnpCertificates; ++i) many.emplace_back(codec::to_base64(built.root->der));
  json::Object document{{"report", codec::to_base64(built.report)}, {"certificates", std::move(many)}};
  EXPECT_EQ(detect(as_bytes(json::write(json::Value{document}))).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::evidence
