// A guest that runs, and asks: reports and derived keys over sealed messages.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "derived_key.hpp"
#include "machine.hpp"

namespace cloister::lab_snp {
namespace {

using evidence::SnpProduct;
using evidence::VekKind;
namespace policy = evidence::snp_policy;

constexpr std::uint64_t kPolicy = policy::kMustBeOne | policy::kSmt;

std::vector<std::uint8_t> bytes_of(const crypto::Secret<32>& secret) { return to_bytes(secret.reveal()); }

class GuestTest : public ::testing::Test {
 protected:
  explicit GuestTest(const PlatformOptions& options = PlatformOptions::at(SnpProduct::milan, tcb_of(SnpProduct::milan)))
      : machine{options} {}
  [[nodiscard]] GuestSetup setup(std::uint32_t asid = 1) const {
    GuestSetup out{.launch = {.firmware = firmware_bytes, .kernel = {}, .vcpus = 2, .vcpu_signature = 0xA00F11}, .asid = asid, .finish = {}};
    out.finish.host_data.fill(0x4D);
    return out;
  }
  HostedGuest start(const GuestSetup& wanted) {
    auto started = machine.host.start(wanted);
    EXPECT_TRUE(started.ok()) << started.error().text();
    return std::move(started).value();
  }
  Answered<ByteArray<evidence::kSnpReportSize>> report(const HostedGuest& guest, const ReportRequest& request, unsigned vmpl = 0) {
    auto driver = drivers.contains({guest.context, vmpl}) ? std::move(drivers.at({guest.context, vmpl})) : *machine.host.driver(guest, vmpl);
    auto answer = driver.report(request, machine.host.carrier(guest));
    drivers.insert_or_assign({guest.context, vmpl}, std::move(driver));
    EXPECT_TRUE(answer.ok()) << answer.error().text();
    return std::move(answer).value();
  }
  evidence::SnpReportBody body(const HostedGuest& guest, const ReportRequest& request = {}, unsigned vmpl = 0) {
    const auto answer = report(guest, request, vmpl);
    EXPECT_EQ(answer.status, Status::success) << to_string(answer.status);
    return evidence::parse_snp_report(*answer.value).value().body();
  }
  Answered<crypto::Secret<32>> key(const HostedGuest& guest, const KeyRequest& request, unsigned vmpl = 0) {
    auto driver = drivers.contains({guest.context, vmpl}) ? std::move(drivers.at({guest.context, vmpl})) : *machine.host.driver(guest, vmpl);
    auto answer = driver.derived_key(request, machine.host.carrier(guest));
    drivers.insert_or_assign({guest.context, vmpl}, std::move(driver));
    EXPECT_TRUE(answer.ok()) << answer.error().text();
    return std::move(answer).value();
  }
  std::vector<std::uint8_t> key_bytes(const HostedGuest& guest, const KeyRequest& request, unsigned vmpl = 0) {
    const auto answer = key(guest, request, vmpl);
    EXPECT_EQ(answer.status, Status::success) << to_string(answer.status);
    return answer.value ? bytes_of(*answer.value) : std::vector<std::uint8_t>{};
  }
  const Bytes firmware_bytes = small_firmware();
  Machine machine;
  std::map<std::pair<std::uint64_t, unsigned>, GuestDriver> drivers;
};

TEST_F(GuestTest, LaunchIsWhatTheMeasurementSays) {
  auto wanted = setup();
  wanted.launch.kernel = measure::KernelHashes::of(to_bytes("kernel"), {}, "quiet");
  const auto guest = start(wanted);
  EXPECT_EQ(machine.firmware.guest_status(guest.context)->launch_digest, measure::snp_launch_digest(wanted.launch).value());
  EXPECT_TRUE(machine.memory.guest_read(Host::view(guest, 0xFFFFF000)).ok());
  EXPECT_TRUE(std::ranges::equal(machine.memory.guest_read(Host::view(guest, 0xFFFFF000)).page, firmware_bytes));
}

TEST_F(GuestTest, ReportSaysWhatTheGuestIs) {
  ReportRequest request{.vmpl = 2};
  request.report_data.fill(0xD0);
  const auto guest = start(setup());
  const auto said = body(guest, request);
  EXPECT_EQ(said.version, 3U);
  EXPECT_EQ(said.report_data, request.report_data);
  EXPECT_EQ(said.vmpl, 2U);
  EXPECT_EQ(said.policy, kPolicy);
  EXPECT_EQ(said.measurement, machine.firmware.guest_status(guest.context)->launch_digest);
  EXPECT_EQ(said.host_data, setup().finish.host_data);
  EXPECT_EQ(said.chip_id, authority().chip_id(SnpProduct::milan));
  EXPECT_EQ(said.signing_key, VekKind::vcek);
  EXPECT_EQ(said.cpuid, chip_cpuid(SnpProduct::milan));
  EXPECT_TRUE(std::ranges::all_of(said.report_id_ma, [](auto byte) { return byte == 0xFF; }));
  EXPECT_EQ(body(guest).report_id, said.report_id);
  EXPECT_NE(body(start(setup(2))).report_id, said.report_id);
}

TEST_F(GuestTest, ReportNamesTheIdBlocksKeys) {
  const auto id_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  const auto author_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  auto wanted = setup();
  IdBlock block{.launch_digest = measure::snp_launch_digest(wanted.launch).value(), .guest_svn = 7, .policy = kPolicy};
  block.family_id.fill(0xFA);
  block.image_id.fill(0x1A);
  wanted.finish.id_block_enabled = wanted.finish.author_key_enabled = true;
  wanted.finish.id_block = encode_id_block(block);
  wanted.finish.id_auth = encode_id_auth(sign_id_block(block, id_key, &author_key));
  const auto said = body(start(wanted));
  EXPECT_EQ(said.guest_svn, 7U);
  EXPECT_EQ(said.family_id, block.family_id);
  EXPECT_EQ(said.image_id, block.image_id);
  EXPECT_EQ(said.id_key_digest, crypto::sha384(encode_id_public_key(id_key.public_key())));
  EXPECT_EQ(said.author_key_digest, crypto::sha384(encode_id_public_key(author_key.public_key())));
  EXPECT_TRUE(said.author_key_enabled);

  ++block.launch_digest[0];
  wanted.asid = 2;
  wanted.finish.id_block = encode_id_block(block);
  EXPECT_EQ(machine.host.start(wanted).error().code(), Errc::measurement_mismatch);
}

TEST_F(GuestTest, NobodyReportsAboveItsOwnLevel) {
  const auto guest = start(setup());
  EXPECT_EQ(report(guest, {.vmpl = 1}, 2).status, Status::invalid_param);
  EXPECT_EQ(report(guest, {.vmpl = 4}, 2).status, Status::invalid_param);
  EXPECT_EQ(body(guest, {.vmpl = 2}, 2).vmpl, 2U);
  EXPECT_EQ(body(guest, {.vmpl = 3}, 2).vmpl, 3U);
}

TEST_F(GuestTest, KeySelectionFollowsWhatIsThere) {
  const auto guest = start(setup());
  EXPECT_EQ(report(guest, {.key = KeySelect::vlek}).status, Status::invalid_key);
  EXPECT_EQ(body(guest, {.key = KeySelect::vcek}).signing_key, VekKind::vcek);
  auto without = setup(2);
  without.finish.vcek_disabled = true;
  const auto closed = start(without);
  EXPECT_EQ(report(closed, {.key = KeySelect::vcek}).status, Status::invalid_key);
  EXPECT_EQ(report(closed, {.key = KeySelect::either}).status, Status::invalid_key);
}

TEST_F(GuestTest, MalformedRequestsAreAnsweredSo) {
  const auto guest = start(setup());
  auto driver = *machine.host.driver(guest);
  const auto carrier = machine.host.carrier(guest);
  const auto status = [&](MessageType type, Bytes payload, std::uint8_t version = 1) {
    const auto answer = driver.exchange(type, version, payload, type == MessageType::key_request ? MessageType::key_response : MessageType::report_response, carrier);
    EXPECT_TRUE(answer.ok());
    return answer ? response_status(answer->reveal()) : std::nullopt;
  };
  auto request = encode_report_request({});
  request[0x44] = 3;  // KEY_SEL
  EXPECT_EQ(status(MessageType::report_request, request), Status::invalid_param);
  request[0x44] = 4;
  EXPECT_EQ(status(MessageType::report_request, request), Status::invalid_param);
  request = encode_report_request({});
  request[0x5F] = 1;
  EXPECT_EQ(status(MessageType::report_request, request), Status::invalid_param);
  EXPECT_EQ(status(MessageType::report_request, Bytes(0x5F)), Status::invalid_param);
  auto key_request = encode_key_request({});
  key_request[0] = 6;
  EXPECT_EQ(status(MessageType::key_request, key_request), Status::invalid_param);
  key_request[0] = 0;
  key_request[4] = 1;
  EXPECT_EQ(status(MessageType::key_request, key_request), Status::invalid_param);
  EXPECT_EQ(status(MessageType::key_request, Bytes(0x28)), Status::invalid_param);
  EXPECT_EQ(status(MessageType::key_request, Bytes(0x20), 2), Status::invalid_param);
  EXPECT_EQ(status(MessageType::key_request, Bytes(0x28), 2), Status::success);
}

// --- what the host may do with messages ---

class RequestTest : public GuestTest {
 protected:
  void SetUp() override {
    guest = start(setup());
    driver.emplace(*machine.host.driver(guest));
  }
  [[nodiscard]] Status carried(const Page& request) {
    EXPECT_EQ(machine.memory.host_write(guest.request, request), Fault::none);
    return machine.firmware.guest_request(guest.context, guest.request, guest.response);
  }
  /// A sealed request with this number, and anything else that a guest could say.
  [[nodiscard]] Page sealed(std::uint64_t sequence, MessageType type = MessageType::report_request, std::uint8_t version = 1,
                            unsigned vmpck = 0) {
    const auto secrets = parse_secrets_page(machine.memory.guest_read(Host::view(guest, *guest.secrets_gpa)).page).value().vmpcks[vmpck].clone();
    const auto bytes = seal_message(secrets, {.type = type, .version = version, .vmpck = static_cast<std::uint8_t>(vmpck), .sequence = sequence,
                                              .payload = crypto::SecretBytes::copy_of(encode_report_request({.vmpl = vmpck, .key = {}}))});
    Page out{};
    std::ranges::copy(bytes, out.begin());
    return out;
  }
  HostedGuest guest;
  std::optional<GuestDriver> driver;
};

TEST_F(RequestTest, FirmwareChecksInTheAbisOrder) {
  auto& firmware = machine.firmware;
  const auto good = sealed(1);
  ASSERT_EQ(machine.memory.host_write(guest.request, good), Fault::none);
  EXPECT_EQ(firmware.guest_request(guest.response, guest.request, guest.response), Status::invalid_guest);
  EXPECT_EQ(firmware.guest_request(guest.context, 64 * kSmallPage, guest.response), Status::invalid_address);
  EXPECT_EQ(firmware.guest_request(guest.context, guest.request, 1), Status::invalid_address);
  EXPECT_EQ(firmware.guest_request(guest.context, guest.request, guest.request), Status::invalid_page_state);

  auto bad = good;
  bad[0x30] = 2;
  EXPECT_EQ(carried(bad), Status::invalid_param);
  bad = good;
  bad[0x3C] = 4;
  EXPECT_EQ(carried(bad), Status::invalid_param);
  bad = good;
  bad[0x36] = bad[0x37] = 0xFF;
  EXPECT_EQ(carried(bad), Status::invalid_param);
  bad = good;
  bad[0x60] ^= 1;
  EXPECT_EQ(carried(bad), Status::bad_measurement);
  bad = good;
  bad[0x3C] = 1;  // another key
  EXPECT_EQ(carried(bad), Status::bad_measurement);
  EXPECT_EQ(carried(sealed(3)), Status::aead_oflow);
  EXPECT_EQ(carried(sealed(2)), Status::aead_oflow);
  EXPECT_EQ(carried(sealed(1, MessageType::export_request)), Status::invalid_param);
  EXPECT_EQ(carried(sealed(1, MessageType::report_request, 2)), Status::invalid_param);
  EXPECT_EQ(carried(sealed(1, MessageType::key_request, 3)), Status::invalid_param);
  EXPECT_EQ(carried(sealed(1, MessageType::key_request, 0)), Status::invalid_param);
  EXPECT_EQ(firmware.guest_status(guest.context)->message_counts[0], 0U);
  EXPECT_EQ(carried(good), Status::success);
  EXPECT_EQ(carried(good), Status::aead_oflow);  // replayed
  EXPECT_EQ(firmware.guest_status(guest.context)->message_counts[0], 2U);
}

TEST_F(RequestTest, IsForGuestsThatRunAlone) {
  auto& rmp = machine.memory.rmp();
  constexpr std::uint64_t kOther = 0x20000;
  ASSERT_EQ(rmp.rmpupdate(kOther, {.assigned = true, .immutable = true}), RmpStatus::success);
  ASSERT_EQ(machine.firmware.gctx_create(kOther), Status::success);
  EXPECT_EQ(machine.firmware.guest_request(kOther, guest.request, guest.response), Status::invalid_guest_state);
}

TEST_F(RequestTest, PagesOfMessagesAreSmall) {
  Machine large{PlatformOptions::at(SnpProduct::milan, tcb_of(SnpProduct::milan)), 1024};
  const auto running = large.host.start(setup()).value();
  ASSERT_EQ(large.memory.rmp().rmpupdate(kLargePage, {.assigned = true, .size = PageSize::large, .immutable = true}), RmpStatus::success);
  EXPECT_EQ(large.firmware.guest_request(running.context, running.request, kLargePage), Status::invalid_page_size);
}

TEST_F(RequestTest, KeysCountForThemselves) {
  EXPECT_EQ(carried(sealed(1)), Status::success);
  EXPECT_EQ(carried(sealed(1, MessageType::report_request, 1, 3)), Status::success);
  EXPECT_EQ(machine.firmware.guest_status(guest.context)->message_counts, (std::array<std::uint64_t, 4>{2, 0, 0, 2}));
}

TEST_F(RequestTest, ADriverStopsAfterWhatIsNoGoodAnswer) {
  const auto faithful = machine.host.carrier(guest);
  EXPECT_TRUE(driver->report({}, faithful).ok());
  Page kept{};
  const auto lying = [&](const Page& request, Page& response) {
    if (!faithful(request, response)) return false;
    std::swap(kept, response);  // an older answer instead
    return true;
  };
  auto replayed = *machine.host.driver(guest, 1);
  EXPECT_EQ(replayed.report({.vmpl = 1, .key = {}}, lying).error().code(), Errc::unavailable);  // nothing older
  EXPECT_FALSE(replayed.usable());
  auto second = *machine.host.driver(guest, 2);
  EXPECT_TRUE(second.report({.vmpl = 2, .key = {}}, [&](const Page& request, Page& response) {
    const bool carried_on = faithful(request, response);
    kept = response;
    return carried_on;
  }).ok());
  EXPECT_EQ(second.report({.vmpl = 2, .key = {}}, lying).error().code(), Errc::conflict);
  EXPECT_EQ(second.report({.vmpl = 2, .key = {}}, faithful).error().code(), Errc::unavailable);
  EXPECT_EQ(driver->report({}, [](const Page&, Page&) { return false; }).error().code(), Errc::unavailable);
  EXPECT_EQ(driver->report({}, faithful).error().code(), Errc::unavailable);
}

// --- derived keys ---

TEST_F(GuestTest, KeysDependOnWhatWasAskedFor) {
  const auto guest = start(setup());
  std::set<std::vector<std::uint8_t>> seen;
  const auto is_new = [&](const KeyRequest& request) { return seen.insert(key_bytes(guest, request)).second; };
  EXPECT_TRUE(is_new({}));
  EXPECT_FALSE(is_new({}));
  EXPECT_FALSE(is_new({.guest_svn = 9}));  // not selected
  EXPECT_TRUE(is_new({.root = RootKey::vmrk}));
  EXPECT_TRUE(is_new({.vmpl = 1}));
  for (const auto field : {guest_field::kPolicy, guest_field::kImageId, guest_field::kFamilyId, guest_field::kMeasurement,
                           guest_field::kGuestSvn, guest_field::kTcbVersion}) {
    EXPECT_TRUE(is_new({.fields = field})) << field;
  }
  EXPECT_TRUE(is_new({.fields = guest_field::kMitigations, .mitigations = 1}));
  EXPECT_TRUE(is_new({.fields = guest_field::kMitigations, .mitigations = 0}));
}

TEST_F(GuestTest, KeysOfTheChipOutliveTheGuestThoseOfItselfDoNot) {
  const KeyRequest chip{.fields = guest_field::kMeasurement | guest_field::kPolicy};
  const KeyRequest own{.root = RootKey::vmrk, .fields = guest_field::kMeasurement | guest_field::kPolicy};
  const auto first = start(setup());
  const auto again = start(setup(2));
  EXPECT_EQ(key_bytes(first, chip), key_bytes(again, chip));
  EXPECT_NE(key_bytes(first, own), key_bytes(again, own));

  auto other = setup(3);
  other.launch.guest_features = 0x21;  // another measurement
  const auto changed = start(other);
  EXPECT_NE(key_bytes(changed, chip), key_bytes(first, chip));
  EXPECT_EQ(key_bytes(changed, {.fields = guest_field::kPolicy}), key_bytes(first, {.fields = guest_field::kPolicy}));
}

TEST_F(GuestTest, KeysAlwaysDependOnHostDataAndTheOwnersKey) {
  const auto base = key_bytes(start(setup()), {});
  auto other = setup(2);
  other.finish.host_data[0] ^= 1;
  EXPECT_NE(key_bytes(start(other), {}), base);

  const auto one = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  const auto two = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  IdBlock block{.launch_digest = measure::snp_launch_digest(setup().launch).value(), .policy = kPolicy};
  std::set<std::vector<std::uint8_t>> seen{base};
  std::uint32_t asid = 3;
  const auto owned = [&](const crypto::EcPrivateKey& id_key, const crypto::EcPrivateKey* author) {
    auto wanted = setup(asid++);
    wanted.finish.id_block_enabled = true;
    wanted.finish.author_key_enabled = author != nullptr;
    wanted.finish.id_block = encode_id_block(block);
    wanted.finish.id_auth = encode_id_auth(sign_id_block(block, id_key, author));
    return key_bytes(start(wanted), {});
  };
  EXPECT_TRUE(seen.insert(owned(one, nullptr)).second);
  EXPECT_TRUE(seen.insert(owned(two, nullptr)).second);
  EXPECT_TRUE(seen.insert(owned(one, &two)).second);
  EXPECT_FALSE(seen.insert(owned(two, &two)).second);  // the author vouches for either ID key
}

TEST_F(GuestTest, KeysAreRefusedByTheirRules) {
  auto wanted = setup();
  const auto id_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  const IdBlock block{.launch_digest = measure::snp_launch_digest(wanted.launch).value(), .guest_svn = 3, .policy = kPolicy};
  wanted.finish.id_block_enabled = true;
  wanted.finish.id_block = encode_id_block(block);
  wanted.finish.id_auth = encode_id_auth(sign_id_block(block, id_key));
  const auto guest = start(wanted);
  const auto status = [&](const KeyRequest& request, unsigned vmpl = 0) { return key(guest, request, vmpl).status; };

  EXPECT_EQ(status({.vmpl = 1}, 2), Status::invalid_param);  // VMPL2 asks for VMPL1
  EXPECT_EQ(status({.vmpl = 2}, 2), Status::success);
  EXPECT_EQ(status({.vmpl = 4}), Status::invalid_param);
  EXPECT_EQ(status({.fields = guest_field::kMitigations}), Status::invalid_param);  // version 1 has no such field
  EXPECT_EQ(status({.fields = 128, .mitigations = 0}), Status::invalid_param);
  EXPECT_EQ(status({.fields = guest_field::kMitigations, .mitigations = 2}), Status::invalid_param);  // this launch lacked it
  EXPECT_EQ(status({.fields = guest_field::kGuestSvn, .guest_svn = 3}), Status::success);
  EXPECT_EQ(status({.fields = guest_field::kGuestSvn, .guest_svn = 4}), Status::invalid_param);
  EXPECT_EQ(status({.key = KeySelect::vlek}), Status::invalid_key);
  const auto committed = evidence::encode_snp_tcb(tcb_of(SnpProduct::milan), SnpProduct::milan);
  for (std::size_t component = 0; component < committed.size(); ++component) {
    auto newer = committed;
    ++newer[component];
    EXPECT_EQ(status({.fields = guest_field::kTcbVersion, .tcb = newer}), Status::invalid_param) << component;
    EXPECT_EQ(status({.tcb = newer}), Status::success) << component;  // not selected
  }
  auto closed = setup(2);
  closed.finish.vcek_disabled = true;
  const auto without = start(closed);
  EXPECT_EQ(key(without, {}).status, Status::invalid_key);
  EXPECT_EQ(key(without, {.key = KeySelect::vcek}).status, Status::invalid_key);
  EXPECT_EQ(key(without, {.root = RootKey::vmrk}).status, Status::success);
}

TEST_F(GuestTest, NewerFirmwareMakesTheKeysOfOlder) {
  const auto old_tcb = evidence::encode_snp_tcb(tcb_of(SnpProduct::milan), SnpProduct::milan);
  const KeyRequest at_old{.fields = guest_field::kTcbVersion, .tcb = old_tcb};
  const auto before = key_bytes(start(setup()), at_old);
  const auto newer = tcb_of(SnpProduct::milan, 220);
  EXPECT_EQ(machine.firmware.load(newer), Status::success);
  const KeyRequest at_new{.fields = guest_field::kTcbVersion, .tcb = evidence::encode_snp_tcb(newer, SnpProduct::milan)};
  const auto guest = start(setup(2));
  EXPECT_EQ(key(guest, at_new).status, Status::invalid_param);  // runs, and is not committed
  EXPECT_EQ(machine.firmware.set_reported(newer), Status::invalid_param);
  machine.firmware.commit();
  EXPECT_EQ(machine.firmware.set_reported(newer), Status::success);
  const auto now = key_bytes(guest, at_new);
  EXPECT_NE(now, before);
  EXPECT_EQ(key_bytes(guest, at_old), before);
  EXPECT_EQ(machine.firmware.load(tcb_of(SnpProduct::milan)), Status::invalid_param);  // no way back
}

TEST(DerivedKey, KnownAnswer) {
  KeyMix mix{.root = RootKey::vmrk, .id_key = 1, .fields = guest_field::kGuestSvn, .vmpl = 2, .guest_svn = 3};
  mix.host_data.fill(0x4D);
  // hmac.new(bytes(32), struct.pack('<I', 1) + label + b'\0' + mix + struct.pack('<I', 256), 'sha256'), computed in Python
  EXPECT_EQ(codec::to_hex(derive_guest_key(crypto::Secret<32>{ByteArray<32>{}}, mix).reveal()), "1dd78a0eb8cf418c53c5411541a24e9c1a65c87bf8636f3be59a92071a913e97");
}

// --- platforms ---

TEST(Platform, RefusesTcbsOutOfOrder) {
  Memory memory{4};
  test::SeededRandom random{1};
  const auto start = [&](const PlatformOptions& options) { return Firmware::start(authority(), memory, random, options); };
  auto options = PlatformOptions::at(SnpProduct::milan, tcb_of(SnpProduct::milan));
  ++options.reported.snp;
  EXPECT_EQ(start(options).error().code(), Errc::invalid_argument);
  ++options.committed.snp;
  EXPECT_EQ(start(options).error().code(), Errc::invalid_argument);
  ++options.current.snp;
  EXPECT_TRUE(start(options).ok());
  options.report_version = 4;
  EXPECT_EQ(start(options).error().code(), Errc::invalid_argument);
}

class MaskedTest : public GuestTest {
 protected:
  static PlatformOptions masked() {
    auto out = PlatformOptions::at(SnpProduct::genoa, tcb_of(SnpProduct::genoa));
    out.mask_chip_key = out.mask_chip_id = true;
    return out;
  }
  MaskedTest() : GuestTest{masked()} {}
};

TEST_F(MaskedTest, NobodySignsAndNoChipIsNamed) {
  const auto guest = start(setup());
  const auto answer = report(guest, {});
  const auto parsed = evidence::parse_snp_report(*answer.value).value();
  EXPECT_EQ(parsed.body().signing_key, std::nullopt);
  EXPECT_TRUE(parsed.body().chip_key_masked);
  EXPECT_TRUE(parsed.body().chip_id_masked());
  EXPECT_TRUE(all_zero(parsed.signature()));
  EXPECT_EQ(key(guest, {}).status, Status::invalid_key);
  EXPECT_EQ(key(guest, {.root = RootKey::vmrk}).status, Status::success);
}

/// 7.2 and 7.3 of AMD 56860 tell VCEK and VLEK not apart.
TEST_F(MaskedTest, TheMaskIsOnALoadedKeyToo) {
  machine.firmware.load_vlek();
  const auto guest = start(setup());
  for (const auto select : {KeySelect::either, KeySelect::vlek, KeySelect::vcek}) {
    const auto answer = report(guest, {.key = select});
    ASSERT_TRUE(answer.value.has_value());
    const auto parsed = evidence::parse_snp_report(*answer.value).value();
    EXPECT_EQ(parsed.body().signing_key, std::nullopt);
    EXPECT_TRUE(parsed.body().chip_key_masked);
    EXPECT_TRUE(all_zero(parsed.signature()));
    EXPECT_EQ(key(guest, {.key = select}).status, Status::invalid_key);
    EXPECT_EQ(key(guest, {.root = RootKey::vmrk, .key = select}).status, Status::success);
  }
}

class LoadedTest : public GuestTest {
 protected:
  static PlatformOptions loaded() {
    auto out = PlatformOptions::at(SnpProduct::turin, tcb_of(SnpProduct::turin));
    out.vlek_loaded = true;
    out.report_version = 5;
    out.mitigations = 3;
    return out;
  }
  LoadedTest() : GuestTest{loaded()} {}
};

TEST_F(LoadedTest, TheProvidersKeySignsUnlessTheChipsIsAskedFor) {
  const auto guest = start(setup());
  EXPECT_EQ(body(guest).signing_key, VekKind::vlek);
  EXPECT_EQ(body(guest, {.key = KeySelect::vlek}).signing_key, VekKind::vlek);
  EXPECT_EQ(body(guest, {.key = KeySelect::vcek}).signing_key, VekKind::vcek);
  EXPECT_EQ(body(guest).mitigations, (evidence::SnpMitigations{.launch = 3, .current = 3}));
  EXPECT_NE(key_bytes(guest, {.key = KeySelect::vlek}), key_bytes(guest, {.key = KeySelect::vcek}));
  EXPECT_EQ(key_bytes(guest, {.key = KeySelect::vlek}), key_bytes(guest, {.key = KeySelect::either}));
}

/// The key that was loaded is of the TCB that was reported.
TEST_F(LoadedTest, ALoadedKeyIsGoneWhereAnotherTcbIsReported) {
  const auto guest = start(setup());
  auto& firmware = machine.firmware;
  auto newer = tcb_of(SnpProduct::turin);
  ++newer.snp;
  ASSERT_EQ(firmware.load(newer), Status::success);
  EXPECT_EQ(body(guest).signing_key, VekKind::vlek);  // runs, and is not reported
  firmware.commit();
  EXPECT_EQ(firmware.platform().reported, newer);
  EXPECT_EQ(body(guest).signing_key, VekKind::vcek);
  EXPECT_EQ(key(guest, {.key = KeySelect::vlek}).status, Status::invalid_key);
  firmware.load_vlek();
  EXPECT_EQ(body(guest).signing_key, VekKind::vlek);
  EXPECT_EQ(firmware.set_reported(newer), Status::success);  // as it was
  EXPECT_EQ(body(guest).signing_key, VekKind::vlek);
  EXPECT_EQ(firmware.set_reported(tcb_of(SnpProduct::turin)), Status::success);
  EXPECT_EQ(body(guest).signing_key, VekKind::vcek);
}

}  // namespace
}  // namespace cloister::lab_snp
