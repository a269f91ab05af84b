#include "cloister/keyring/keyring.hpp"

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/keyring/data_keys.hpp"
#include "cloister/storage/access.hpp"

namespace cloister::keyring {
namespace {

namespace json = codec::json;
namespace jose = crypto::jose;

constexpr std::string_view kSetting = "attestation-token-keys";
constexpr std::string_view kKeyInfo = "cloister/attestation-token-key/1";
constexpr std::string_view kMade = "token_key.made";
constexpr std::string_view kRotated = "token_key.rotated";

storage::Cell cell_of(std::uint64_t generation) {
  return {.table = "setting", .key = kSetting, .column = "seed", .row_version = generation};
}

jose::Jwk public_jwk(const SigningKey& key) { return {key.key.public_key(), jose::Algorithm::es256, key.key_id}; }

template <class State>
std::string write(const State& state) {
  json::Array previous;
  for (const auto& one : state.previous) {
    previous.emplace_back(json::Object{{"key", to_json(one.key)}, {"until_us", to_micros(one.until)}});
  }
  return json::write(json::Object{{"version", 1},
                                  {"generation", state.generation},
                                  {"current", codec::to_base64(state.current_sealed)},
                                  {"next", codec::to_base64(state.next_sealed)},
                                  {"previous", std::move(previous)}});
}

}  // namespace

Result<Bytes> Keyring::make_key(storage::Transaction& transaction, std::uint64_t generation) {
  const auto seed = crypto::Secret<32>::random(services_.random);
  return services_.sealer.seal(transaction, server_tenant(), cell_of(generation), seed.reveal());
}

Result<Keyring::Key> Keyring::open_key(const storage::Reading& reading, std::uint64_t generation, ByteView sealed) {
  CLOISTER_TRY(seed, services_.sealer.open(reading, server_tenant(), cell_of(generation), sealed));
  auto key = crypto::EcPrivateKey::derive(crypto::Curve::p256, seed.reveal(), as_bytes(kKeyInfo));
  auto id = jose::thumbprint(key.public_key());
  return std::make_shared<const SigningKey>(SigningKey{std::move(id), std::move(key)});
}

Result<Keyring::State> Keyring::read(const storage::Reading& reading, std::string_view text) {
  const auto corrupt = [](const Error& error) { return Error{Errc::storage_corrupt, "token keys: " + error.text()}; };
  const auto value = json::parse(text);
  if (!value) return corrupt(value.error());
  json::Fields fields{*value, "token keys"};
  State out;
  static_cast<void>(fields.integer("version", 1, 1));
  out.generation = static_cast<std::uint64_t>(fields.integer("generation", 1));
  out.current_sealed = fields.base64("current");
  out.next_sealed = fields.base64("next");
  const auto& previous = fields.array("previous");
  if (auto done = fields.finish(); !done) return corrupt(done.error());
  for (const auto& item : previous) {
    json::Fields one{item, "previous key"};
    const auto until = one.integer("until_us", 0);
    const auto& member = one.object("key");
    if (auto done = one.finish(); !done) return corrupt(done.error());
    auto key = jose::parse_jwk(json::write(member));
    if (!key) return corrupt(key.error());
    out.previous.push_back({*std::move(key), from_micros(until)});
  }
  CLOISTER_TRY(current, open_key(reading, out.generation, out.current_sealed));
  CLOISTER_TRY(next, open_key(reading, out.generation + 1, out.next_sealed));
  out.current = std::move(current);
  out.next = std::move(next);
  return out;
}

Result<std::unique_ptr<Keyring>> Keyring::open(const Services& services, std::chrono::seconds lifetime, UnixTime now) {
  std::unique_ptr<Keyring> out{new Keyring{services, lifetime}};
  CLOISTER_CHECK(out->begin(now));
  return out;
}

Result<void> Keyring::begin(UnixTime now) {
  CLOISTER_TRY(transaction, services_.database.write());
  const auto stored = storage::settings::get(transaction, kSetting);
  if (!stored && stored.error().code() != Errc::not_found) return stored.error();
  if (stored) {
    CLOISTER_TRY(state, read(transaction, as_text(*stored)));
    state_ = std::move(state);
    return {};
  }
  State state;
  CLOISTER_TRY(current, make_key(transaction, 1));
  CLOISTER_TRY(next, make_key(transaction, 2));
  state.current_sealed = std::move(current);
  state.next_sealed = std::move(next);
  CLOISTER_TRY(first, open_key(transaction, 1, state.current_sealed));
  CLOISTER_TRY(second, open_key(transaction, 2, state.next_sealed));
  state.current = std::move(first);
  state.next = std::move(second);
  CLOISTER_CHECK(storage::settings::set(transaction, kSetting, as_bytes(write(state))));
  merkle::AuditLeaf leaf{now, std::string{kMade}, state.current->key_id, {{"next", state.next->key_id}}};
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  state_ = std::move(state);
  return {};
}

std::shared_ptr<const SigningKey> Keyring::current() const {
  const std::scoped_lock lock{mutex_};
  return state_.current;
}

std::vector<jose::Jwk> Keyring::published(UnixTime now) const {
  const std::scoped_lock lock{mutex_};
  std::vector<jose::Jwk> out{public_jwk(*state_.current), public_jwk(*state_.next)};
  for (const auto& one : state_.previous) {
    if (now < one.until) out.push_back(one.key);
  }
  return out;
}

Result<std::string> Keyring::rotate(UnixTime now, std::string_view by) {
  const std::scoped_lock lock{mutex_};
  State state = state_;
  std::erase_if(state.previous, [now](const Previous& one) { return one.until <= now; });
  if (state.previous.size() >= kMaxPrevious) {
    return Error{Errc::rate_limited, "token keys: tokens of " + std::to_string(kMaxPrevious) +
                                         " previous keys may still be valid; wait until they have expired"};
  }
  state.previous.push_back({public_jwk(*state.current), now + lifetime_});
  state.generation += 1;
  state.current = state.next;
  state.current_sealed = std::move(state.next_sealed);
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(sealed, make_key(transaction, state.generation + 1));
  state.next_sealed = std::move(sealed);
  CLOISTER_TRY(next, open_key(transaction, state.generation + 1, state.next_sealed));
  state.next = std::move(next);
  CLOISTER_CHECK(storage::settings::set(transaction, kSetting, as_bytes(write(state))));
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kRotated;
  leaf.subject = state.current->key_id;
  leaf.details = {{"by", std::string{by}}, {"previous", state.previous.back().key.key_id}};
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  state_ = std::move(state);
  return state_.current->key_id;
}

Result<void> Keyring::reseal(const std::function<Result<void>(storage::Transaction&)>& more) {
  const std::scoped_lock lock{mutex_};
  State state = state_;
  CLOISTER_TRY(transaction, services_.database.write());
  for (auto [sealed, generation] : {std::pair{&state.current_sealed, state.generation}, std::pair{&state.next_sealed, state.generation + 1}}) {
    CLOISTER_TRY(seed, services_.sealer.open(transaction, server_tenant(), cell_of(generation), *sealed));
    CLOISTER_TRY(again, services_.sealer.seal(transaction, server_tenant(), cell_of(generation), seed.reveal()));
    *sealed = std::move(again);
  }
  CLOISTER_CHECK(storage::settings::set(transaction, kSetting, as_bytes(write(state))));
  CLOISTER_CHECK(more(transaction));
  CLOISTER_CHECK(transaction.commit());
  state_ = std::move(state);
  return {};
}

}  // namespace cloister::keyring
