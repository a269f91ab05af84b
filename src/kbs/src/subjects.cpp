#include "subjects.hpp"

#include <initializer_list>
#include <string_view>

#include "cloister/token/trustee.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;
using revocation::Kind;

const json::Value* find(const json::Value& in, std::initializer_list<std::string_view> names) {
  const auto* at = &in;
  for (const auto name : names) {
    at = at->find(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string text_at(const json::Value& in, std::string_view name) {
  const auto* value = in.find(name);
  const auto* text = value == nullptr ? nullptr : value->as_string();
  return text == nullptr ? std::string{} : *text;
}

void add(std::vector<std::string>& to, Kind kind, const json::Value* in, std::initializer_list<std::string_view> names) {
  if (in == nullptr) return;
  for (const auto name : names) {
    if (auto value = revocation::canonical(kind, text_at(*in, name))) to.push_back(*std::move(value));
  }
}

}  // namespace

revocation::Subjects subjects_in(const json::Value& token) {
  revocation::Subjects out;
  out.session = text_at(token, token::kSessionClaim);
  out.token = text_at(token, "jti");
  const auto* evidence = find(token, {"submods", "cpu0", "ear.veraison.annotated-evidence"});
  if (evidence == nullptr) return out;
  add(out.measurements, Kind::measurement, find(*evidence, {"tdx", "quote", "body"}), {"mr_td", "rtmr_0", "rtmr_1", "rtmr_2", "rtmr_3"});
  add(out.measurements, Kind::measurement, find(*evidence, {"sgx", "body"}), {"mr_enclave", "mr_signer"});
  for (const std::string_view tee : {"tdx", "sgx"}) {
    add(out.chips, Kind::chip, find(*evidence, {tee, "platform"}), {"ppid", "fmspc", "platform_instance_id"});
  }
  add(out.measurements, Kind::measurement, find(*evidence, {"snp"}), {"measurement"});
  add(out.chips, Kind::chip, find(*evidence, {"snp"}), {"chip_id"});
  return out;
}

}  // namespace cloister::kbs
