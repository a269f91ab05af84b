#include "cloister/kbs/session_cookies.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::kbs {
namespace {

using rcar::Tee;
using std::chrono::milliseconds;
using std::chrono::seconds;

const TenantId kTenant = *TenantId::parse("default");
constexpr UnixTime kNow{milliseconds{1'700'000'000'123}};

class SessionCookiesTest : public testing::Test {
 protected:
  [[nodiscard]] SessionCookies of(const TenantId& tenant) const { return {key, tenant, seconds{300}}; }
  SystemRandom random;
  crypto::Secret<32> key = crypto::Secret<32>::random(random);
  SessionCookies cookies = of(kTenant);
};

TEST_F(SessionCookiesTest, SayWhatTheServerHasToKnow) {
  for (const auto tee : {Tee::sgx, Tee::snp, Tee::tdx, Tee::sample}) {
    const auto made = cookies.make(tee, random, kNow);
    const auto read = of(kTenant).read(made.cookie);  // also after a restart
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->id, made.session.id);
    EXPECT_EQ(read->tee, tee);
    EXPECT_EQ(read->expires, kNow + seconds{300});
    EXPECT_EQ(read->challenge, made.session.challenge);
  }
}

TEST_F(SessionCookiesTest, AreNewEachTimeAndInOrder) {
  std::set<std::string> nonces;
  std::string before;
  for (int i = 0; i < 100; ++i) {
    const auto made = cookies.make(Tee::tdx, random, kNow + milliseconds{i});
    nonces.insert(made.session.challenge.nonce_text());
    EXPECT_LT(before, made.cookie);
    before = made.cookie;
  }
  EXPECT_EQ(nonces.size(), 100U);
}

TEST_F(SessionCookiesTest, OfAnotherKeyOrTenantAreRefused) {
  const auto made = cookies.make(Tee::tdx, random, kNow);
  EXPECT_EQ(of(*TenantId::parse("other")).read(made.cookie).error().code(), Errc::unauthenticated);
  const auto other = crypto::Secret<32>::random(random);
  EXPECT_EQ((SessionCookies{other, kTenant, seconds{300}}).read(made.cookie).error().code(), Errc::unauthenticated);
}

TEST_F(SessionCookiesTest, AnyBitThatChangesIsNoticed) {
  const auto made = cookies.make(Tee::tdx, random, kNow);
  const auto bytes = codec::array_from_hex<33>(made.cookie).value();
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto changed = bytes;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_EQ(cookies.read(codec::to_hex(changed)).error().code(), Errc::unauthenticated) << bit;
  }
  for (const auto& text : {std::string{}, made.cookie + "00", made.cookie.substr(2), std::string(66, 'g')}) {
    EXPECT_EQ(cookies.read(text).error().code(), Errc::unauthenticated) << text;
  }
}

TEST_F(SessionCookiesTest, ANumberOfNoTeeIsRefused) {
  auto named = codec::array_from_hex<33>(cookies.make(Tee::tdx, random, kNow).cookie).value();
  named[16] = 4;  // as a later version with more of them may have made it
  const auto said = ByteView{named}.first(17);
  const std::array length{std::uint8_t{7}};
  const auto tag = crypto::hmac_sha256(key.reveal(), {as_bytes("tag"), length, as_bytes("default"), said});
  EXPECT_EQ(cookies.read(codec::to_hex(said) + codec::to_hex(ByteView{tag}.first(16))).error().code(), Errc::unauthenticated);
}

}  // namespace
}  // namespace cloister::kbs
