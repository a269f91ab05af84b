#include "cloister/model/evidence_demand.hpp"

#include <algorithm>
#include <string_view>

#include "cloister/model/challenge.hpp"
#include "json_util.hpp"

namespace cloister::model {
namespace {

using codec::json::Array;
using codec::json::Fields;
using codec::json::Object;
using codec::json::Value;

constexpr std::array<std::string_view, 3> kRtmrNames{"rtmr0", "rtmr1", "rtmr2"};
constexpr std::size_t kMaxReferences = 16;
constexpr std::size_t kMaxRoots = 8;
constexpr std::size_t kMaxRoot = 4096;
constexpr std::int64_t kLastMicros = 253'402'300'799'999'999;  // of the year 9999, the last that JSON has

template <class T>
bool has_doubles(const std::vector<T>& list) {
  for (auto at = list.begin(); at != list.end(); ++at) {
    if (std::find(list.begin(), at, *at) != at) return true;
  }
  return false;
}

/// What neither form says by itself.
Result<void> check(const EvidenceDemand& demand) {
  if (demand.references.empty() || demand.references.size() > kMaxReferences || has_doubles(demand.references)) {
    return Error{Errc::invalid_argument, "reference_values: 1 to 16, each once, expected"};
  }
  const auto unfit = [](const Bytes& root) { return root.empty() || root.size() > kMaxRoot; };
  if (demand.roots.size() > kMaxRoots || std::ranges::any_of(demand.roots, unfit) || has_doubles(demand.roots)) {
    return Error{Errc::invalid_argument, "roots: at most 8 certificates of 1 to 4096 bytes, each once, expected"};
  }
  if (to_micros(demand.not_before) < 0 || to_micros(demand.not_before) > kLastMicros) {
    return Error{Errc::invalid_argument, "not_before: a time of the years 1970 to 9999 expected"};
  }
  return {};
}

}  // namespace

Result<ServerReference> parse_server_reference(const Value& value) {
  Fields fields{value, "server_reference_values"};
  ServerReference out;
  out.mrtd = fields.hex_array<48>("mrtd");
  for (std::size_t i = 0; i < kRtmrNames.size(); ++i) out.rtmr[i] = fields.hex_array<48>(kRtmrNames[i]);
  const auto digest = fields.string("configuration_digest");
  CLOISTER_CHECK(fields.finish());
  auto parsed = parse_digest(digest);
  if (!parsed) return parsed.error().in("configuration_digest");
  out.configuration_digest = *parsed;
  return out;
}

Value to_json(const ServerReference& reference) {
  Object out{{"mrtd", codec::to_hex(reference.mrtd)}};
  for (std::size_t i = 0; i < kRtmrNames.size(); ++i) out.emplace_back(std::string{kRtmrNames[i]}, codec::to_hex(reference.rtmr[i]));
  out.emplace_back("configuration_digest", digest_text(reference.configuration_digest));
  return out;
}

Result<EvidenceDemand> parse_evidence_demand(const Value& value) {
  Fields fields{value, "server_evidence"};
  EvidenceDemand out;
  const auto& references = fields.array("reference_values");
  const auto& roots = fields.optional_array("roots");
  out.not_before = detail::time(fields, "not_before");
  CLOISTER_CHECK(fields.finish());
  for (const auto& item : references) {
    CLOISTER_TRY(reference, parse_server_reference(item));
    out.references.push_back(reference);
  }
  for (const auto& item : roots) {
    const auto* text = item.as_string();
    if (text == nullptr) return Error{Errc::malformed, "roots: base64 of certificates expected"};
    auto root = codec::from_base64(*text);
    if (!root) return root.error().in("roots");
    out.roots.push_back(*std::move(root));
  }
  if (auto checked = check(out); !checked) return checked.error().in("server_evidence");
  return out;
}

Value to_json(const EvidenceDemand& demand) {
  Array references;
  for (const auto& reference : demand.references) references.push_back(to_json(reference));
  Array roots;
  for (const auto& root : demand.roots) roots.emplace_back(codec::to_base64(root));
  return Object{{"reference_values", std::move(references)},
                {"roots", std::move(roots)},
                {"not_before", to_rfc3339(demand.not_before)}};
}

void write(codec::cbor::Writer& out, const EvidenceDemand& demand) {
  out.array(3).array(demand.references.size());
  for (const auto& reference : demand.references) {
    out.array(5).bytes(reference.mrtd);
    for (const auto& value : reference.rtmr) out.bytes(value);
    out.bytes(reference.configuration_digest);
  }
  out.array(demand.roots.size());
  for (const auto& root : demand.roots) out.bytes(root);
  out.integer(to_micros(demand.not_before));
}

EvidenceDemand read_evidence_demand(codec::cbor::Reader& in) {
  EvidenceDemand out;
  in.array(3);
  const auto references = in.array_up_to(kMaxReferences);
  for (std::size_t i = 0; i < references && !in.failed(); ++i) {
    auto& reference = out.references.emplace_back();
    in.array(5);
    reference.mrtd = in.bytes<48>();
    for (auto& value : reference.rtmr) value = in.bytes<48>();
    reference.configuration_digest = in.bytes<32>();
  }
  const auto roots = in.array_up_to(kMaxRoots);
  for (std::size_t i = 0; i < roots && !in.failed(); ++i) out.roots.push_back(to_bytes(in.bytes()));
  out.not_before = from_micros(in.integer());
  if (in.failed()) return {};
  if (auto checked = check(out); !checked) in.fail(checked.error().code(), checked.error().detail());
  return out;
}

}  // namespace cloister::model
