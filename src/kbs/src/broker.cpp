#include "cloister/kbs/broker.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/storage/access.hpp"

namespace cloister::kbs {
namespace {

/// A name that nobody stores anything under, the same after a restart, so that sessions go on as those of others do.
TenantId nobody_of(const crypto::Secret<32>& key) {
  const auto mac = crypto::hmac_sha256(key.reveal(), {as_bytes("nobody")});
  return TenantId::parse("nobody-" + codec::to_hex(ByteView{mac}.first(16))).value();
}

}  // namespace

Broker::Broker(Services services, Options options)
    : services_{std::move(services)},
      options_{std::move(options)},
      rules_{services_, options_},
      tokens_{services_, options_},
      revocations_{services_, options_},
      handshakes_{services_, options_, rules_, tokens_, revocations_},
      vault_{services_, options_},
      gate_{services_, options_, rules_, handshakes_, tokens_, revocations_, vault_},
      advisor_{services_, rules_, tokens_, vault_} {}

Result<std::unique_ptr<Broker>> Broker::open(Services services, Options options) {
  std::unique_ptr<Broker> out{new Broker{std::move(services), std::move(options)}};
  CLOISTER_CHECK(out->rules_.load());
  CLOISTER_CHECK(out->revocations_.own().load());
  return out;
}

Result<std::unique_ptr<Brokers>> Brokers::open(Services services, Options options) {
  std::unique_ptr<Brokers> out{new Brokers{std::move(services), std::move(options)}};
  CLOISTER_TRY(main, Broker::open(out->services_, out->options_));
  out->main_ = main.get();
  out->brokers_.emplace(out->options_.tenant, std::move(main));
  auto nobodys = out->options_;
  nobodys.tenant = nobody_of(out->services_.session_key);
  CLOISTER_TRY(nobody, Broker::open(out->services_, std::move(nobodys)));
  out->nobody_ = std::move(nobody);
  return out;
}

Broker* Brokers::opened(const TenantId& tenant) {
  const std::scoped_lock lock{mutex_};
  const auto found = brokers_.find(tenant);
  return found == brokers_.end() ? nullptr : found->second.get();
}

Result<Broker*> Brokers::serving(const TenantId& tenant) {
  auto found = find(tenant);
  if (!found && found.error().code() == Errc::not_found) return nobody_.get();
  return found;
}

Result<Broker*> Brokers::find(const TenantId& tenant) {
  if (auto* known = opened(tenant)) return known;
  const std::scoped_lock opening{opening_};
  if (auto* known = opened(tenant)) return known;
  {
    CLOISTER_TRY(snapshot, services_.database.read());
    CLOISTER_TRY(known, storage::tokens::administered(snapshot, tenant));
    if (!known) return Error{Errc::not_found, "no such tenant"};
  }
  auto options = options_;
  options.tenant = tenant;
  CLOISTER_TRY(broker, Broker::open(services_, std::move(options)));
  const std::scoped_lock lock{mutex_};
  return brokers_.emplace(tenant, std::move(broker)).first->second.get();
}

}  // namespace cloister::kbs
