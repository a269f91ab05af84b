#include "keys.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cbor.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/storage/files.hpp"
#include "support/support.hpp"

namespace cloister::server {
namespace {

class KeysTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path file() const { return dir_.path() / kIdentityFile; }
  test::TempDir dir_;
  test::SeededRandom random_{3};
  const kms::SoftwareKms one_{crypto::Secret<32>{ByteArray<32>{1}}, random_};
  const kms::SoftwareKms two_{crypto::Secret<32>{ByteArray<32>{2}}, random_};
};

TEST_F(KeysTest, FollowFromTheMasterKeyUntilTheyAreWrapped) {
  const auto before = load_keys(one_, dir_.path());
  ASSERT_TRUE(before) << before.error().text();
  EXPECT_NE(load_keys(two_, dir_.path())->server_id, before->server_id);
  ASSERT_TRUE(storage::replace_file(file(), wrap_keys(two_, *before).value()));
  const auto after = load_keys(two_, dir_.path());
  ASSERT_TRUE(after) << after.error().text();
  EXPECT_EQ(after->server_id, before->server_id);
  EXPECT_EQ(after->channel_current.public_key(), before->channel_current.public_key());
  EXPECT_EQ(after->channel_next.public_key(), before->channel_next.public_key());
  EXPECT_EQ(after->token.public_key(), before->token.public_key());
  EXPECT_NE(after->audit, before->audit);
  EXPECT_EQ(load_keys(one_, dir_.path()).error().code(), Errc::configuration_invalid);  // the keeper of before
}

TEST_F(KeysTest, EachIsWrappedForItsUse) {
  const auto whole = wrap_keys(one_, load_keys(one_, dir_.path()).value()).value();
  codec::cbor::Reader in{whole};
  in.array(4);
  const auto domain = in.text();
  const auto current = to_bytes(in.bytes());
  const auto next = to_bytes(in.bytes());
  const auto token = to_bytes(in.bytes());
  ASSERT_TRUE(in.finish());
  const auto swapped = codec::cbor::Writer{}.array(4).text(domain).bytes(next).bytes(current).bytes(token).take();
  ASSERT_TRUE(storage::replace_file(file(), swapped));
  EXPECT_EQ(load_keys(one_, dir_.path()).error().code(), Errc::configuration_invalid);
}

TEST_F(KeysTest, RefuseAFileThatWasChanged) {
  const auto whole = wrap_keys(one_, load_keys(one_, dir_.path()).value()).value();
  ASSERT_TRUE(storage::replace_file(file(), whole));
  ASSERT_TRUE(load_keys(one_, dir_.path()).ok());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto changed = whole;
    changed[i] ^= 1;
    ASSERT_TRUE(storage::replace_file(file(), changed));
    ASSERT_EQ(load_keys(one_, dir_.path()).error().code(), Errc::configuration_invalid) << i;
  }
  for (const auto size : {std::size_t{0}, std::size_t{1}, whole.size() - 1}) {
    ASSERT_TRUE(storage::replace_file(file(), ByteView{whole}.first(size)));
    EXPECT_EQ(load_keys(one_, dir_.path()).error().code(), Errc::configuration_invalid) << size;
  }
  auto longer = whole;
  longer.push_back(0);
  ASSERT_TRUE(storage::replace_file(file(), longer));
  EXPECT_EQ(load_keys(one_, dir_.path()).error().code(), Errc::configuration_invalid);
  ASSERT_TRUE(storage::replace_file(file(), Bytes(5000)));
  EXPECT_FALSE(load_keys(one_, dir_.path()).ok());
}

}  // namespace
}  // namespace cloister::server
