#include "search.hpp"

#include <algorithm>
#include <string>

#include "cloister/codec/json.hpp"

namespace keyword_search {
namespace {

namespace json = cloister::codec::json;
using cloister::Bytes;
using cloister::ByteView;
using cloister::Errc;
using cloister::Error;
using cloister::Result;

constexpr json::Limits kLimits{.bytes = 80U << 20, .depth = 4, .values = 1'000'000};

bool in_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         static_cast<std::uint8_t>(c) >= 0x80;
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_word(std::string_view a, std::string_view b) noexcept { return std::ranges::equal(a, b, {}, lower, lower); }

struct Document {
  std::string name;
  std::string text;
};

struct Query {
  std::string keyword;
  std::vector<Document> documents;
};

Result<Query> parse(ByteView payload) {
  CLOISTER_TRY(value, json::parse(cloister::as_text(payload), kLimits));
  json::Fields fields{value, "payload"};
  Query query;
  query.keyword = fields.string("keyword");
  const auto& documents = fields.array("documents");
  CLOISTER_CHECK(fields.finish());
  if (query.keyword.empty() || !std::ranges::all_of(query.keyword, in_word)) {
    return Error{Errc::invalid_argument, "payload.keyword: one word expected"};
  }
  for (const auto& item : documents) {
    json::Fields members{item, "payload.documents"};
    Document document{members.string("name"), members.string("text")};
    CLOISTER_CHECK(members.finish());
    query.documents.push_back(std::move(document));
  }
  return query;
}

}  // namespace

std::uint64_t count_word(std::string_view word, std::string_view text) {
  std::uint64_t count = 0;
  auto at = text.begin();
  while (true) {
    const auto begin = std::find_if(at, text.end(), in_word);
    if (begin == text.end()) return count;
    at = std::find_if_not(begin, text.end(), in_word);
    if (same_word({begin, at}, word)) ++count;
  }
}

Result<Bytes> search(ByteView payload, cloister::sdk::JobContext& job) {
  CLOISTER_TRY(query, parse(payload));
  json::Array counts;
  std::uint64_t total = 0;
  std::size_t told = 0;
  for (std::size_t i = 0; i < query.documents.size(); ++i) {
    if (job.stopped()) return Error{Errc::cancelled, "stopped"};
    const auto& document = query.documents[i];
    const auto count = count_word(query.keyword, document.text);
    total += count;
    json::Value entry{json::Object{}};
    entry.set("name", document.name).set("count", count);
    counts.push_back(std::move(entry));
    const auto percent = (i + 1) * 100 / query.documents.size();
    if (percent >= told + 10) job.progress(static_cast<unsigned>(told = percent));
  }
  json::Value output{json::Object{}};
  output.set("keyword", query.keyword).set("counts", std::move(counts)).set("total", total);
  return cloister::to_bytes(json::write(output));
}

Result<void> Challenge::start(const cloister::sdk::Secrets& secrets) {
  const auto salt = secrets.find(kSecret);
  if (!salt) return Error{Errc::not_found, "secret '" + std::string{kSecret} + "' is missing"};
  if (salt->empty()) return Error{Errc::invalid_argument, "secret '" + std::string{kSecret} + "' is empty"};
  return {};
}

Result<Bytes> Challenge::execute(ByteView payload, cloister::sdk::JobContext& job) { return search(payload, job); }

}  // namespace keyword_search
