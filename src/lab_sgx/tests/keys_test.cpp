#include "cloister/lab_sgx/keys.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "cloister/codec/text.hpp"
#include "cloister/evidence/sgx_report.hpp"
#include "support/support.hpp"

namespace cloister::lab_sgx {
namespace {

namespace flag = evidence::sgx_flag;
using namespace key_policy;

struct Keys : ::testing::Test {
  crypto::Secret<32> secret{ByteArray<32>{1}};
  KeyLadder ladder{secret, {3, 2, 1}};
  Identity identity;
  KeyRequest request;
  ByteArray<16> epoch{};

  Keys() {
    identity.attributes = {flag::kInit | flag::kMode64, 0, 0, 0, 0, 0, 0, 0, 3};
    identity.mr_enclave.fill(1);
    identity.mr_signer.fill(2);
    identity.isv_prod_id = 3;
    identity.isv_svn = 4;
    identity.config_svn = 5;
    identity.config_id.fill(6);
    identity.isv_family_id.fill(7);
    identity.isv_ext_prod_id.fill(8);
    request.policy = kMrSigner;
    request.isv_svn = 4;
    request.cpu_svn = ladder.svn();
  }
  [[nodiscard]] std::string key(const Identity& who, const KeyRequest& what) const {
    const auto answer = egetkey(ladder, epoch, who, what);
    return answer.ok() ? codec::to_hex(answer.value().reveal()) : std::string{to_string(answer.code())};
  }
  /// Whether the change makes another key.
  bool matters(auto change) const {
    auto who = identity;
    change(who);
    return key(who, request) != key(identity, request);
  }
};

TEST_F(Keys, SealKeyDependsOnWhatItsPolicyNames) {
  const auto enclave = [](Identity& i) { i.mr_enclave[0] ^= 1; };
  const auto signer = [](Identity& i) { i.mr_signer[0] ^= 1; };
  const auto product = [](Identity& i) { i.isv_prod_id ^= 1; };
  const auto config = [](Identity& i) { i.config_id[0] ^= 1; };
  const auto family = [](Identity& i) { i.isv_family_id[0] ^= 1; };
  const auto ext = [](Identity& i) { i.isv_ext_prod_id[0] ^= 1; };
  identity.attributes[0] |= flag::kKss;
  EXPECT_FALSE(matters(enclave));
  EXPECT_TRUE(matters(signer));
  EXPECT_TRUE(matters(product));
  EXPECT_FALSE(matters(config));
  EXPECT_FALSE(matters(family));
  EXPECT_FALSE(matters(ext));
  request.policy = kMrEnclave | kNoIsvProdId | kConfigId | kIsvFamilyId | kIsvExtProdId;
  EXPECT_TRUE(matters(enclave));
  EXPECT_FALSE(matters(signer));
  EXPECT_FALSE(matters(product));
  EXPECT_TRUE(matters(config));
  EXPECT_TRUE(matters(family));
  EXPECT_TRUE(matters(ext));
}

TEST_F(Keys, DebugIsInEveryKeyWhateverTheMask) {
  identity.attributes[0] |= flag::kProvisionKey | flag::kEinitTokenKey;
  for (const auto name : {KeyName::einittoken, KeyName::provision, KeyName::provision_seal, KeyName::report, KeyName::seal}) {
    request.name = name;
    EXPECT_TRUE(matters([](Identity& i) { i.attributes[0] |= flag::kDebug; })) << static_cast<int>(name);
  }
}

TEST_F(Keys, AttributesCountWhereTheMaskSaysSo) {
  const auto xfrm = [](Identity& i) { i.attributes[8] = 7; };
  EXPECT_FALSE(matters(xfrm));
  request.attribute_mask[8] = 0xFF;
  EXPECT_TRUE(matters(xfrm));
  const auto misc = [](Identity& i) { i.misc_select = 1; };
  EXPECT_FALSE(matters(misc));
  request.misc_mask = 1;
  EXPECT_TRUE(matters(misc));
}

TEST_F(Keys, GatesAreClosed) {
  for (const std::uint16_t bit : {kNoIsvProdId, kConfigId, kIsvFamilyId, kIsvExtProdId}) {
    auto asked = request;
    asked.policy = bit;
    EXPECT_EQ(key(identity, asked), "#GP");
  }
  auto asked = request;
  for (const auto name : {KeyName::einittoken, KeyName::provision, KeyName::provision_seal}) {
    asked.name = name;
    EXPECT_EQ(key(identity, asked), "SGX_INVALID_ATTRIBUTE");
  }
  asked = request;
  ++asked.isv_svn;
  EXPECT_EQ(key(identity, asked), "SGX_INVALID_ISVSVN");
  asked = request;
  asked.config_svn = 6;
  EXPECT_EQ(key(identity, asked), "SGX_INVALID_ISVSVN");
  asked = request;
  asked.cpu_svn[15] = 1;
  EXPECT_EQ(key(identity, asked), "SGX_INVALID_CPUSVN");
  auto who = identity;
  who.attributes[0] = flag::kMode64;
  EXPECT_EQ(key(who, request), "#GP");
}

TEST_F(Keys, OlderVersionsFollowFromNewerOnesAndNotTheReverse) {
  const KeyLadder older{secret, {3, 1, 1}};
  auto asked = request;
  asked.cpu_svn = older.svn();
  asked.isv_svn = 2;
  const auto then = egetkey(older, epoch, identity, asked);
  EXPECT_EQ(key(identity, asked), codec::to_hex(then.value().reveal()));
  EXPECT_NE(key(identity, asked), key(identity, request));
  EXPECT_EQ(egetkey(older, epoch, identity, request).code(), Code::invalid_cpusvn);
}

TEST_F(Keys, EachNameMachineAndEpochHasItsOwn) {
  identity.attributes[0] |= flag::kProvisionKey | flag::kEinitTokenKey;
  std::set<std::string> keys;
  for (const auto name : {KeyName::einittoken, KeyName::provision, KeyName::provision_seal, KeyName::report, KeyName::seal}) {
    request.name = name;
    keys.insert(key(identity, request));
  }
  EXPECT_EQ(keys.size(), 5U);
  // Another owner: the provisioning keys are the machine's, the others the owner's.
  for (const auto name : {KeyName::einittoken, KeyName::provision, KeyName::provision_seal, KeyName::report, KeyName::seal}) {
    request.name = name;
    const auto before = key(identity, request);
    epoch[0] ^= 1;
    EXPECT_EQ(key(identity, request) == before, name == KeyName::provision || name == KeyName::provision_seal);
  }
  const KeyLadder other{crypto::Secret<32>{ByteArray<32>{2}}, ladder.svn()};
  EXPECT_NE(codec::to_hex(egetkey(other, epoch, identity, request).value().reveal()), key(identity, request));
}

/// Random identities and requests: what debug enclaves get, no production enclave ever does, and a key that a policy binds
/// to the enclave or the signer belongs to one of them only.
TEST_F(Keys, RandomRequestsNeverShareAKeyAcrossTheirPolicy) {
  cloister::test::SeededRandom random{1};
  std::map<std::string, std::pair<bool, std::string>> holders;  // key: debug, and whom it is bound to
  unsigned given = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto dice = random.array<12>();
    auto who = identity;
    const bool debug = (dice[0] & 1) != 0;
    who.attributes[0] = static_cast<std::uint8_t>(flag::kInit | flag::kMode64 | (dice[1] & flag::kKss) |
                                                  (dice[1] & flag::kProvisionKey) | (debug ? flag::kDebug : 0));
    who.mr_enclave[0] = dice[2] & 3;
    who.mr_signer[0] = dice[3] & 3;
    auto asked = request;
    asked.name = (dice[4] & 3) == 0 ? KeyName::provision_seal : KeyName::seal;
    asked.policy = dice[5] & 0x3F;
    asked.isv_svn = dice[6] & 7;
    asked.cpu_svn[0] = dice[7] & 7;
    asked.attribute_mask[0] = dice[8];
    const auto answer = egetkey(ladder, epoch, who, asked);
    if (!answer.ok()) continue;
    ++given;
    EXPECT_LE(asked.isv_svn, who.isv_svn);
    EXPECT_LE(asked.cpu_svn[0], ladder.svn()[0]);
    const bool by_signer = (asked.policy & kMrSigner) != 0 || asked.name == KeyName::provision_seal;
    const auto bound = ((asked.policy & kMrEnclave) != 0 ? std::to_string(who.mr_enclave[0]) : "any") + "/" +
                       (by_signer ? std::to_string(who.mr_signer[0]) : "any");
    const std::pair holder{debug, bound};
    const auto [at, fresh] = holders.emplace(codec::to_hex(answer.value().reveal()), holder);
    EXPECT_EQ(at->second, holder);
  }
  EXPECT_GT(given, 300U);
}

TEST_F(Keys, RequestsAreReadStrictly) {
  const auto good = encode_key_request(request);
  EXPECT_EQ(parse_key_request(good).value(), request);
  for (const std::size_t reserved : {3U, 6U, 78U, 511U}) {
    auto dirty = good;
    dirty[reserved] = 1;
    EXPECT_EQ(parse_key_request(dirty).code(), Code::general_protection) << reserved;
  }
  auto unknown = good;
  unknown[2] = 0x40;
  EXPECT_EQ(parse_key_request(unknown).code(), Code::general_protection);
  unknown = good;
  unknown[0] = 5;
  EXPECT_EQ(parse_key_request(unknown).code(), Code::invalid_keyname);
  EXPECT_EQ(parse_key_request(ByteView{good}.first(511)).code(), Code::general_protection);
}

}  // namespace
}  // namespace cloister::lab_sgx
