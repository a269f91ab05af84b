#include "cloister/codec/text.hpp"
#include "cloister/merkle/export.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

Result<Response> head(const Services& s, const Request&) {
  CLOISTER_TRY(newest, s.log.advance(s.clock.now()));
  return http::json_response(merkle::head_json(newest, s.log.key()));
}

Result<Response> leaves(const Services& s, const Request& request) {
  CLOISTER_TRY(first, number_query(request, "first"));
  CLOISTER_TRY(limit, limit_query(request));
  CLOISTER_TRY(list, s.log.leaves(first.value_or(0), limit));
  json::Array out;
  for (const auto& leaf : list) out.emplace_back(codec::to_base64(leaf));
  return http::json_response(json::Object{{"first", first.value_or(0)}, {"leaves", std::move(out)}});
}

Result<Response> logs(const Services& s, const Request&) {
  CLOISTER_TRY(all, s.log.logs());
  json::Array list;
  for (const auto& log : all) {
    list.push_back(json::Object{{"id", log.id},
                                {"started", to_rfc3339(log.started)},
                                {"leaves", log.leaves},
                                {"size", log.size},
                                {"current", log.id == s.log.id()}});
  }
  return http::json_response(json::Object{{"logs", std::move(list)}});
}

/// The lines of an export, from `from` on, as many as go into one answer.
Result<Response> export_log(const Services& s, const Request& request) {
  CLOISTER_TRY(from, number_query(request, "from"));
  CLOISTER_TRY(to, number_query(request, "to"));
  const auto log = request.query.find("log");
  if (log && !valid_id(*log)) return Error{Errc::invalid_argument, "log: an id expected"};
  // So that what was just done is in it.
  if (!log && !to) CLOISTER_CHECK(s.log.advance(s.clock.now()));
  CLOISTER_TRY(page, s.log.export_page({std::string{log.value_or("")}, from.value_or(0), to}));
  json::Array entries;
  for (const auto& entry : page.entries) entries.push_back(merkle::to_json(entry));
  json::Object out{{"header", merkle::to_json(page.header)}, {"entries", std::move(entries)}, {"to", page.to}};
  if (page.next < page.to) out.emplace_back("next", page.next);
  return http::json_response(std::move(out));
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
  routes.add(Method::get, "/api/v1/audit/logs", administrators(),
             Doc{"The logs that the database has, oldest first; those before the last ended when a rollback was accepted"}
                 .of_the_server()
                 .answers(200, "AuditLogList"),
             reading(services, logs));
  routes.add(Method::get, "/api/v1/audit/export", administrators(),
             Doc{"Lines of an export, whose first is the first page's header; `next` says where the next page begins"}
                 .query("log", "Id", "Which log; else the one that goes on")
                 .query("from", "Index", "The first leaf; else the oldest")
                 .query("to", "Index", "The size of the head that ends it, which is in the first page; else of the newest")
                 .of_the_server()
                 .answers(200, "AuditExport"),
             blocking(services, export_log));
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
