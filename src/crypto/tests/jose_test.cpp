#include "cloister/crypto/jose.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "jws.hpp"
#include "support/support.hpp"

namespace cloister::crypto::jose {
namespace {

using codec::json::Object;
using codec::json::Value;

// RFC 8037 appendix A.4 and A.5.
TEST(Jws, Rfc8037KnownAnswer) {
  const auto seed = to_array<32>(codec::from_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").value());
  const auto key = Ed25519Key::from_seed(Secret<32>{seed});
  EXPECT_EQ(codec::to_base64url(key.public_key()), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
  const std::string expected =
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4"
      "iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
  EXPECT_EQ(sign_jws(key, R"({"alg":"EdDSA"})", as_bytes("Example of Ed25519 signing")), expected);
  const auto parsed = parse_jws(expected).value();
  EXPECT_EQ(as_text(verified_payload(parsed, key.public_key()).value()), "Example of Ed25519 signing");
}

class Token : public testing::Test {
 protected:
  [[nodiscard]] std::string with_header(std::string_view header) const {
    return sign_jws(key_, header, as_bytes(R"({"sub":"a"})"));
  }
  [[nodiscard]] Errc refusal(std::string_view token) const {
    const auto verified = verify_ed25519(token, key_.public_key(), "at+jwt");
    return verified.ok() ? Errc::internal : verified.error().code();
  }
  test::SeededRandom random_{3};
  Ed25519Key key_ = Ed25519Key::generate(random_);
  std::string token_ = sign_ed25519(key_, "key-1", "at+jwt", Value{Object{{"sub", "a"}}});
};

TEST_F(Token, OpensWithItsKeyAndType) {
  const auto payload = verify_ed25519(token_, key_.public_key(), "at+jwt").value();
  EXPECT_EQ(payload, (Value{Object{{"sub", "a"}}}));
}

TEST_F(Token, PeekReadsTheHeader) {
  const auto header = peek(token_).value();
  EXPECT_EQ(header.key_id, "key-1");
  EXPECT_EQ(header.type, "at+jwt");
}

TEST_F(Token, OfAnotherKeyIsRefused) {
  const auto other = Ed25519Key::generate(random_);
  EXPECT_EQ(verify_ed25519(token_, other.public_key(), "at+jwt").error().code(), Errc::signature_invalid);
}

TEST_F(Token, OfAnotherTypeIsRefused) {
  EXPECT_EQ(verify_ed25519(token_, key_.public_key(), "other+jwt").error().code(), Errc::malformed);
  EXPECT_EQ(refusal(with_header(R"({"alg":"EdDSA","kid":"a"})")), Errc::malformed);
}

TEST_F(Token, OfAnotherAlgorithmIsRefused) {
  EXPECT_EQ(refusal(with_header(R"({"alg":"none","typ":"at+jwt"})")), Errc::unsupported);
  EXPECT_EQ(refusal(with_header(R"({"alg":"HS256","typ":"at+jwt"})")), Errc::unsupported);
  EXPECT_EQ(refusal(with_header(R"({"alg":"eddsa","typ":"at+jwt"})")), Errc::unsupported);
  EXPECT_EQ(refusal(with_header(R"({"typ":"at+jwt"})")), Errc::missing_member);
}

TEST_F(Token, HeaderWithAnyOtherMemberIsRefused) {
  for (const std::string member : {R"("crit":["exp"])", R"("jwk":{})", R"("jku":"https://a")", R"("x5c":[])",
                                   R"("x5u":"https://a")", R"("b64":false)", R"("cty":"JWT")"}) {
    EXPECT_EQ(refusal(with_header(R"({"alg":"EdDSA","typ":"at+jwt",)" + member + "}")), Errc::unknown_member);
  }
}

TEST_F(Token, HeaderWithADuplicateIsRefused) {
  EXPECT_EQ(refusal(with_header(R"({"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt"})")), Errc::duplicate_member);
}

TEST_F(Token, PayloadThatIsNoObjectIsRefused) {
  const auto header = R"({"alg":"EdDSA","typ":"at+jwt"})";
  EXPECT_EQ(refusal(sign_jws(key_, header, as_bytes("[1]"))), Errc::malformed);
  EXPECT_EQ(refusal(sign_jws(key_, header, as_bytes("text"))), Errc::malformed);
  EXPECT_EQ(refusal(sign_jws(key_, header, as_bytes(R"({"a":1,"a":1})"))), Errc::duplicate_member);
}

TEST_F(Token, OfAnotherShapeIsRefused) {
  EXPECT_EQ(refusal(""), Errc::malformed);
  EXPECT_EQ(refusal("a.b"), Errc::malformed);
  EXPECT_EQ(refusal(token_ + ".x"), Errc::malformed);
  EXPECT_EQ(refusal(token_ + "="), Errc::malformed);
  EXPECT_EQ(refusal(" " + token_), Errc::malformed);
  EXPECT_EQ(refusal(token_.substr(0, token_.rfind('.') + 1)), Errc::signature_invalid);
  EXPECT_EQ(refusal(std::string(kMaxTokenSize + 1, 'a')), Errc::limit_exceeded);
}

// The last character of 64 bytes in base64url carries four bits that must be zero.
TEST_F(Token, SignatureThatIsNotCanonicalIsRefused) {
  auto changed = token_;
  changed.back() = changed.back() == 'A' ? 'B' : static_cast<char>(changed.back() + 1);
  EXPECT_EQ(refusal(changed), Errc::malformed);
}

TEST_F(Token, EveryChangedCharacterIsRefused) {
  for (std::size_t i = 0; i < token_.size(); ++i) {
    auto changed = token_;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(verify_ed25519(changed, key_.public_key(), "at+jwt").ok()) << i;
  }
}

}  // namespace
}  // namespace cloister::crypto::jose
