#include "cloister/receipt/receipt.hpp"
#include "cloister/storage/evidence.hpp"
#include "handlers.hpp"

#include <charconv>

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::chrono::seconds kMaxWait{60};
constexpr json::Limits kJobLimits{.bytes = std::size_t{96} << 20, .depth = 6, .values = 4096};

/// The job; where it waits for recipients, also who could become one.
Result<json::Value> job_json(const Services& s, const TenantId& tenant, const JobId& id) {
  CLOISTER_TRY(job, s.jobs.get(tenant, id));
  auto out = model::to_json(job);
  json::Array missing;
  if (!model::is_final(job.state)) {
    CLOISTER_TRY(instances, s.jobs.missing_recipients(id));
    for (const auto& instance : instances) missing.emplace_back(instance.str());
  }
  out.set("missing_recipients", std::move(missing));
  return out;
}

Result<Response> submit(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request, kJobLimits));
  CLOISTER_TRY(job, model::parse_job_request(body));
  CLOISTER_TRY(submitted, s.jobs.submit(tenant_of(request), job, s.clock.now()));
  if (submitted.created) {
    s.logger.info("job.submitted", {{"request_id", request.request_id},
                                    {"job", submitted.job.id.str()},
                                    {"version", submitted.job.version.str()},
                                    {"state", model::to_string(submitted.job.state)}});
  }
  CLOISTER_TRY(out, job_json(s, tenant_of(request), submitted.job.id));
  return http::json_response(out, submitted.created ? 201 : 200);
}

Result<Response> list(const Services& s, const Request& request) {
  storage::jobs::Query query;
  query.tenant = tenant_of(request);
  if (const auto text = request.query.find("state")) {
    query.state = model::job_state_from(*text);
    if (!query.state) return Error{Errc::invalid_argument, "state: no such state of a job"};
  }
  CLOISTER_TRY(version, id_query<VersionId>(request, "version"));
  CLOISTER_TRY(limit, limit_query(request));
  CLOISTER_TRY(before, number_query(request, "cursor"));
  query.version = std::move(version);
  query.limit = limit;
  query.before = before;
  CLOISTER_TRY(page, s.jobs.list(query));
  json::Array out;
  for (const auto& job : page.jobs) out.push_back(model::to_json(job));
  json::Object answer{{"jobs", std::move(out)}};
  if (page.next) answer.emplace_back("next", std::to_string(*page.next));
  return http::json_response(std::move(answer));
}

/// "30s" at most a minute; nothing: no waiting.
Result<std::chrono::seconds> wait_query(const Request& request) {
  const auto text = request.query.find("wait");
  if (!text) return std::chrono::seconds{0};
  std::uint32_t seconds = 0;
  const auto* const begin = text->data();
  const auto [end, failure] = std::from_chars(begin, begin + text->size(), seconds);
  if (failure != std::errc{} || std::string_view{end, begin + text->size()} != "s" || seconds > kMaxWait.count()) {
    return Error{Errc::invalid_argument, "wait: from 0s to 60s expected"};
  }
  return std::chrono::seconds{seconds};
}

/// Waits until the job is final, or waits for recipients that are there, or the time is over.
Task<Response> get(const Services* s, Request request) {
  auto wait = wait_query(request);
  auto id = id_param<JobId>(request, "id");
  if (!wait || !id) co_return refuse(request, wait ? id.error() : wait.error());
  const auto deadline = Deadline::after(s->clock, *wait);
  const auto tenant = tenant_of(request);
  for (;;) {
    const auto seen = s->jobs.changed().version();
    auto work = [s, tenant, id = *id] { return job_json(*s, tenant, id); };
    auto job = co_await run_in_time(s->readers, s->patience, std::move(work));
    if (!job) co_return refuse(request, job.error());
    const auto* state = job->find("state")->as_string();
    const bool settled = model::is_final(*model::job_state_from(*state));
    const bool can_rewrap = *state == "awaiting_rewrap" && !job->find("missing_recipients")->as_array()->empty();
    if (settled || can_rewrap || s->clock.steady() >= deadline.at()) co_return http::json_response(*job);
    auto waited = co_await s->jobs.changed().wait(seen, deadline);
    if (!waited && waited.error().code() == Errc::cancelled) co_return refuse(request, waited.error());
  }
}

Result<Response> add_recipients(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<JobId>(request, "id"));
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "recipients"};
  const auto& list = fields.array("recipients");
  if (list.size() > 64) fields.fail(Errc::limit_exceeded, "recipients", "at most 64");
  CLOISTER_CHECK(fields.finish());
  std::vector<model::Recipient> recipients;
  for (const auto& item : list) {
    CLOISTER_TRY(recipient, model::parse_recipient(item));
    recipients.push_back(std::move(recipient));
  }
  CLOISTER_TRY(job, s.jobs.add_recipients(tenant_of(request), id, recipients));
  return http::json_response(model::to_json(job));
}

/// Ends the job, and tells the instance that executes it.
Task<Response> cancel(const Services* s, Request request) {
  const auto id = id_param<JobId>(request, "id");
  if (!id) co_return refuse(request, id.error());
  const SharedRequest shared = std::make_shared<Request>(std::move(request));
  auto work = [s, id = *id, shared] {
    return s->jobs.cancel(tenant_of(*shared), id, shared->principal->subject, s->clock.now());
  };
  auto cancelled = co_await run_in_time(s->pool, s->patience, std::move(work));
  if (!cancelled) co_return refuse(*shared, cancelled.error());
  s->logger.info("job.cancelled", {{"request_id", shared->request_id}, {"job", id->str()}});
  if (cancelled->attempt) s->dispatcher.cancel(*cancelled->attempt);
  co_return http::json_response(model::to_json(cancelled->job));
}

Result<Response> result(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<JobId>(request, "id"));
  CLOISTER_TRY(stored, s.jobs.result(tenant_of(request), id));
  return http::json_response(model::to_json(stored));
}

Result<receipt::ProvenLeaf> prove(const Services& s, std::string_view kind, std::string_view subject,
                                  std::uint64_t size) {
  CLOISTER_TRY(index, s.log.find(kind, subject));
  receipt::ProvenLeaf out;
  CLOISTER_TRY(leaf, s.log.leaf(index));
  CLOISTER_TRY(proof, s.log.prove_inclusion(index, size));
  out.leaf = std::move(leaf);
  out.proof = std::move(proof);
  return out;
}

Result<Response> get_receipt(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<JobId>(request, "id"));
  const auto tenant = tenant_of(request);
  receipt::Receipt out;
  CLOISTER_TRY(job, s.jobs.get(tenant, id));
  CLOISTER_TRY(stored, s.jobs.result(tenant, id));
  CLOISTER_TRY(version, s.registry.version(job.version));
  CLOISTER_TRY(envelope, protocol::decode_envelope(stored.envelope));
  out.job = std::move(job);
  out.challenge = version.version.spec.challenge;
  out.envelope = std::move(stored.envelope);
  out.signature = stored.signature;
  {
    CLOISTER_TRY(snapshot, s.database.read());
    CLOISTER_TRY(evidence, storage::evidence::get(snapshot, envelope.session));
    out.evidence = std::move(evidence.shown);
  }
  CLOISTER_TRY(head, s.log.advance(s.clock.now()));
  out.head = head;
  CLOISTER_TRY(appraisal, prove(s, session::kAppraisalAccepted, envelope.session.str(), head.head.tree_size));
  CLOISTER_TRY(accepted, prove(s, scheduler::kResultAccepted, id.str(), head.head.tree_size));
  out.appraisal = std::move(appraisal);
  out.result = std::move(accepted);
  return http::json_response(receipt::to_json(out));
}

}  // namespace

void add_job_routes(Routes& routes, const Services& services) {
  const auto client = operators();
  http::RouteOptions large;
  large.max_body = kJobLimits.bytes;
  http::RouteOptions patient;
  patient.handler_timeout = std::chrono::milliseconds{kMaxWait} + std::chrono::seconds{30};
  routes.add(Method::post, "/api/v1/jobs", client,
             Doc{"Submits a job; the same key and request are the same job"}
                 .takes("JobRequest")
                 .answers(201, "Job")
                 .answers(200, "Job"),
             blocking(services, submit), large);
  routes.add(Method::get, "/api/v1/jobs", client,
             Doc{"The tenant's jobs, newest first"}
                 .query("state", "JobState", "Those alone")
                 .query("version", "Id", "Those of this version alone")
                 .paged()
                 .answers(200, "JobList"),
             reading(services, list));
  routes.add(Method::get, "/api/v1/jobs/{id}", client,
             Doc{"A job; with `wait`, once it is final, or there are instances to seal it to, or the time is over"}
                 .query("wait", "Wait", "How long; else not at all")
                 .answers(200, "Job"),
             [&services](Request request) { return get(&services, std::move(request)); }, patient);
  routes.add(Method::put, "/api/v1/jobs/{id}/recipients", client,
             Doc{"Seals a job to further instances"}.takes("Recipients").answers(200, "Job"),
             blocking(services, add_recipients));
  routes.add(Method::post, "/api/v1/jobs/{id}/cancel", client,
             Doc{"Cancels a job that is not final"}.answers(200, "Job"),
             [&services](Request request) { return cancel(&services, std::move(request)); });
  routes.add(Method::get, "/api/v1/jobs/{id}/result", client,
             Doc{"The sealed output and its envelope"}.answers(200, "JobResult"), reading(services, result));
  routes.add(Method::get, "/api/v1/jobs/{id}/receipt", client,
             Doc{"The evidence chain of a result"}.answers(200, "Receipt"), blocking(services, get_receipt));
}

}  // namespace cloister::api
