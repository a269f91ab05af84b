#include "cloister/collateral_cache/cache.hpp"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

namespace cloister::collateral_cache {
namespace {

using collateral::Age;
using collateral::Document;
using collateral::Endpoint;
using collateral::Entry;
using collateral::Key;
using EntryPtr = std::shared_ptr<const Entry>;

/// A fetch that somebody does, and others wait for.
struct Flight {
  bool done = false;
  std::optional<Result<Held>> outcome;
};

/// How a service has behaved.
struct Health {
  unsigned failures = 0;    // in a row
  SteadyTime not_before{};  // it is asked nothing earlier
};

/// The errors of several endpoints as one: the code is the most telling one, the text has them all.
class Reasons {
 public:
  void add(const Endpoint& endpoint, const Error& error) {
    if (!text_.empty()) text_ += "; ";
    text_ += endpoint.text() + ": " + error.detail();
    // An endpoint that does not have it says less than one that might.
    if (!code_ || *code_ == Errc::collateral_missing || *code_ == Errc::unsupported) code_ = error.code();
  }
  [[nodiscard]] Error error(const Key& key) const {
    if (!code_) return Error{Errc::collateral_missing, to_string(key) + " is not in the cache, and no service is configured that has it"};
    return Error{*code_, text_};
  }

 private:
  std::optional<Errc> code_;
  std::string text_;
};

/// Whether a refusal is the service's misbehaviour, so that it is left alone for a while; that it has no such document
/// is an answer like any other.
bool is_failure(Errc code) noexcept {
  return code != Errc::collateral_missing && code != Errc::unsupported && code != Errc::invalid_argument;
}

}  // namespace

struct Cache::Impl {
  Impl(collateral::Store& s, Transport* t, const Clock& c, log::Logger& l, CacheOptions o)
      : store{s}, transport{t}, clock{c}, logger{l}, options{std::move(o)} {}

  collateral::Store& store;
  Transport* transport;
  const Clock& clock;
  log::Logger& logger;
  CacheOptions options;

  mutable std::mutex mutex;  // of what follows; never held during input and output
  std::condition_variable landed;
  std::map<std::string, EntryPtr> memory;
  std::map<std::string, std::shared_ptr<Flight>> flights;
  std::map<std::string, Health> health;  // by origin: a limit is a service's, whatever is asked

  [[nodiscard]] Age age(const Entry& entry) const { return age_of(entry, options.freshness, clock.now()); }
  [[nodiscard]] bool enough(const EntryPtr& entry, Need need) const {
    if (!entry) return false;
    const auto how = age(*entry);
    return how == Age::current || (how == Age::due && need == Need::valid);
  }

  void remember(const std::string& name, EntryPtr entry) {
    const std::lock_guard lock{mutex};
    memory[name] = std::move(entry);
    if (memory.size() <= options.memory_entries) return;
    const auto oldest = std::ranges::min_element(memory, {}, [](const auto& one) { return one.second->fetched; });
    memory.erase(oldest);
  }

  /// What the folder has; a damaged file counts as none.
  EntryPtr stored(const Key& key) {
    auto found = store.find(key);
    if (!found) logger.warn("collateral_entry_damaged", {{"key", to_string(key)}, {"reason", found.error().text()}});
    return found && *found ? std::make_shared<const Entry>(**std::move(found)) : nullptr;
  }

  [[nodiscard]] SteadyTime not_before(const Endpoint& endpoint) const {
    const std::lock_guard lock{mutex};
    const auto found = health.find(endpoint.origin);
    return found == health.end() ? SteadyTime{} : found->second.not_before;
  }

  void succeeded(const Endpoint& endpoint) {
    const std::lock_guard lock{mutex};
    health.erase(endpoint.origin);
  }
  void failed(const Endpoint& endpoint, std::optional<std::chrono::seconds> asked) {
    const std::lock_guard lock{mutex};
    auto& one = health[endpoint.origin];
    const auto wait = std::max(asked.value_or(std::chrono::seconds{0}), collateral::back_off(++one.failures));
    one.not_before = clock.steady() + wait;
  }

  /// When an endpoint may be asked, on the wall clock.
  [[nodiscard]] UnixTime wall_time(SteadyTime at) const {
    return clock.now() + std::chrono::ceil<std::chrono::seconds>(at - clock.steady());
  }

  Result<EntryPtr> ask(const Endpoint& endpoint, const Key& key, const EntryPtr& old);
  Result<Held> fetch(const Key& key, const EntryPtr& old);
  Result<Held> look_and_fetch(const Key& key, const std::string& name, Need need, EntryPtr known);
};

/// One endpoint's document, kept.
Result<EntryPtr> Cache::Impl::ask(const Endpoint& endpoint, const Key& key, const EntryPtr& old) {
  if (const auto at = not_before(endpoint); at > clock.steady()) {
    return Error{Errc::rate_limited, "is asked again at " + to_rfc3339(wall_time(at))};
  }
  CLOISTER_TRY(where, request_for(endpoint, key));
  Request request{where.origin, where.target, {{"Accept", "*/*"}}, max_body(key)};
  // Only a document that is good may stay, so only for such a one is "not modified" an answer.
  const bool conditional = old && old->source == endpoint.text() && !old->validators.empty() && clock.now() < old->document.expires;
  if (conditional && !old->validators.etag.empty()) request.headers.emplace_back("If-None-Match", old->validators.etag);
  if (conditional && !old->validators.last_modified.empty()) {
    request.headers.emplace_back("If-Modified-Since", old->validators.last_modified);
  }
  const auto answer = transport->get(request);
  if (!answer) {
    failed(endpoint, {});
    return answer.error();
  }
  const auto now = clock.now();
  auto outcome = interpret(key, endpoint.version, *answer, conditional, now);
  if (!outcome) {
    if (is_failure(outcome.error().code())) failed(endpoint, retry_after(*answer, now));
    return std::move(outcome).error();
  }
  Entry entry;
  if (auto* given = std::get_if<collateral::Given>(&*outcome)) {
    if (old) {
      if (auto newer = may_replace(old->document, given->document); !newer) {
        failed(endpoint, {});
        return std::move(newer).error();
      }
    }
    entry = {std::move(given->document), std::move(given->validators), endpoint.text(), now, now};
  } else {
    entry = *old;
    entry.checked = std::max(now, entry.fetched);
  }
  succeeded(endpoint);
  CLOISTER_CHECK(store.put(entry, now));
  return std::make_shared<const Entry>(std::move(entry));
}

Result<Held> Cache::Impl::fetch(const Key& key, const EntryPtr& old) {
  Reasons reasons;
  for (const auto& endpoint : options.endpoints) {
    if (transport == nullptr || !endpoint.serves(key)) continue;
    auto got = ask(endpoint, key, old);
    if (got) {
      logger.info("collateral_fetched", {{"key", to_string(key)}, {"service", endpoint.text()}});
      return Held{.entry = std::move(got).value(), .fetched = true, .stale = false, .error = {}};
    }
    if (got.error().code() == Errc::io_error) return std::move(got).error();  // the folder's: another service is no help
    logger.warn("collateral_fetch_failed",
                {{"key", to_string(key)}, {"service", endpoint.text()}, {"reason", got.error().text()}});
    reasons.add(endpoint, got.error());
  }
  auto error = reasons.error(key);
  const auto how = old ? age(*old) : Age::gone;
  if (how == Age::gone) return error;
  return Held{.entry = old, .fetched = false, .stale = how == Age::expired, .error = std::move(error)};
}

/// What another process may have put into the folder meanwhile counts before any fetch.
Result<Held> Cache::Impl::look_and_fetch(const Key& key, const std::string& name, Need need, EntryPtr known) {
  if (auto disk = stored(key); disk && (!known || disk->checked > known->checked)) known = std::move(disk);
  if (enough(known, need)) {
    remember(name, known);
    return Held{.entry = std::move(known), .fetched = false, .stale = false, .error = {}};
  }
  auto held = fetch(key, known);
  if (held) remember(name, held->entry);
  return held;
}

Cache::Cache(collateral::Store& store, Transport* transport, const Clock& clock, log::Logger& logger, CacheOptions options)
    : impl_{std::make_unique<Impl>(store, transport, clock, logger, std::move(options))} {}
Cache::~Cache() = default;

Result<Held> Cache::get(const Key& key, Need need) {
  const auto name = to_string(key);
  EntryPtr known;
  std::shared_ptr<Flight> flight;
  {
    std::unique_lock lock{impl_->mutex};
    if (const auto found = impl_->memory.find(name); found != impl_->memory.end()) known = found->second;
    if (impl_->enough(known, need)) return Held{.entry = known, .fetched = false, .stale = false, .error = {}};
    if (const auto found = impl_->flights.find(name); found != impl_->flights.end()) {
      flight = found->second;
      impl_->landed.wait(lock, [&flight] { return flight->done; });
      return *flight->outcome;
    }
    flight = std::make_shared<Flight>();
    impl_->flights.emplace(name, flight);
  }
  const auto land = [&](Result<Held> outcome) {
    const std::lock_guard lock{impl_->mutex};
    flight->outcome = std::move(outcome);
    flight->done = true;
    impl_->flights.erase(name);
    impl_->landed.notify_all();
  };
  try {
    auto outcome = impl_->look_and_fetch(key, name, need, std::move(known));
    land(outcome);
    return outcome;
  } catch (...) {
    land(Error{Errc::internal, to_string(key) + ": the call that fetched it was broken off"});  // whoever waits must not wait for ever
    throw;
  }
}

std::optional<UnixTime> Cache::asks_again_at(const Key& key) const {
  std::optional<SteadyTime> first;
  for (const auto& endpoint : impl_->options.endpoints) {
    if (!endpoint.serves(key)) continue;
    const auto at = impl_->not_before(endpoint);
    if (!first || at < *first) first = at;
  }
  if (!first || *first <= impl_->clock.steady()) return std::nullopt;
  return impl_->wall_time(*first);
}

Result<std::size_t> Cache::refresh() {
  CLOISTER_TRY(listed, impl_->store.list());
  std::size_t failures = 0;
  for (const auto& one : listed) {
    if (!one.entry || impl_->age(*one.entry) == Age::current) continue;
    const auto held = get(one.entry->document.key, Need::current);
    if (!held || held->error) ++failures;
  }
  return failures;
}

Result<void> Cache::put(Document document, std::string source) {
  const auto key = document.key;
  if (const auto old = impl_->stored(key)) CLOISTER_CHECK(may_replace(old->document, document));
  const auto now = impl_->clock.now();
  const auto entry = std::make_shared<const Entry>(Entry{std::move(document), {}, std::move(source), now, now});
  CLOISTER_CHECK(impl_->store.put(*entry, now));
  impl_->remember(to_string(key), entry);
  return {};
}

}  // namespace cloister::collateral_cache
