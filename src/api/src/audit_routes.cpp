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

Result<Response> consistency(const Services& s, const Request& request) {
  CLOISTER_TRY(first, number_query(request, "first"));
  CLOISTER_TRY(asked_second, number_query(request, "second"));
  if (!first) return Error{Errc::invalid_argument, "first: the size of the older tree expected"};
  const auto second = asked_second.value_or(s.log.head().head.tree_size);
  CLOISTER_TRY(proof, s.log.prove_consistency(*first, second));
  json::Array path;
  for (const auto& hash : proof.path) path.emplace_back(codec::to_hex(hash));
  return http::json_response(json::Object{{"first", *first}, {"second", second}, {"path", std::move(path)}});
}

}  // namespace

void add_audit_routes(Routes& routes, const Services& services) {
  routes.add(Method::get, "/api/v1/audit/head", operators(),
             Doc{"The newest signed head of the audit log"}.answers(200, "AuditHead"), blocking(services, head));
  routes.add(Method::get, "/api/v1/audit/leaves", administrators(),
             Doc{"Leaves of the audit log, encoded as they were hashed"}
                 .query("first", "Index", "Where to begin; else at the oldest")
                 .query("limit", "Limit", "How many at most")
                 .of_the_server()
                 .answers(200, "AuditLeaves"),
             reading(services, leaves));
  routes.add(Method::get, "/api/v1/audit/inclusion", operators(),
             Doc{"That a leaf stands in a tree (RFC 6962 section 2.1.1)"}
                 .query("index", "Index", "Of the leaf; else the first")
                 .query("size", "Index", "Of the tree; else that of the newest head")
                 .answers(200, "InclusionProof"),
             reading(services, inclusion));
  routes.add(Method::get, "/api/v1/audit/consistency", operators(),
             Doc{"That a tree continues an older one (RFC 6962 section 2.1.2)"}
                 .query("first", "Index", "Size of the older tree")
                 .query("second", "Index", "Size of the newer tree; else that of the newest head")
                 .answers(200, "ConsistencyProof"),
             reading(services, consistency));
}

}  // namespace cloister::api
