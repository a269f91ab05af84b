#include "cloister/protocol/server_proof.hpp"

#include <algorithm>

#include "cbor_util.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::protocol {
namespace {

namespace json = codec::json;

constexpr std::string_view kPreimageDomain = "cloister/server-rd/1";
constexpr std::string_view kConfigurationDomain = "cloister/server-configuration/1";

constexpr json::Limits kLimits{.bytes = kMaxServerProof, .depth = 8, .values = 10'000};

bool has_doubles(std::vector<ByteArray<32>> keys) {
  std::ranges::sort(keys);
  return std::ranges::adjacent_find(keys) != keys.end();
}

}  // namespace

Bytes encode(const ServerPreimage& preimage) {
  const auto& identity = preimage.identity;
  codec::cbor::Writer out;
  out.array(8).text(kPreimageDomain).bytes(preimage.nonce);
  detail::optional_bytes(out, preimage.handshake_hash);
  out.text(identity.server_id).array(identity.channel_keys.size());
  for (const auto& key : identity.channel_keys) out.bytes(key);
  out.bytes(identity.audit_key);
  detail::optional_bytes(out, identity.tls_key);
  out.bytes(identity.configuration_digest);
  return std::move(out).take();
}

Result<ServerPreimage> decode_server_preimage(ByteView bytes) {
  codec::cbor::Reader in{bytes};
  ServerPreimage out;
  in.array(8);
  in.domain(kPreimageDomain);
  out.nonce = to_bytes(in.bytes());
  out.handshake_hash = detail::optional_bytes<32>(in);
  const auto id = in.text();
  if (!in.failed() && !valid_id(id)) in.fail(Errc::malformed, "a server's id expected");
  out.identity.server_id = id;
  const auto keys = in.array_up_to(kMaxChannelKeys);
  for (std::size_t i = 0; i < keys && !in.failed(); ++i) out.identity.channel_keys.push_back(in.bytes<32>());
  out.identity.audit_key = in.bytes<32>();
  out.identity.tls_key = detail::optional_bytes<32>(in);
  out.identity.configuration_digest = in.bytes<32>();
  CLOISTER_CHECK(in.finish());
  if (out.nonce.size() < kMinServerNonce || out.nonce.size() > kMaxServerNonce) {
    return Error{Errc::malformed, "a nonce of 16 to 64 bytes expected"};
  }
  if (out.identity.channel_keys.empty() || has_doubles(out.identity.channel_keys)) {
    return Error{Errc::malformed, "1 to 4 channel keys, each once, expected"};
  }
  return out;
}

Bytes encode_server_configuration(ServerConfiguration parts) {
  std::ranges::sort(parts);
  const auto doubled = std::ranges::adjacent_find(parts, {}, [](const auto& part) { return part.first; });
  CLOISTER_ASSERT(doubled == parts.end());
  codec::cbor::Writer out;
  out.array(2).text(kConfigurationDomain).array(parts.size());
  for (const auto& [name, digest] : parts) out.array(2).text(name).bytes(digest);
  return std::move(out).take();
}

json::Value to_json(const ServerProof& proof) {
  json::Value collateral;
  if (auto parsed = json::parse(proof.collateral, kLimits)) collateral = *std::move(parsed);  // what is no JSON is none
  return json::Object{{"evidence", codec::to_base64(proof.evidence)},
                      {"event_log", codec::to_base64(proof.event_log)},
                      {"preimage", codec::to_base64(proof.preimage)},
                      {"collateral", std::move(collateral)}};
}

Result<ServerProof> parse_server_proof(std::string_view text) {
  CLOISTER_TRY(value, json::parse(text, kLimits));
  json::Fields fields{value, "server's evidence"};
  ServerProof out;
  out.evidence = fields.base64("evidence");
  out.event_log = fields.base64("event_log");
  out.preimage = fields.base64("preimage");
  const auto* collateral = fields.optional_object("collateral");
  CLOISTER_CHECK(fields.finish());
  if (collateral != nullptr) out.collateral = json::write(*collateral);
  return out;
}

}  // namespace cloister::protocol
