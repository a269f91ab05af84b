#include "cloister/kms/pkcs11_uri.hpp"

#include <gtest/gtest.h>

namespace cloister::kms {
namespace {

constexpr std::string_view kGood = "pkcs11:token=My%20token;object=prod?module-path=/lib/m.so&pin-source=file:/etc/pin";

Errc refusal(std::string_view text) {
  const auto parsed = parse_pkcs11_uri(text);
  EXPECT_FALSE(parsed) << text;
  return parsed ? Errc::internal : parsed.error().code();
}

TEST(Pkcs11Uri, ReadsEveryAttribute) {
  const auto uri = parse_pkcs11_uri(kGood);
  ASSERT_TRUE(uri) << uri.error().text();
  EXPECT_EQ(uri->token, "My token");
  EXPECT_EQ(uri->object, "prod");
  EXPECT_EQ(uri->module, "/lib/m.so");
  EXPECT_EQ(uri->pin_file, "/etc/pin");
  EXPECT_FALSE(uri->serial);
  const auto full = parse_pkcs11_uri(
      "pkcs11:serial=0a1b;manufacturer=M;model=X%2Fy?pin-source=file:///etc/p%25n&module-path=%2Flib%2fm.so");
  ASSERT_TRUE(full) << full.error().text();
  EXPECT_EQ(full->serial, "0a1b");
  EXPECT_EQ(full->manufacturer, "M");
  EXPECT_EQ(full->model, "X/y");
  EXPECT_EQ(full->object, "cloister");
  EXPECT_EQ(full->module, "/lib/m.so");
  EXPECT_EQ(full->pin_file, "/etc/p%n");
  EXPECT_EQ(parse_pkcs11_uri("pkcs11:token=t?module-path=/m&pin-source=/p")->pin_file, "/p");
}

TEST(Pkcs11Uri, RefusesWhatIsMissing) {
  EXPECT_EQ(refusal("pkcs11:?module-path=/m&pin-source=/p"), Errc::missing_member);
  EXPECT_EQ(refusal("pkcs11:token=t?pin-source=/p"), Errc::missing_member);
  EXPECT_EQ(refusal("pkcs11:token=t?module-path=/m"), Errc::missing_member);
  EXPECT_EQ(refusal("pkcs11:token=t"), Errc::missing_member);
}

TEST(Pkcs11Uri, RefusesWhatItWouldIgnore) {
  EXPECT_EQ(refusal("pkcs11:token=t;slot-id=3?module-path=/m&pin-source=/p"), Errc::unsupported);
  EXPECT_EQ(refusal("pkcs11:token=t?module-path=/m&pin-source=/p&module-name=m"), Errc::unsupported);
  EXPECT_EQ(refusal("pkcs11:token=t?module-path=/m&token=u&pin-source=/p"), Errc::duplicate_member);
  EXPECT_EQ(refusal("pkcs11:token=t;module-path=/m?pin-source=/p"), Errc::unsupported);
  const auto pin = parse_pkcs11_uri("pkcs11:token=t?module-path=/m&pin-value=1234");
  ASSERT_FALSE(pin);
  EXPECT_EQ(pin.error().code(), Errc::unsupported);
  EXPECT_EQ(pin.error().detail().find("1234"), std::string::npos) << "a secret is not repeated";
}

TEST(Pkcs11Uri, RefusesDuplicates) {
  EXPECT_EQ(refusal("pkcs11:token=t;token=t?module-path=/m&pin-source=/p"), Errc::duplicate_member);
  EXPECT_EQ(refusal("pkcs11:token=t?module-path=/m&pin-source=/p&pin-source=/p"), Errc::duplicate_member);
}

TEST(Pkcs11Uri, RefusesEachMalformation) {
  for (const std::string_view text :
       {"", "pkcs11", "PKCS11:token=t?module-path=/m&pin-source=/p", "pkcs11:token?module-path=/m&pin-source=/p",
        "pkcs11:token=?module-path=/m&pin-source=/p", "pkcs11:=t?module-path=/m&pin-source=/p",
        "pkcs11:token=t;?module-path=/m&pin-source=/p", "pkcs11:token=t?module-path=/m&pin-source=/p&",
        "pkcs11:token=a%2?module-path=/m&pin-source=/p", "pkcs11:token=a%zz?module-path=/m&pin-source=/p",
        "pkcs11:token=a%00?module-path=/m&pin-source=/p", "pkcs11:token=a b?module-path=/m&pin-source=/p",
        "pkcs11:token=t?module-path=m.so&pin-source=/p", "pkcs11:token=t?module-path=/m&pin-source=p",
        "pkcs11:token=t?module-path=/m&pin-source=file:p", "pkcs11:token=t?module-path=/m&pin-source=|/bin/ask",
        "pkcs11:token=t?module-path=/m&pin-source=file:////host/p", "pkcs11:To=t?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=Big%20Name?module-path=/m&pin-source=/p",
        "pkcs11:token=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?module-path=/m&pin-source=/p",
        "pkcs11:serial=aaaaaaaaaaaaaaaaa?module-path=/m&pin-source=/p"}) {
    EXPECT_EQ(refusal(text), Errc::malformed) << text;
  }
  EXPECT_EQ(refusal("pkcs11:token=" + std::string(kMaxPkcs11Uri, 'a')), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::kms
