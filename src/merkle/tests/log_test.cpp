#include "cloister/merkle/log.hpp"

#include <gtest/gtest.h>

#include <string>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::merkle {
namespace {

AuditLeaf example() {
  return {from_micros(1'700'000'000'000'001),
          "result.accepted",
          "job-1",
          {{"digest", Bytes{1, 2, 3}}, {"fence", std::uint64_t{2}}, {"tenant", std::string{"acme"}}}};
}

TEST(AuditLeafTest, HasTheDocumentedEncoding) {
  EXPECT_EQ(codec::to_hex(*encode(example())),
            "8570"
            "636c6f69737465722f61756469742f31"  // "cloister/audit/1"
            "1b00060a24181e4001"                // time
            "6f726573756c742e6163636570746564"  // "result.accepted"
            "656a6f622d31"                      // "job-1"
            "a3"
            "6566656e636502"              // "fence": 2
            "6664696765737443010203"      // "digest": h'010203'
            "6674656e616e746461636d65");  // "tenant": "acme"
}

TEST(AuditLeafTest, DecodesWhatWasEncodedWithDetailsInOrder) {
  auto leaf = example();
  const auto decoded = decode_audit_leaf(*encode(leaf));
  ASSERT_TRUE(decoded) << decoded.error().text();
  std::swap(leaf.details[0], leaf.details[1]);
  EXPECT_EQ(*decoded, leaf);
  EXPECT_EQ(*decoded->detail<std::uint64_t>("fence"), 2U);
  EXPECT_EQ(*decoded->detail<std::string>("tenant"), "acme");
  EXPECT_EQ(decoded->detail<std::string>("fence"), nullptr) << "of another type";
  EXPECT_EQ(decoded->detail<Bytes>("none"), nullptr);
}

TEST(AuditLeafTest, RefusesToEncodeBeyondItsLimits) {
  const auto refused = [](auto&& change) {
    auto leaf = example();
    change(leaf);
    const auto encoded = encode(leaf);
    return !encoded && encoded.error().code() == Errc::invalid_argument;
  };
  EXPECT_TRUE(refused([](auto& l) { l.kind = ""; }));
  EXPECT_TRUE(refused([](auto& l) { l.kind = "Result"; }));
  EXPECT_TRUE(refused([](auto& l) { l.subject = std::string(257, 'x'); }));
  EXPECT_TRUE(refused([](auto& l) { l.subject = "\xFF"; }));
  EXPECT_TRUE(refused([](auto& l) { l.details.emplace_back("fence", std::uint64_t{3}); }));
  EXPECT_TRUE(refused([](auto& l) { l.details.emplace_back("", std::uint64_t{3}); }));
  EXPECT_TRUE(refused([](auto& l) { l.details.emplace_back(std::string(65, 'n'), std::uint64_t{3}); }));
  EXPECT_TRUE(refused([](auto& l) { l.details.emplace_back("text", std::string{"\xC0"}); }));
  EXPECT_TRUE(refused([](auto& l) { l.details.emplace_back("big", Bytes(kMaxLeafSize)); }));
  EXPECT_TRUE(refused([](auto& l) {
    for (int i = 0; i < 30; ++i) l.details.emplace_back("d" + std::to_string(i), std::uint64_t{3});
  }));
  EXPECT_FALSE(refused([](auto& l) { l.subject = std::string(256, 'x'); }));
}

Bytes leaf_with_details(auto&& write) {
  codec::cbor::Writer out;
  out.array(5).text("cloister/audit/1").integer(1).text("kind").text("subject");
  write(out);
  return out.take();
}

TEST(AuditLeafTest, RefusesForeignBytes) {
  EXPECT_TRUE(decode_audit_leaf(leaf_with_details([](auto& out) { out.map(0); })));
  EXPECT_EQ(decode_audit_leaf(leaf_with_details([](auto& out) { out.map(1).text("d").boolean(true); })).error().code(),
            Errc::malformed);
  EXPECT_EQ(decode_audit_leaf(leaf_with_details([](auto& out) { out.map(1).text("d").integer(-1); })).error().code(),
            Errc::malformed);
  EXPECT_EQ(decode_audit_leaf(leaf_with_details([](auto& out) { out.map(1).uint(1).uint(1); })).error().code(),
            Errc::malformed);
  EXPECT_EQ(decode_audit_leaf(leaf_with_details([](auto& out) { out.map(1).text("").uint(1); })).error().code(),
            Errc::malformed);
  auto trailing = leaf_with_details([](auto& out) { out.map(0); });
  trailing.push_back(0);
  EXPECT_EQ(decode_audit_leaf(trailing).error().code(), Errc::trailing_bytes);
  auto other_domain = leaf_with_details([](auto& out) { out.map(0); });
  other_domain[16] = '2';
  EXPECT_EQ(decode_audit_leaf(other_domain).error().code(), Errc::malformed);
  EXPECT_EQ(decode_audit_leaf(Bytes(kMaxLeafSize + 1)).error().code(), Errc::limit_exceeded);
}

class SignedHeadTest : public ::testing::Test {
 protected:
  [[nodiscard]] SignedHead sign(const AuditHead& head) const { return {head, key_.sign(encode(head))}; }
  test::SeededRandom random_{3};
  crypto::Ed25519Key key_ = crypto::Ed25519Key::generate(random_);
  SignedHead good_ = sign({"log-1", 12, Hash{1, 2, 3}, from_micros(1'700'000'000'000'000)});
};

TEST_F(SignedHeadTest, RoundTripsAndVerifies) {
  const auto decoded = decode_signed_head(encode(good_));
  ASSERT_TRUE(decoded) << decoded.error().text();
  EXPECT_EQ(*decoded, good_);
  EXPECT_TRUE(verify(*decoded, key_.public_key()));
}

TEST_F(SignedHeadTest, IsRefusedWithAnyFieldChanged) {
  const auto refused = [&](auto&& change) {
    auto head = good_;
    change(head);
    const auto verified = verify(head, key_.public_key());
    return !verified && verified.error().code() == Errc::signature_invalid;
  };
  EXPECT_TRUE(refused([](auto& h) { h.head.log_id = "log-2"; }));
  EXPECT_TRUE(refused([](auto& h) { ++h.head.tree_size; }));
  EXPECT_TRUE(refused([](auto& h) { h.head.root[0] ^= 1; }));
  EXPECT_TRUE(refused([](auto& h) { h.head.time += std::chrono::microseconds{1}; }));
  EXPECT_TRUE(refused([](auto& h) { h.signature[0] ^= 1; }));
  EXPECT_FALSE(verify(good_, crypto::Ed25519Key::generate(random_).public_key()));
}

TEST_F(SignedHeadTest, RefusesForeignBytes) {
  auto bytes = encode(good_);
  bytes.push_back(0);
  EXPECT_EQ(decode_signed_head(bytes).error().code(), Errc::trailing_bytes);
  EXPECT_FALSE(decode_signed_head(encode(good_.head))) << "a head without signature";
  EXPECT_FALSE(decode_audit_head(encode(good_)));
  EXPECT_EQ(decode_signed_head(encode(sign({"No Id", 1, {}, {}}))).error().code(), Errc::malformed);
}

}  // namespace
}  // namespace cloister::merkle
