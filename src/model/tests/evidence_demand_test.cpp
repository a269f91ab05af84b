#include "cloister/model/evidence_demand.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace cloister::model {
namespace {

namespace json = codec::json;

EvidenceDemand sample() {
  EvidenceDemand out;
  out.references = {{Digest48{1}, {Digest48{2}, Digest48{3}, Digest48{4}}, Digest32{5}}, {}};
  out.roots = {Bytes{6, 7}, Bytes{8}};
  out.not_before = *from_civil(2026, 6, 1, 0, 0, 0);
  return out;
}

Bytes cbor(const EvidenceDemand& demand) {
  codec::cbor::Writer out;
  write(out, demand);
  return std::move(out).take();
}

Result<EvidenceDemand> read(ByteView bytes) {
  codec::cbor::Reader in{bytes};
  auto demand = read_evidence_demand(in);
  CLOISTER_CHECK(in.finish());
  return demand;
}

TEST(EvidenceDemand, RoundTripsInBothForms) {
  for (const auto& demand : {sample(), EvidenceDemand{{ServerReference{}}, {}, from_micros(1)}}) {
    const auto from_json = parse_evidence_demand(to_json(demand));
    ASSERT_TRUE(from_json) << from_json.error().text();
    EXPECT_EQ(*from_json, demand);
    const auto from_cbor = read(cbor(demand));
    ASSERT_TRUE(from_cbor) << from_cbor.error().text();
    EXPECT_EQ(*from_cbor, demand);
  }
}

TEST(EvidenceDemand, HasThisEncoding) {
  codec::cbor::Writer out;
  out.array(3).array(1).array(5);
  for (std::uint8_t i = 1; i <= 4; ++i) out.bytes(Digest48{i});
  out.bytes(Digest32{5}).array(1).bytes(Bytes{6, 7}).integer(1'780'272'000'000'000);
  auto demand = sample();
  demand.references.pop_back();
  demand.roots.pop_back();
  EXPECT_EQ(cbor(demand), std::move(out).take());
}

TEST(EvidenceDemand, RefusesWhatIsOutOfRangeInBothForms) {
  const std::function<void(EvidenceDemand&)> changes[] = {
      [](auto& d) { d.references.clear(); },
      [](auto& d) { d.references.push_back(d.references[0]); },
      [](auto& d) {
        for (std::uint8_t i = 10; d.references.size() < 17; ++i) d.references.push_back({Digest48{i}, {}, {}});
      },
      [](auto& d) { d.roots.push_back(d.roots[0]); },
      [](auto& d) { d.roots.push_back({}); },
      [](auto& d) { d.roots.push_back(Bytes(4097)); },
      [](auto& d) {
        for (std::uint8_t i = 10; d.roots.size() < 9; ++i) d.roots.push_back(Bytes{i});
      },
  };
  for (const auto& change : changes) {
    auto demand = sample();
    change(demand);
    EXPECT_FALSE(parse_evidence_demand(to_json(demand)).ok()) << &change - changes;
    EXPECT_FALSE(read(cbor(demand)).ok()) << &change - changes;
  }
  auto early = sample();
  early.not_before = from_micros(-1);
  EXPECT_EQ(read(cbor(early)).error().code(), Errc::invalid_argument);
  early.not_before = from_micros(253'402'300'800'000'000);
  EXPECT_EQ(read(cbor(early)).error().code(), Errc::invalid_argument);
}

TEST(EvidenceDemand, RefusesEveryTruncationOfItsEncoding) {
  const auto whole = cbor(sample());
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(read(ByteView{whole}.first(n)).ok()) << n;
}

TEST(EvidenceDemand, RefusesWhatItsJsonDoesNotKnow) {
  const auto with = [](std::string_view name, json::Value value) {
    auto demand = to_json(sample());
    demand.set(name, std::move(value));
    return parse_evidence_demand(demand);
  };
  EXPECT_EQ(with("surprise", 1).error().code(), Errc::unknown_member);
  EXPECT_EQ(with("not_before", "today").error().code(), Errc::malformed);
  EXPECT_EQ(with("roots", json::Array{json::Value{1}}).error().code(), Errc::malformed);
  EXPECT_FALSE(with("roots", json::Array{json::Value{"-"}}).ok());
  auto reference = to_json(ServerReference{});
  reference.set("rtmr3", "00");
  EXPECT_EQ(with("reference_values", json::Array{reference}).error().code(), Errc::unknown_member);
  reference = to_json(ServerReference{});
  reference.set("configuration_digest", std::string(64, '0'));
  EXPECT_EQ(with("reference_values", json::Array{reference}).error().code(), Errc::malformed);
  EXPECT_EQ(parse_evidence_demand(json::Object{}).error().code(), Errc::missing_member);
}

}  // namespace
}  // namespace cloister::model
