// The launch commands: check by check, in the ABI's order.
#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "machine.hpp"

namespace cloister::lab_snp {
namespace {

using measure::SnpPageType;
namespace policy = evidence::snp_policy;

constexpr std::uint64_t kContext = 0x1000;
constexpr std::uint64_t kPage = 0x4000;
constexpr std::uint64_t kGpa = 0x7000;
constexpr std::uint32_t kAsid = 5;

std::uint8_t number(SnpPageType type) { return static_cast<std::uint8_t>(type); }
LaunchUpdate update(SnpPageType type, std::uint64_t spa = kPage) { return {.page = spa, .type = number(type), .permissions = {}}; }

Page filled(std::uint8_t byte) {
  Page out;
  out.fill(byte);
  return out;
}

/// A guest in any state, step by step.
class LaunchTest : public ::testing::Test {
 protected:
  void firmware_page(std::uint64_t spa) {
    ASSERT_EQ(machine.memory.rmp().rmpupdate(spa, {.assigned = true, .immutable = true}), RmpStatus::success);
  }
  void created(std::uint64_t context = kContext) {
    firmware_page(context);
    ASSERT_EQ(machine.firmware.gctx_create(context), Status::success);
  }
  void launched(std::uint64_t guest_policy = policy::kMustBeOne | policy::kSmt) {
    created();
    ASSERT_EQ(machine.firmware.launch_start(kContext, {.policy = guest_policy, .gosvw = {}}), Status::success);
  }
  void activated() {
    launched();
    ASSERT_EQ(machine.firmware.activate(kContext, kAsid), Status::success);
  }
  void pre_guest(std::uint64_t spa = kPage, std::uint32_t asid = kAsid, std::uint64_t gpa = kGpa, PageSize size = PageSize::small) {
    ASSERT_EQ(machine.memory.rmp().rmpupdate(spa, {.assigned = true, .size = size, .immutable = true, .gpa = gpa, .asid = asid}),
              RmpStatus::success);
  }
  [[nodiscard]] Digest48 digest() const { return machine.firmware.guest_status(kContext)->launch_digest; }
  [[nodiscard]] PageState state(std::uint64_t spa) const { return state_of(*machine.memory.rmp().entry(spa)); }

  Machine machine{PlatformOptions::at(evidence::SnpProduct::milan, tcb_of(evidence::SnpProduct::milan)), 2048};
  Firmware& firmware{machine.firmware};
};

TEST_F(LaunchTest, GctxCreateTakesAFirmwarePage) {
  EXPECT_EQ(firmware.gctx_create(kContext + 1), Status::invalid_param);
  EXPECT_EQ(firmware.gctx_create(2048 * kSmallPage), Status::invalid_address);
  EXPECT_EQ(firmware.gctx_create(kContext), Status::invalid_page_state);
  ASSERT_EQ(machine.memory.rmp().rmpupdate(kLargePage, {.assigned = true, .size = PageSize::large, .immutable = true}), RmpStatus::success);
  EXPECT_EQ(firmware.gctx_create(kLargePage), Status::invalid_page_size);
  created();
  EXPECT_EQ(state(kContext), PageState::context);
  EXPECT_EQ(firmware.gctx_create(kContext), Status::invalid_page_state);
  EXPECT_EQ(firmware.guest_status(kContext), GuestStatus{});
  EXPECT_FALSE(firmware.guest_status(0).has_value());
}

TEST_F(LaunchTest, StartTakesPoliciesThatThePlatformKeeps) {
  EXPECT_EQ(firmware.launch_start(kContext, {}), Status::invalid_guest);
  created();
  const auto start = [this](std::uint64_t wanted) { return firmware.launch_start(kContext, {.policy = wanted, .gosvw = {}}); };
  EXPECT_EQ(start(policy::kSmt), Status::policy_failure);
  EXPECT_EQ(start(policy::kMustBeOne), Status::policy_failure);  // SMT is on
  EXPECT_EQ(start(policy::kMustBeOne | policy::kSmt | std::uint64_t{1} << 26), Status::policy_failure);
  EXPECT_EQ(start(policy::kMustBeOne | policy::kSmt | 0x0200), Status::policy_failure);
  EXPECT_EQ(start(policy::kMustBeOne | policy::kSmt | 0x0100 | (Firmware::kAbiMinor + 1)), Status::policy_failure);
  EXPECT_EQ(firmware.guest_status(kContext)->state, GuestState::init);
  EXPECT_EQ(start(policy::kMustBeOne | policy::kSmt | 0x0100 | Firmware::kAbiMinor), Status::success);
  EXPECT_EQ(start(policy::kMustBeOne | policy::kSmt), Status::invalid_guest_state);
}

TEST_F(LaunchTest, ActivateGivesAnAsidToOneGuest) {
  EXPECT_EQ(firmware.activate(kContext, kAsid), Status::invalid_guest);
  created();
  EXPECT_EQ(firmware.activate(kContext, kAsid), Status::invalid_guest_state);
  ASSERT_EQ(firmware.launch_start(kContext, {}), Status::success);
  pre_guest();
  EXPECT_EQ(firmware.activate(kContext, kAsid), Status::invalid_config);
  ASSERT_EQ(firmware.page_reclaim(kPage), Status::success);
  ASSERT_EQ(machine.memory.rmp().rmpupdate(kPage, {}), RmpStatus::success);
  EXPECT_EQ(firmware.activate(kContext, 0), Status::invalid_asid);
  EXPECT_EQ(firmware.activate(kContext, Firmware::kMaxAsid + 1), Status::invalid_asid);
  EXPECT_EQ(firmware.activate(kContext, kAsid), Status::success);
  EXPECT_EQ(firmware.activate(kContext, kAsid + 1), Status::active);
  created(0x2000);
  ASSERT_EQ(firmware.launch_start(0x2000, {}), Status::success);
  EXPECT_EQ(firmware.activate(0x2000, kAsid), Status::asid_owned);
  ASSERT_EQ(firmware.decommission(kContext), Status::success);
  EXPECT_EQ(firmware.activate(0x2000, kAsid), Status::dfflush_required);
  firmware.df_flush();
  EXPECT_EQ(firmware.activate(0x2000, kAsid), Status::success);
}

TEST_F(LaunchTest, UpdateChecksInTheAbisOrder) {
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::invalid_guest);
  created();
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal, 2048 * kSmallPage)), Status::invalid_address);
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal, kPage + 8)), Status::invalid_address);
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::invalid_page_state);
  pre_guest(kPage, kAsid + 1);
  auto wrong = update(SnpPageType::normal);
  wrong.size = PageSize::large;
  EXPECT_EQ(firmware.launch_update(kContext, wrong), Status::invalid_page_size);
  wrong = update(SnpPageType::normal);
  for (const auto type : {std::uint8_t{0}, std::uint8_t{7}}) {
    wrong.type = type;
    EXPECT_EQ(firmware.launch_update(kContext, wrong), Status::invalid_param);
  }
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::invalid_guest_state);
  ASSERT_EQ(firmware.launch_start(kContext, {}), Status::success);
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::inactive);
  ASSERT_EQ(firmware.activate(kContext, kAsid), Status::success);
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::invalid_page_owner);
  EXPECT_EQ(digest(), Digest48{});
  EXPECT_EQ(state(kPage), PageState::pre_guest);
}

TEST_F(LaunchTest, UpdateOfALargePageIsThatOfItsSmallOnes) {
  activated();
  ASSERT_EQ(machine.memory.host_write(kLargePage + 7 * kSmallPage, filled(7)), Fault::none);
  pre_guest(kLargePage, kAsid, kLargePage, PageSize::large);
  auto large = update(SnpPageType::vmsa, kLargePage);
  large.size = PageSize::large;
  EXPECT_EQ(firmware.launch_update(kContext, large), Status::invalid_page_size);
  large.type = number(SnpPageType::normal);
  large.page = kLargePage + kSmallPage;
  EXPECT_EQ(firmware.launch_update(kContext, large), Status::invalid_address);
  large.page = kLargePage;
  ASSERT_EQ(firmware.launch_update(kContext, large), Status::success);
  Bytes contents(kLargePage);
  std::fill_n(contents.begin() + 7 * kSmallPage, kSmallPage, std::uint8_t{7});
  measure::SnpLaunchDigest expected;
  expected.update_pages(SnpPageType::normal, kLargePage, contents);
  EXPECT_EQ(digest(), expected.value());
  EXPECT_EQ(machine.memory.guest_read({.asid = kAsid, .gpa = kLargePage + 7 * kSmallPage, .spa = kLargePage + 7 * kSmallPage},
                                      PageSize::large).page, filled(7));
}

TEST_F(LaunchTest, UpdateMeasuresEncryptsAndValidates) {
  activated();
  const auto contents = filled(0x5A);
  ASSERT_EQ(machine.memory.host_write(kPage, contents), Fault::none);
  pre_guest();
  auto one = update(SnpPageType::normal);
  one.permissions = {.vmpl1 = vmpl_permission::kRead};
  ASSERT_EQ(firmware.launch_update(kContext, one), Status::success);
  measure::SnpLaunchDigest expected;
  expected.update(SnpPageType::normal, kGpa, contents, {.vmpl1 = vmpl_permission::kRead});
  EXPECT_EQ(digest(), expected.value());
  EXPECT_EQ(state(kPage), PageState::guest_valid);
  EXPECT_NE(machine.memory.host_read(kPage), contents);
  EXPECT_EQ(machine.memory.guest_read({.asid = kAsid, .gpa = kGpa, .spa = kPage}).page, contents);
  EXPECT_TRUE(machine.memory.guest_read({.asid = kAsid, .vmpl = 1, .gpa = kGpa, .spa = kPage}).ok());
  EXPECT_EQ(machine.memory.guest_write({.asid = kAsid, .vmpl = 1, .gpa = kGpa, .spa = kPage}, contents), Fault::npf_vmpl);
}

TEST_F(LaunchTest, ZeroAndUnmeasuredPagesAreMeasuredByAddressAlone) {
  activated();
  measure::SnpLaunchDigest expected;
  std::uint64_t spa = kPage;
  for (const auto type : {SnpPageType::zero, SnpPageType::unmeasured}) {
    ASSERT_EQ(machine.memory.host_write(spa, filled(9)), Fault::none);
    pre_guest(spa, kAsid, spa);
    ASSERT_EQ(firmware.launch_update(kContext, update(type, spa)), Status::success);
    expected.update(type, spa, {});
    EXPECT_EQ(machine.memory.guest_read({.asid = kAsid, .gpa = spa, .spa = spa}).page, type == SnpPageType::zero ? Page{} : filled(9));
    spa += kSmallPage;
  }
  EXPECT_EQ(digest(), expected.value());
}

TEST_F(LaunchTest, VmsaIsMeasuredWithoutItsTscAndMarkedInTheRmp) {
  activated();
  auto state_page = measure::vmsa_page(measure::SnpVmm::qemu, measure::kBootEip, 1, 0xA00F11);
  measure::SnpLaunchDigest expected;
  expected.update(SnpPageType::vmsa, measure::kSnpVmsaGpa, state_page);
  state_page[0x2F0] = 1;
  state_page[0x2F8] = 1;
  ASSERT_EQ(machine.memory.host_write(kPage, state_page), Fault::none);
  pre_guest(kPage, kAsid, measure::kSnpVmsaGpa);
  ASSERT_EQ(firmware.launch_update(kContext, update(SnpPageType::vmsa)), Status::success);
  EXPECT_EQ(digest(), expected.value());
  EXPECT_TRUE(machine.memory.rmp().entry(kPage)->vmsa);
}

TEST_F(LaunchTest, ACpuidPageThatLiesIsCorrected) {
  activated();
  auto functions = cpuid_of(evidence::SnpProduct::milan);
  functions.push_back({.eax_in = 0x40000000, .ebx = 0x4B4D564B});  // the host's own range
  functions[1].ebx = 0x02000800;                                    // APIC id 2
  const auto right = functions;
  functions[3].eax |= 1U << 20;
  functions.push_back({.eax_in = 7, .edx = 1});  // the chip has no such function
  ASSERT_EQ(machine.memory.host_write(kPage, encode_cpuid_page(functions)), Fault::none);
  pre_guest();
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::cpuid)), Status::invalid_param);
  EXPECT_EQ(digest(), Digest48{});
  auto corrected = right;
  corrected.push_back({.eax_in = 7});
  EXPECT_EQ(machine.memory.host_read(kPage), encode_cpuid_page(corrected));
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::cpuid)), Status::success);
  EXPECT_EQ(parse_cpuid_page(machine.memory.guest_read({.asid = kAsid, .gpa = kGpa, .spa = kPage}).page), corrected);
}

TEST_F(LaunchTest, ACpuidPageIsWellFormed) {
  activated();
  std::uint64_t spa = kPage;
  for (const std::size_t at : {0U, 4U, 8U}) {  // 65 functions, reserved bytes
    Page page{};
    page[at] = 65;
    ASSERT_EQ(machine.memory.host_write(spa, page), Fault::none);
    pre_guest(spa, kAsid, spa);
    EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::cpuid, spa)), Status::invalid_param) << at;
    EXPECT_EQ(machine.memory.host_read(spa), page);
    spa += kSmallPage;
  }
}

TEST_F(LaunchTest, SecretsPageHasFourKeysForTheGuestAlone) {
  activated();
  pre_guest();
  ASSERT_EQ(firmware.launch_update(kContext, update(SnpPageType::secrets)), Status::success);
  const auto loaded = machine.memory.guest_read({.asid = kAsid, .gpa = kGpa, .spa = kPage});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded.page[0], 3);
  EXPECT_TRUE(all_zero(ByteView{loaded.page}.subspan(0xA0)));
  const auto secrets = parse_secrets_page(loaded.page);
  ASSERT_TRUE(secrets.has_value());
  EXPECT_EQ(secrets->fms, 0x00A00F11U);
  for (std::size_t i = 0; i < kVmpcks; ++i) {
    EXPECT_FALSE(all_zero(secrets->vmpcks[i].reveal()));
    for (std::size_t k = 0; k < i; ++k) EXPECT_FALSE(crypto::equal(secrets->vmpcks[i].reveal(), secrets->vmpcks[k].reveal()));
  }
  auto other = loaded.page;
  other[0] = 4;
  EXPECT_FALSE(parse_secrets_page(other).has_value());
}

TEST_F(LaunchTest, NothingIsAddedAfterFinish) {
  EXPECT_EQ(firmware.launch_finish(kContext, {}), Status::invalid_guest);
  created();
  EXPECT_EQ(firmware.launch_finish(kContext, {}), Status::invalid_guest_state);
  ASSERT_EQ(firmware.launch_start(kContext, {}), Status::success);
  EXPECT_EQ(firmware.launch_finish(kContext, {}), Status::inactive);
  ASSERT_EQ(firmware.activate(kContext, kAsid), Status::success);
  ASSERT_EQ(firmware.launch_finish(kContext, {}), Status::success);
  pre_guest();
  const auto before = digest();
  EXPECT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::invalid_guest_state);
  EXPECT_EQ(firmware.launch_finish(kContext, {}), Status::invalid_guest_state);
  EXPECT_EQ(digest(), before);
  EXPECT_EQ(state(kPage), PageState::pre_guest);
}

TEST_F(LaunchTest, DecommissionTakesTheKeyAndGivesThePageBack) {
  EXPECT_EQ(firmware.decommission(kContext), Status::invalid_guest);
  activated();
  ASSERT_EQ(machine.memory.host_write(kPage, filled(1)), Fault::none);
  pre_guest();
  ASSERT_EQ(firmware.launch_update(kContext, update(SnpPageType::normal)), Status::success);
  EXPECT_EQ(firmware.page_reclaim(kContext), Status::invalid_page_state);
  ASSERT_EQ(firmware.decommission(kContext), Status::success);
  EXPECT_EQ(state(kContext), PageState::firmware);
  EXPECT_FALSE(firmware.guest_status(kContext).has_value());
  EXPECT_EQ(machine.memory.guest_read({.asid = kAsid, .gpa = kGpa, .spa = kPage}).fault, Fault::integrity);
  EXPECT_EQ(firmware.page_reclaim(kContext), Status::success);
  EXPECT_EQ(firmware.page_reclaim(kContext), Status::invalid_page_state);
  EXPECT_EQ(firmware.page_reclaim(1), Status::invalid_address);
}

// --- ID block ---

class IdBlockTest : public LaunchTest {
 protected:
  void SetUp() override { activated(); }
  [[nodiscard]] IdBlock block() const {
    IdBlock out{.launch_digest = digest(), .guest_svn = 3, .policy = policy::kMustBeOne | policy::kSmt};
    out.family_id.fill(0xFA);
    out.image_id.fill(0x1A);
    return out;
  }
  [[nodiscard]] LaunchFinish finish(const IdBlock& block, const IdAuth& auth, bool author = true) const {
    return {.id_block_enabled = true, .author_key_enabled = author, .id_block = encode_id_block(block), .id_auth = encode_id_auth(auth),
            .host_data = {}};
  }
  /// What finish says to a block and authentication that differ from good ones in one way.
  template <class Change>
  Status refused(const Change& change) {
    auto changed = block();
    auto auth = sign_id_block(changed, id_key, &author_key);
    change(changed, auth);
    const auto status = firmware.launch_finish(kContext, finish(changed, auth));
    EXPECT_EQ(firmware.guest_status(kContext)->state, GuestState::launch);
    EXPECT_FALSE(firmware.guest_status(kContext)->author_key);
    return status;
  }
  const crypto::EcPrivateKey id_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  const crypto::EcPrivateKey author_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
};

TEST_F(IdBlockTest, IsTakenWithAndWithoutAnAuthor) {
  ASSERT_EQ(firmware.launch_finish(kContext, finish(block(), sign_id_block(block(), id_key, &author_key))), Status::success);
  EXPECT_TRUE(firmware.guest_status(kContext)->id_block);
  EXPECT_TRUE(firmware.guest_status(kContext)->author_key);
}

TEST_F(IdBlockTest, WithoutAnAuthorItsKeyIsNotLookedAt) {
  ASSERT_EQ(firmware.launch_finish(kContext, finish(block(), sign_id_block(block(), id_key), false)), Status::success);
  EXPECT_TRUE(firmware.guest_status(kContext)->id_block);
  EXPECT_FALSE(firmware.guest_status(kContext)->author_key);
}

TEST_F(IdBlockTest, IsRefusedInTheAbisOrder) {
  // Each is wrong in everything that is looked at later, too.
  EXPECT_EQ(refused([](IdBlock& b, IdAuth& a) { b.launch_digest[0] ^= 1, b.policy = 0, a.id_key_algorithm = 2; }), Status::bad_measurement);
  EXPECT_EQ(refused([](IdBlock& b, IdAuth& a) { b.policy ^= policy::kDebug, a.id_key_algorithm = 2; }), Status::policy_failure);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.id_key_algorithm = 2, a.id_key[0] = 1; }), Status::invalid_param);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.author_key_algorithm = 0, a.id_key[0] = 1; }), Status::invalid_param);
  EXPECT_EQ(refused([](IdBlock& b, IdAuth& a) { b.version = 2, a.id_key[0] = 1; }), Status::invalid_param);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.id_key[0] = 1; }), Status::bad_signature);        // P-256
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.id_key[4] ^= 1; }), Status::bad_signature);       // no point
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.id_key[4 + 48] = 1; }), Status::bad_signature);   // x of 49 bytes
  EXPECT_EQ(refused([](IdBlock& b, IdAuth&) { ++b.guest_svn; }), Status::bad_signature);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.block_signature[0] ^= 1; }), Status::bad_signature);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.block_signature[48] = 1; }), Status::bad_signature);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.block_signature[144] = 1; }), Status::bad_signature);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.author_key[0] = 0; }), Status::bad_signature);
  EXPECT_EQ(refused([](IdBlock&, IdAuth& a) { a.id_key_signature[0] ^= 1; }), Status::bad_signature);
  EXPECT_EQ(refused([this](IdBlock& b, IdAuth& a) { a = sign_id_block(b, id_key, &id_key), a.author_key = encode_id_public_key(author_key.public_key()); }),
            Status::bad_signature);
}

TEST_F(IdBlockTest, LayoutIsThatOfThePublicTool) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/snp/expected.json")).value();
  const auto& row = *expected.find("id_block_sev_snp_measure");
  const auto text = [&row](std::string_view name) { return codec::from_base64(*row.find(name)->as_string()).value(); };
  IdBlock made{.policy = 0x30000};
  made.launch_digest = to_array<48>(text("ld_b64"));
  EXPECT_EQ(to_bytes(encode_id_block(made)), text("id_block_b64"));
  EXPECT_EQ(parse_id_block(to_array<kIdBlockSize>(text("id_block_b64"))), made);
  const auto digest_of = [&root](std::string_view file) {
    const auto der = codec::parse_pem(test::read_text(root / "lab/snp" / file)).value().front().der;
    const auto key = crypto::EcPublicKey::from_xy(crypto::Curve::p384, ByteView{der}.last(96)).value();
    return to_bytes(crypto::sha384(encode_id_public_key(key)));
  };
  EXPECT_EQ(digest_of("id_key_test.pub.pem"), text("id_key_hash_b64"));
  EXPECT_EQ(digest_of("author_key_test.pub.pem"), text("author_key_hash_b64"));
}

TEST_F(IdBlockTest, AuthenticationIsLaidOutAsTheAbiSays) {
  const auto auth = sign_id_block(block(), id_key, &author_key);
  const auto bytes = encode_id_auth(auth);
  const auto again = parse_id_auth(bytes);
  EXPECT_EQ(encode_id_auth(again), bytes);
  EXPECT_EQ(bytes[0x240], 2);
  EXPECT_EQ(bytes[0x880], 2);
  EXPECT_FALSE(all_zero(ByteView{bytes}.subspan(0x40, 48)));
  EXPECT_FALSE(all_zero(ByteView{bytes}.subspan(0x680, 48)));
  EXPECT_TRUE(all_zero(ByteView{bytes}.subspan(0x880 + kIdPublicKeySize)));
}

}  // namespace
}  // namespace cloister::lab_snp
