// Checks docs/protocol/vectors/launch.json against the code; writes it anew where CLOISTER_WRITE_VECTORS is set.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/protocol/launch.hpp"
#include "support/support.hpp"

namespace cloister::policy {
namespace {

namespace json = codec::json;

/// The events that a TD of this configuration extends RTMR3 with, and the register after each.
json::Value launch_of(const protocol::Configuration& configuration) {
  const auto encoded = protocol::encode(configuration);
  const auto digest = protocol::configuration_digest(encoded);
  json::Array events;
  Digest48 register_value{};
  const auto extend = [&](std::string_view name, const Digest32& payload) {
    const auto event = evidence::guest_event_digest(name, payload);
    register_value = measure::rtmr_extend(register_value, event);
    events.push_back(json::Object{{"name", std::string{name}},
                                  {"payload", codec::to_hex(payload)},
                                  {"digest", codec::to_hex(event)},
                                  {"rtmr3", codec::to_hex(register_value)}});
  };
  const auto& image = configuration.image_digest;
  if (image) extend(protocol::kImageEvent, *image);
  extend(protocol::kConfigurationEvent, digest);
  const auto rtmr3 = image ? launch_rtmr3(*image, digest) : launch_rtmr3(digest);
  return json::Object{{"configuration", codec::to_hex(encoded)},
                      {"configuration_digest", codec::to_hex(digest)},
                      {"events", std::move(events)},
                      {"rtmr3", codec::to_hex(rtmr3)}};
}

json::Value vectors() {
  protocol::Configuration instance;
  instance.version = *VersionId::parse("ver-example");
  instance.image_digest.emplace().fill(0x11);
  instance.server_keys.emplace_back().fill(0x33);
  auto demanding = instance;
  auto& demand = demanding.demand.emplace();
  auto& reference = demand.references.emplace_back();
  reference.mrtd.fill(0x44);
  for (std::size_t i = 0; i < 3; ++i) reference.rtmr[i].fill(static_cast<std::uint8_t>(0x50 + i));
  reference.configuration_digest.fill(0x66);
  demand.roots = {Bytes(4, 0x77)};
  demand.not_before = *from_civil(2026, 6, 1, 0, 0, 0);
  protocol::Configuration validator;
  validator.role = protocol::Role::validator;
  validator.server_keys = instance.server_keys;
  return json::Object{{"image_digest", codec::to_hex(*instance.image_digest)},
                      {"server_keys", json::Array{codec::to_hex(instance.server_keys[0])}},
                      {"version", instance.version->str()},
                      {"instance", launch_of(instance)},
                      {"validator", launch_of(validator)},
                      {"server_evidence", model::to_json(demand)},
                      {"instance_that_demands", launch_of(demanding)}};
}

TEST(LaunchVectors, AreThoseInTheDocumentation) {
  const auto path = test::source_dir() / "docs/protocol/vectors/launch.json";
  const auto fresh = json::write_pretty(vectors()) + "\n";
  if (std::getenv("CLOISTER_WRITE_VECTORS") != nullptr) std::ofstream{path} << fresh;
  EXPECT_EQ(test::read_text(path), fresh);
}

}  // namespace
}  // namespace cloister::policy
