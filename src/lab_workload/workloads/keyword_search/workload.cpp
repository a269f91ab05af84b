#include "cloister/lab_workload/workload.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/lab_workload/payload.hpp"

/// How often a word is in each document: words stand between white space, capitals do not count.
namespace cloister::lab_workload::keyword_search {
namespace {

namespace json = codec::json;
constexpr std::size_t kMaxDocuments = 1024;
constexpr std::size_t kMaxKeyword = 256;  // bytes

std::int64_t count(std::string_view document, std::string_view keyword) {
  std::int64_t out = 0;
  for_each_word(lower_case(document), [&](std::string_view word) { out += word == keyword ? 1 : 0; });
  return out;
}

Result<Output> run(const json::Value& payload, Enclave& enclave) {
  CLOISTER_CHECK(known_members(payload, {"documents", "keyword"}));
  const json::Value none{json::Array{}};
  const auto* member = payload.find("documents");
  const auto* documents = (member == nullptr ? none : *member).as_array();
  if (documents == nullptr) return Error{Errc::invalid_argument, "documents must be a list of strings"};
  for (const auto& document : *documents) {
    if (document.as_string() == nullptr) return Error{Errc::invalid_argument, "documents must be a list of strings"};
  }
  if (documents->size() > kMaxDocuments) return Error{Errc::invalid_argument, "documents must be at most 1024"};
  const auto* given = payload.find("keyword");
  const auto* keyword = given == nullptr ? nullptr : given->as_string();
  if (keyword == nullptr || keyword->empty())
    return Error{Errc::invalid_argument, "keyword must be a non-empty string"};
  if (keyword->size() > kMaxKeyword) return Error{Errc::invalid_argument, "keyword must have at most 256 bytes"};

  const auto wanted = lower_case(*keyword);
  json::Object counts;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < documents->size(); ++i) {
    const auto found = count(*(*documents)[i].as_string(), wanted);
    total += found;
    counts.emplace_back(std::to_string(i), found);
  }
  // The log tells equal keywords from others, and says none.
  CLOISTER_TRY(tag, enclave.mac("keyword in logs", as_bytes(wanted)));
  return Output{std::move(counts), {{"keyword", codec::to_hex(ByteView{tag}.first(8))}, {"counts", total}}};
}

}  // namespace

Workload workload();
Workload workload() {
  return {.name = "keyword_search",
          .summary = "How often a word is in each document",
          .payload_schema =
              R"json({"type": "object", "additionalProperties": false, "required": ["keyword"], "properties": {
            "documents": {"type": "array", "items": {"type": "string"}, "maxItems": 1024, "default": []},
            "keyword": {"type": "string", "minLength": 1, "maxLength": 256}}})json",
          .run = run};
}

}  // namespace cloister::lab_workload::keyword_search
