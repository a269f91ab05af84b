#include <array>

#include "cloister/metrics/process.hpp"
#include "cloister/storage/broker_sessions.hpp"
#include "cloister/storage/fleet.hpp"
#include "cloister/storage/revocations.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Request;
using http::Response;
using metrics::TextWriter;
using metrics::Type;

/// Metrics are told without what comes from the database rather than late.
constexpr std::chrono::milliseconds kCensusPatience{2'000};

constexpr std::array kInstanceStates{model::InstanceState::starting, model::InstanceState::attesting,
                                     model::InstanceState::ready,    model::InstanceState::lost,
                                     model::InstanceState::refused,  model::InstanceState::stopped};
constexpr std::array kValidatorStates{model::ValidatorState::enrolled, model::ValidatorState::connected,
                                      model::ValidatorState::verified, model::ValidatorState::draining,
                                      model::ValidatorState::lost};

/// What there is of something in one state; the name is a literal.
struct Amount {
  std::string_view state;
  std::uint64_t count = 0;
};

/// What the database holds, in one view of it.
struct Census {
  std::vector<Amount> validators;
  std::vector<Amount> instances;
  std::vector<Amount> jobs;
  std::vector<storage::revocations::Count> revocations;
  std::uint64_t guest_sessions = 0;
  storage::Database::Sizes sizes;
  [[nodiscard]] std::uint64_t count(const std::vector<Amount>& amounts, std::string_view state) const {
    for (const auto& amount : amounts) {
      if (amount.state == state) return amount.count;
    }
    return 0;
  }
};

Result<Census> take_census(const Services& s) {
  Census out;
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(validators, storage::validators::list(snapshot));
  for (const auto state : kValidatorStates) {
    const auto count = std::ranges::count(validators, state, &model::Validator::state);
    out.validators.push_back({model::to_string(state), static_cast<std::uint64_t>(count)});
  }
  CLOISTER_TRY(instances, storage::instances::count(snapshot));
  for (const auto state : kInstanceStates) {
    const auto found = std::ranges::find(instances, state, &storage::instances::Count::state);
    out.instances.push_back({model::to_string(state), found == instances.end() ? 0 : found->instances});
  }
  CLOISTER_TRY(load, storage::jobs::load(snapshot));
  out.jobs = {{"queued", load.queued}, {"awaiting_rewrap", load.awaiting_rewrap}, {"leased", load.leased}};
  CLOISTER_TRY(revocations, storage::revocations::count(snapshot, s.clock.now()));
  out.revocations = std::move(revocations);
  CLOISTER_TRY(sessions, storage::broker_sessions::count(snapshot, s.clock.now()));
  out.guest_sessions = sessions;
  CLOISTER_TRY(sizes, s.database.sizes());
  out.sizes = sizes;
  return out;
}

void write_amounts(TextWriter& out, std::string_view name, std::string_view help, const std::vector<Amount>& amounts) {
  out.family(name, Type::gauge, help);
  for (const auto& [state, count] : amounts) out.sample(name, {{"state", state}}, static_cast<double>(count));
}

void write_revocations(TextWriter& out, const std::vector<storage::revocations::Count>& counts) {
  constexpr std::string_view kName = "cloister_revocations";
  out.family(kName, Type::gauge, "What is revoked of guests, of one tenant's or of all.");
  for (const auto kind : revocation::kKinds) {
    for (const bool everywhere : {false, true}) {
      const auto is_it = [&](const auto& count) { return count.kind == to_string(kind) && count.everywhere == everywhere; };
      const auto found = std::ranges::find_if(counts, is_it);
      const auto entries = found == counts.end() ? 0 : found->entries;
      out.sample(kName, {{"kind", to_string(kind)}, {"scope", everywhere ? "all" : "tenant"}}, static_cast<double>(entries));
    }
  }
}

void write_census(TextWriter& out, const Census& census) {
  write_amounts(out, "cloister_validators", "Enrolled validators.", census.validators);
  write_amounts(out, "cloister_instances", "Instances, those that ended included.", census.instances);
  write_amounts(out, "cloister_jobs", "Unfinished jobs.", census.jobs);
  write_revocations(out, census.revocations);
  out.single("cloister_guest_sessions", Type::gauge, "Sessions of guests with the key broker that had their attempt and have not expired.",
             static_cast<double>(census.guest_sessions));
  out.family("cloister_database_size_bytes", Type::gauge, "Files of the database.");
  out.sample("cloister_database_size_bytes", {{"file", "database"}}, static_cast<double>(census.sizes.database));
  out.sample("cloister_database_size_bytes", {{"file", "log"}}, static_cast<double>(census.sizes.log));
  out.single("cloister_storage_free_bytes", Type::gauge, "Room on the disk of the database.",
             static_cast<double>(census.sizes.free));
}

Task<Result<Census>> census_of(const Services* s, std::chrono::milliseconds patience) {
  auto work = [s] { return take_census(*s); };
  co_return co_await run_in_time(s->readers, patience, std::move(work));
}

/// What can be told is told also while the database cannot be read.
Task<Response> metrics_of(const Services* services, Request request) {
  const auto& s = *services;
  TextWriter out;
  const auto unready = co_await s.monitor.unready();
  auto census = co_await census_of(services, std::min(s.patience, kCensusPatience));
  out.family("cloister_build_info", Type::gauge, "1; the label says which build.");
  out.sample("cloister_build_info", {{"version", s.version}}, 1);
  out.single("cloister_ready", Type::gauge, "1 while /ready says so.", unready ? 0 : 1);
  s.monitor.write_metrics(out);
  if (census) write_census(out, *census);
  s.fleet.write_metrics(out);
  if (s.guests != nullptr) s.guests->meters().write(out);
  s.jobs.write_metrics(out);
  out.single("cloister_audit_log_size", Type::gauge, "Leaves under the newest head of the audit log.",
             static_cast<double>(s.log.head().head.tree_size));
  out.single("cloister_work_queue_length", Type::gauge, "Work that waits for a thread.",
             static_cast<double>(s.pool.queued() + s.readers.queued()));
  if (auto written = metrics::write_process(out); !written) co_return refuse(request, written.error());
  co_return http::bytes_response(std::string{TextWriter::kContentType}, to_bytes(out.text()));
}

json::Value amounts_json(const std::vector<Amount>& amounts) {
  json::Object out;
  for (const auto& [state, count] : amounts) out.emplace_back(std::string{state}, count);
  return out;
}

json::Value warning(std::string_view code, std::string detail) {
  return json::Object{{"code", code}, {"detail", std::move(detail)}};
}

/// Why, as anybody may know it.
std::string reason_of(const Services& s, Unready unready) {
  std::string out{to_string(unready)};
  const auto failure = s.monitor.key_failure();
  if (unready == Unready::keys_unavailable && failure) {
    out += ": the HSM with the server's keys does not serve (" + std::string{to_string(failure->code())} +
           "); see that it is connected. GET /status says more";
  }
  return out;
}

/// The same for who may know of what there is.
std::string detail_of(const Services& s, Unready unready) {
  const auto failure = s.monitor.key_failure();
  if (unready != Unready::keys_unavailable || !failure) return std::string{to_string(unready)};
  return std::string{to_string(unready)} + ": " + failure->text() + ". Is it connected, and does its module know it (docs/kms.md)?";
}

/// What an operator should look at, worst first.
json::Array warnings_of(const Services& s, const Census& census, const std::optional<Unready>& unready) {
  json::Array out;
  if (unready) out.push_back(warning("not_ready", detail_of(s, *unready)));
  if (!s.monitor.alive()) out.push_back(warning("stalled", "the server's own loop does not go round"));
  if (census.count(census.validators, "verified") == 0) {
    out.push_back(warning("no_verified_validator", "no instance can start: no validator's TD is attested"));
  }
  if (const auto waiting = census.count(census.jobs, "awaiting_rewrap"); waiting > 0) {
    out.push_back(warning("jobs_await_recipients", std::to_string(waiting) + " jobs wait for their clients to seal them to an instance"));
  }
  for (const auto& taint : s.monitor.taints()) out.push_back(warning("tainted", taint));
  return out;
}

Task<Response> status(const Services* services, Request request) {
  const auto& s = *services;
  const auto unready = co_await s.monitor.unready();
  auto taken = co_await census_of(services, s.patience);
  if (!taken) co_return refuse(request, taken.error());
  const auto& census = *taken;
  const auto head = s.log.head().head;
  const auto uptime = std::chrono::floor<std::chrono::seconds>(s.clock.now() - s.monitor.started());
  const json::Value body = json::Object{
      {"program", "cloisterd"},
      {"version", s.version},
      {"server_id", s.server_id},
      {"started", to_rfc3339(s.monitor.started())},
      {"uptime_s", uptime.count()},
      {"ready", !unready.has_value()},
      {"warnings", warnings_of(s, census, unready)},
      {"validators", amounts_json(census.validators)},
      {"instances", amounts_json(census.instances)},
      {"jobs", amounts_json(census.jobs)},
      {"audit", json::Object{{"log", s.log.id()}, {"size", head.tree_size}, {"time", to_rfc3339(head.time)}}},
      {"storage", json::Object{{"database_bytes", census.sizes.database},
                               {"log_bytes", census.sizes.log},
                               {"free_bytes", census.sizes.free}}}};
  co_return http::json_response(body);
}

Task<Response> ready(const Services* s, Request request) {
  const auto unready = co_await s->monitor.unready();
  if (unready) co_return refuse(request, Error{Errc::unavailable, reason_of(*s, *unready)});
  const json::Value body = json::Object{{"status", "ready"}};
  co_return http::json_response(body);
}

}  // namespace

void add_system_routes(Routes& routes, const Services& services) {
  const auto get = http::Method::get;
  const auto with = [&services](Task<Response> (*handle)(const Services*, Request)) -> http::Handler {
    return [&services, handle](Request request) { return handle(&services, std::move(request)); };
  };
  // None of these waits for a thread that the storage may hold: whether this process lives is not its question.
  const auto health = [&services](Request request) -> Task<Response> {
    if (!services.monitor.alive()) co_return refuse(request, Error{Errc::unavailable, "stalled"});
    const json::Value body = json::Object{{"status", "ok"}};
    co_return http::json_response(body);
  };
  routes.add(get, "/health", http::kPublic, Doc{"Whether the process lives"}.answers(200, "Health"), health);
  routes.add(get, "/ready", http::kPublic, Doc{"Whether it serves"}.answers(200, "Health"), with(ready));
  const auto version = [&services](Request) -> Task<Response> {
    const json::Value body =
        json::Object{{"program", "cloisterd"}, {"version", services.version}, {"server_id", services.server_id}};
    co_return http::json_response(body);
  };
  routes.add(get, "/version", http::kPublic, Doc{"Which program this is"}.answers(200, "Program"), version);
  routes.add(get, "/status", monitors(),
             Doc{"The state of the server, and what an operator should look at"}.of_the_server().answers(200, "Status"),
             with(status));
  routes.add(get, "/metrics", monitors(),
             Doc{"Metrics, in Prometheus's text format"}.of_the_server().answers_as(200, "text/plain"),
             with(metrics_of));
}

}  // namespace cloister::api
