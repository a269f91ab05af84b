#include "cloister/codec/text.hpp"
#include "handlers.hpp"

#include <charconv>

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::uint32_t kPage = 100;
constexpr std::uint64_t kMaxIndex = std::uint64_t{1} << 62;

json::Value head_json(const merkle::SignedHead& head, const crypto::Ed25519Public& key) {
  return json::Object{{"log", head.head.log_id},
                      {"size", head.head.tree_size},
                      {"root", codec::to_hex(head.head.root)},
                      {"time", to_rfc3339(head.head.time)},
                      {"signature", codec::to_hex(head.signature)},
                      {"key", codec::to_hex(key)}};
}

Result<std::uint64_t> number(const Request& request, std::string_view name, std::uint64_t otherwise) {
  const auto text = request.query.find(name);
  if (!text) return otherwise;
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (failure != std::errc{} || end != text->data() + text->size() || value > kMaxIndex) {
    return Error{Errc::invalid_argument, std::string{name} + ": a number expected"};
  }
  return value;
}

Result<Response> head(const Services& s, const Request&) {
  CLOISTER_TRY(newest, s.log.advance(s.clock.now()));
  return http::json_response(head_json(newest, s.log.key()));
}

Result<Response> leaves(const Services& s, const Request& request) {
  CLOISTER_TRY(first, number(request, "first", 0));
  CLOISTER_TRY(limit, number(request, "limit", kPage));
  if (limit == 0 || limit > 1000) return Error{Errc::invalid_argument, "limit: 1 to 1000 expected"};
  CLOISTER_TRY(list, s.log.leaves(first, static_cast<std::uint32_t>(limit)));
  json::Array out;
  for (const auto& leaf : list) out.emplace_back(codec::to_base64(leaf));
  return http::json_response(json::Object{{"first", first}, {"leaves", std::move(out)}});
}

Result<Response> inclusion(const Services& s, const Request& request) {
  CLOISTER_TRY(index, number(request, "index", 0));
  CLOISTER_TRY(size, number(request, "size", s.log.head().head.tree_size));
  CLOISTER_TRY(proof, s.log.prove_inclusion(index, size));
  json::Array path;
  for (const auto& hash : proof.path) path.emplace_back(codec::to_hex(hash));
  return http::json_response(json::Object{{"index", index}, {"size", size}, {"path", std::move(path)}});
}

}  // namespace

void add_audit_routes(http::Router& router, const Services& services) {
  const auto admin = administrators();
  router.add(Method::get, "/api/v1/audit/head", operators(), blocking(services, head));
  router.add(Method::get, "/api/v1/audit/leaves", admin, blocking(services, leaves));
  router.add(Method::get, "/api/v1/audit/inclusion", operators(), blocking(services, inclusion));
}

}  // namespace cloister::api
