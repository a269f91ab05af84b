#include "cloister/lab_snp/tcb_secret.hpp"

#include <gtest/gtest.h>

namespace cloister::lab_snp {
namespace {

const evidence::SnpTcbVersion kNew{4, 1, 0, 0, 0, 0, 24, 219};
const evidence::SnpTcbVersion kOld{3, 1, 0, 0, 0, 0, 8, 115};

crypto::Secret<32> root(std::uint8_t byte = 1) { return crypto::Secret<32>{ByteArray<32>{byte}}; }
Bytes key_of(const TcbSecret& secret) { return secret.signing_key("VCEK").public_key().xy(); }

TEST(TcbSecret, OlderKeysComeFromNewerFirmware) {
  const auto lowered = TcbSecret::at(root(), kNew).lower(kOld);
  ASSERT_TRUE(lowered.ok());
  EXPECT_EQ(key_of(*lowered), key_of(TcbSecret::at(root(), kOld)));
  EXPECT_EQ(lowered->tcb(), kOld);
}

TEST(TcbSecret, NewerKeysNeverComeFromOlderFirmware) {
  for (std::size_t component = 0; component < kNew.size(); ++component) {
    auto newer = kNew;
    ++newer[component];
    EXPECT_EQ(TcbSecret::at(root(), kNew).lower(newer).error().code(), Errc::permission_denied) << component;
  }
}

TEST(TcbSecret, EveryComponentAndUseCounts) {
  const auto key = key_of(TcbSecret::at(root(), kNew));
  for (std::size_t component = 0; component < kNew.size(); ++component) {
    auto other = kNew;
    ++other[component];
    EXPECT_NE(key_of(TcbSecret::at(root(), other)), key) << component;
  }
  EXPECT_NE(key_of(TcbSecret::at(root(2), kNew)), key);
  EXPECT_NE(TcbSecret::at(root(), kNew).signing_key("VLEK").public_key().xy(), key);
}

}  // namespace
}  // namespace cloister::lab_snp
