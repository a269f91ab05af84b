#include "cloister/codec/text.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;


json::Value head_json(const merkle::SignedHead& head, const crypto::Ed25519Public& key) {
  return json::Object{{"log", head.head.log_id},
                      {"size", head.head.tree_size},
                      {"root", codec::to_hex(head.head.root)},
                      {"time", to_rfc3339(head.head.time)},
                      {"signature", codec::to_hex(head.signature)},
                      {"key", codec::to_hex(key)}};
}

Result<Response> head(const Services& s, const Request&) {
  CLOISTER_TRY(newest, s.log.advance(s.clock.now()));
  return http::json_response(head_json(newest, s.log.key()));
}

Result<Response> leaves(const Services& s, const Request& request) {
  CLOISTER_TRY(first, number_query(request, "first"));
  CLOISTER_TRY(limit, limit_query(request));
  CLOISTER_TRY(list, s.log.leaves(first.value_or(0), limit));
  json::Array out;
  for (const auto& leaf : list) out.emplace_back(codec::to_base64(leaf));
  return http::json_response(json::Object{{"first", first.value_or(0)}, {"leaves", std::move(out)}});
}

Result<Response> inclusion(const Services& s, const Request& request) {
  CLOISTER_TRY(asked_index, number_query(request, "index"));
  CLOISTER_TRY(asked_size, number_query(request, "size"));
  const auto index = asked_index.value_or(0);
  const auto size = asked_size.value_or(s.log.head().head.tree_size);
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
