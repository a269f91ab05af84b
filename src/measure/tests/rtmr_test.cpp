#include "cloister/measure/rtmr.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/quote.hpp"
#include "support/support.hpp"

namespace cloister::measure {
namespace {

using codec::to_hex;

TEST(Rtmr, ExtendHashesTheOldValueAndTheDigest) {
  const auto separator = crypto::sha384(ByteArray<4>{});
  EXPECT_EQ(to_hex(rtmr_extend(Digest48{}, separator)),
            "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4");
}

TEST(Replay, ExtendsInOrderAndOnlyWhatCounts) {
  const Digest48 a = crypto::sha384(as_bytes("a"));
  const Digest48 b = crypto::sha384(as_bytes("b"));
  evidence::EventLog log(4);
  log[0] = {.rtmr = std::nullopt, .type = 1, .digest = a, .name = {}, .data = {}};                 // into MRTD
  log[1] = {.rtmr = 2, .type = evidence::kEventNoAction, .digest = a, .name = {}, .data = {}};     // logged only
  log[2] = {.rtmr = 2, .type = 1, .digest = a, .name = {}, .data = {}};
  log[3] = {.rtmr = 2, .type = 1, .digest = b, .name = {}, .data = {}};
  const auto registers = replay(log);
  EXPECT_EQ(registers[0], Digest48{});
  EXPECT_EQ(registers[1], Digest48{});
  EXPECT_EQ(registers[2], rtmr_extend(rtmr_extend({}, a), b));
  EXPECT_EQ(registers[3], Digest48{});
  std::swap(log[2], log[3]);
  EXPECT_NE(replay(log)[2], registers[2]);
}

TEST(Replay, OfAnEmptyLogIsZero) { EXPECT_EQ(replay({}), Rtmrs{}); }

TEST(Replay, OfGuestEventsFollowsTheirDigests) {
  const std::vector<evidence::GuestEvent> events{{3, "image-digest", Bytes(32, 1)}, {3, "configuration-digest", Bytes(32, 2)}};
  const auto registers = replay(evidence::to_event_log(events));
  const auto image = evidence::guest_event_digest("image-digest", Bytes(32, 1));
  const auto configuration = evidence::guest_event_digest("configuration-digest", Bytes(32, 2));
  EXPECT_EQ(registers[3], rtmr_extend(rtmr_extend({}, image), configuration));
  // ["cloister/event/1", "image-digest", 32 bytes of 01]
  EXPECT_EQ(image, crypto::sha384(codec::from_hex("8370636c6f69737465722f6576656e742f316c696d6167652d646967657374"
                                                  "58200101010101010101010101010101010101010101010101010101010101010101")
                                      .value()));
}

Rtmrs registers_of(ByteView quote) {
  const auto parsed = evidence::parse_quote(quote);
  EXPECT_TRUE(parsed.ok());
  return parsed->td()->rtmr;
}

TEST(ReplayVectors, CcelOfARealMachineLeadsToItsQuote) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto log = evidence::parse_ccel(test::read_file(root / "lab/tdx/cos113_ccel_data.dat"));
  ASSERT_TRUE(log.ok()) << log.error().text();
  EXPECT_EQ(replay(*log), registers_of(test::read_file(root / "lab/tdx/cos113_tdx_quote_v4.dat")));
  EXPECT_EQ(to_hex(replay(*log)[0]),
            "3fa2f61f395b7f5feefb4ec2df61297f109ad8abcd6410c1b7df60f21f37b19297fc35e544039c7e1edece752afd17f6");
}

TEST(ReplayVectors, CcelOfDstack) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/tdx/expected.json")).value();
  const auto log = evidence::parse_ccel(test::read_file(root / "lab/tdx/dstack_ccel.bin"));
  ASSERT_TRUE(log.ok()) << log.error().text();
  for (const std::size_t i : {0U, 1U, 2U}) {
    EXPECT_EQ(to_hex(replay(*log)[i]), *expected.find("dstack_ccel.bin")->find("rtmr" + std::to_string(i))->as_string());
  }
}

class DstackLogs : public ::testing::TestWithParam<const char*> {};

TEST_P(DstackLogs, JsonLogLeadsToItsQuote) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto evidence = codec::json::parse(test::read_text(root / "attestation/tdx/dstack" / GetParam())).value();
  const auto log = evidence::parse_dstack_event_log(*evidence.find("event_log")->as_string());
  ASSERT_TRUE(log.ok()) << log.error().text();
  const auto quote = codec::from_hex(*evidence.find("quote")->as_string()).value();
  EXPECT_EQ(replay(*log), registers_of(quote));
}

INSTANTIATE_TEST_SUITE_P(Files, DstackLogs, ::testing::Values("quote-report.json", "tdx-lite-getquote.json"));

}  // namespace
}  // namespace cloister::measure
