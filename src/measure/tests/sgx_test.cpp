#include "cloister/measure/sgx.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::measure {
namespace {

const crypto::RsaPrivateKey& signer() {
  static const auto key = crypto::RsaPrivateKey::derive_3072_e3(ByteArray<32>{9}, as_bytes("test"));
  return key;
}

Bytes created(std::uint64_t size = 0x10000, std::uint32_t ssa = 1) {
  codec::Writer out;
  out.raw(as_bytes(std::string_view{"ECREATE\0", 8}));
  out.u32le(ssa);
  out.u64le(size);
  out.zeros(44);
  return std::move(out).take();
}
Bytes added(std::uint64_t offset, std::uint64_t flags = 0x203) {
  codec::Writer out;
  out.raw(as_bytes(std::string_view{"EADD\0\0\0\0", 8}));
  out.u64le(offset);
  out.u64le(flags);
  out.zeros(40);
  return std::move(out).take();
}
Bytes chunk(std::uint64_t offset, std::string_view tag = {"EEXTEND\0", 8}) {
  codec::Writer out;
  out.raw(as_bytes(tag));
  out.u64le(offset);
  out.zeros(48);
  out.raw(Bytes(256, 0xAA));
  return std::move(out).take();
}
Bytes stream(std::initializer_list<Bytes> records) {
  Bytes out;
  for (const auto& next : records) append(out, next);
  return out;
}

TEST(Mrenclave, OfPublicStreams) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/sgx/expected.json")).value();
  for (const auto* file : {"fortanix_test_enclave.sgxs", "lab_min.sgxs", "lab_partial.sgxs"}) {
    const auto mrenclave = mrenclave_of_sgxs(test::read_file(root / "lab/sgx" / file));
    ASSERT_TRUE(mrenclave.ok()) << file << mrenclave.error().text();
    EXPECT_EQ(codec::to_hex(*mrenclave), *expected.find(file)->find("mrenclave")->as_string()) << file;
  }
}

TEST(Mrenclave, IsTheHashOfItsRecords) {
  const auto measured = stream({created(), added(0), chunk(0), chunk(0x300)});
  EXPECT_EQ(mrenclave_of_sgxs(measured).value(), crypto::sha256(measured));
  const auto with_more = stream({created(), added(0), chunk(0), chunk(0x200, "UNMEASRD"), chunk(0x300)});
  EXPECT_EQ(mrenclave_of_sgxs(with_more).value(), crypto::sha256(measured));
}

TEST(Mrenclave, OfPagesEqualsThatOfTheStream) {
  const ByteArray<kSgxPageSize> page{1, 2, 3};
  const std::vector<EnclavePage> pages{{.offset = 0x1000, .secinfo = SecInfo::reg(true, false, true), .contents = page},
                                       {.offset = 0x3000, .secinfo = SecInfo::tcs(), .contents = page, .measured = false}};
  auto expected = stream({created(), added(0x1000, 0x205)});
  for (std::size_t i = 0; i < 16; ++i) {
    append(expected, ByteView{chunk(0x1000 + 256 * i)}.first(64));
    append(expected, ByteView{page}.subspan(256 * i, 256));
  }
  append(expected, added(0x3000, 0x100));
  EXPECT_EQ(mrenclave_of_pages(1, 0x10000, pages).value(), crypto::sha256(expected));
  EXPECT_EQ(mrenclave_of_sgxs(expected).value(), crypto::sha256(expected));
}

TEST(Mrenclave, OfPagesThatCannotBeIsRefused) {
  const ByteArray<kSgxPageSize> page{};
  const auto at = [&](std::uint64_t offset, SecInfo secinfo = SecInfo::reg(true, true, false)) {
    return EnclavePage{.offset = offset, .secinfo = secinfo, .contents = page};
  };
  const auto refused = [](std::uint32_t ssa, std::uint64_t size, const std::vector<EnclavePage>& pages) {
    const auto result = mrenclave_of_pages(ssa, size, pages);
    return !result.ok() && result.error().code() == Errc::invalid_argument;
  };
  EXPECT_FALSE(refused(1, 0x2000, {at(0), at(0x1000)}));
  EXPECT_TRUE(refused(0, 0x2000, {at(0)}));
  EXPECT_TRUE(refused(1, 0x1000, {at(0)}));
  EXPECT_TRUE(refused(1, 0x3000, {at(0)}));
  EXPECT_TRUE(refused(1, kMaxEnclaveSize * 2, {at(0)}));
  EXPECT_TRUE(refused(1, 0x2000, {at(0x2000)}));
  EXPECT_TRUE(refused(1, 0x2000, {at(0x800)}));
  EXPECT_TRUE(refused(1, 0x2000, {at(0), at(0)}));
  EXPECT_TRUE(refused(1, 0x2000, {at(0, SecInfo::reg(false, true, false))}));
}

TEST(Sgxs, WhatIsNotAsTheFormatSaysIsRefused) {
  const auto refusal = [](std::initializer_list<Bytes> records) {
    const auto result = mrenclave_of_sgxs(stream(records));
    return result.ok() ? std::string{"accepted"} : std::string{to_string(result.error().code())};
  };
  EXPECT_EQ(refusal({created()}), "accepted");
  EXPECT_EQ(refusal({}), "truncated");
  EXPECT_EQ(refusal({Bytes(63)}), "truncated");
  EXPECT_EQ(refusal({created(), added(0), Bytes{chunk(0)}, Bytes(1)}), "truncated");
  auto cut = chunk(0);
  cut.pop_back();
  EXPECT_EQ(refusal({created(), added(0), cut}), "truncated");
  EXPECT_EQ(refusal({added(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), created()}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0x1000), added(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0), added(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), chunk(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0), chunk(0x1000)}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0x1000), chunk(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0), chunk(0x100), chunk(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0), chunk(0), chunk(0)}), "not_canonical");
  EXPECT_EQ(refusal({created(), added(0), chunk(0x80)}), "malformed");
  EXPECT_EQ(refusal({created(0x10000, 0)}), "malformed");
  EXPECT_EQ(refusal({created(0x11000)}), "malformed");
  EXPECT_EQ(refusal({created(0x1000)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0x10000)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0x10)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0, 0x303)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0, 0x101)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0, 0x202)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0, 0x10201)}), "malformed");
  EXPECT_EQ(refusal({created(), added(0), Bytes(64, 0x41)}), "malformed");
  for (const std::size_t i : {20U, 63U}) {
    auto dirty = created();
    dirty[i] = 1;
    EXPECT_EQ(refusal({dirty}), "malformed");
  }
  auto dirty = added(0);
  dirty[24] = 1;
  EXPECT_EQ(refusal({created(), dirty}), "malformed");
  dirty = chunk(0);
  dirty[16] = 1;
  EXPECT_EQ(refusal({created(), added(0), dirty}), "malformed");
  EXPECT_EQ(refusal({chunk(0, {"UNSIZED\0", 8})}), "unsupported");
}

TEST(SigstructSignature, OfPublicFiles) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/sgx";
  const auto expected = codec::json::parse(test::read_text(folder / "expected.json")).value();
  const auto fortanix = evidence::parse_sigstruct(test::read_file(folder / "fortanix_test_enclave.sigstruct.bin")).value();
  EXPECT_TRUE(verify_sigstruct(fortanix).ok());
  EXPECT_EQ(fortanix.enclave_hash, mrenclave_of_sgxs(test::read_file(folder / "fortanix_test_enclave.sgxs")).value());
  EXPECT_EQ(codec::to_hex(mrsigner(fortanix)),
            *expected.find("fortanix_test_enclave.sgxs")->find("mrsigner_of_.sigstruct")->as_string());

  const auto bytes = test::read_file(folder / "sig1.sigstruct.bin");
  const auto sig1 = evidence::parse_sigstruct(bytes).value();
  EXPECT_EQ(to_bytes(evidence::encode_sigstruct(sig1)), bytes);
  EXPECT_TRUE(verify_sigstruct(sig1).ok());
  const auto* row = expected.find("sig1.sigstruct.bin");
  EXPECT_EQ(codec::to_hex(mrsigner(sig1)), *row->find("mrsigner")->as_string());
  EXPECT_EQ(codec::to_hex(sig1.enclave_hash), *row->find("enclavehash")->as_string());
}

// A signature with its quotients, little-endian as in a SIGSTRUCT; what it signs is known by its digest alone.
TEST(SigstructSignature, QuotientsAreThoseOfAPublicSignature) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto big_endian = [&](const char* file) {
    auto bytes = test::read_file(root / "lab/sgx" / file);
    std::ranges::reverse(bytes);
    return bytes;
  };
  const auto s = big_endian("sig1.sig.bin");
  const auto n = big_endian("sig1.key_n.bin");
  const auto squared = crypto::multiply_and_divide(s, s, n).value();
  EXPECT_EQ(squared.quotient, big_endian("sig1.q1.bin"));
  const auto cubed = crypto::multiply_and_divide(squared.remainder, s, n).value();
  EXPECT_EQ(cubed.quotient, big_endian("sig1.q2.bin"));
  EXPECT_TRUE(same_bytes(ByteView{cubed.remainder}.last(32), test::read_file(root / "lab/sgx/sig1.data.bin")));
}

TEST(SigstructSignature, EachPartIsChecked) {
  evidence::Sigstruct good;
  good.date = 0x20260301;
  good.enclave_hash.fill(7);
  sign_sigstruct(good, signer());
  ASSERT_TRUE(verify_sigstruct(good).ok());
  EXPECT_EQ(mrsigner(good), crypto::sha256(good.modulus));
  const auto text = [](const evidence::Sigstruct& changed) {
    const auto result = verify_sigstruct(changed);
    return result.ok() ? std::string{"accepted"} : result.error().text();
  };
  auto changed = good;
  changed.q1[0] ^= 1;
  EXPECT_NE(text(changed).find("q1"), std::string::npos);
  changed = good;
  changed.q2[0] ^= 1;
  EXPECT_NE(text(changed).find("q2"), std::string::npos);
  changed = good;
  changed.signature[5] ^= 1;
  EXPECT_EQ(verify_sigstruct(changed).error().code(), Errc::signature_invalid);
  changed = good;
  changed.modulus[383] &= 0x7F;
  EXPECT_EQ(verify_sigstruct(changed).error().code(), Errc::signature_invalid);
  const auto signed_bytes = evidence::signed_part(good);
  for (std::size_t i = 0; i < signed_bytes.size(); i += 5) {
    auto bytes = evidence::encode_sigstruct(good);
    bytes[i < 128 ? i : 900 + i - 128] ^= 0x20;
    const auto parsed = evidence::parse_sigstruct(bytes);
    if (!parsed) continue;
    EXPECT_EQ(verify_sigstruct(*parsed).error().code(), Errc::signature_invalid) << i;
  }
}

}  // namespace
}  // namespace cloister::measure
