#include "pkcs11_token.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace cloister::kms {
namespace {

using std::chrono::steady_clock;

/// What a Kms calls, and as what (PKCS#11 2.40, table of mechanism flags).
struct Needed {
  CK_MECHANISM_TYPE type;
  CK_FLAGS flags;
  std::string_view name;
};
constexpr std::array kNeeded{
    Needed{CKM_GENERIC_SECRET_KEY_GEN, CKF_GENERATE, "CKM_GENERIC_SECRET_KEY_GEN"},
    Needed{CKM_SHA256_HMAC, CKF_SIGN, "CKM_SHA256_HMAC"},
    Needed{CKM_AES_KEY_GEN, CKF_GENERATE, "CKM_AES_KEY_GEN"},
    Needed{CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT, "CKM_AES_GCM"},
    Needed{CKM_EC_EDWARDS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, "CKM_EC_EDWARDS_KEY_PAIR_GEN"},
    Needed{CKM_EDDSA, CKF_SIGN, "CKM_EDDSA"},
};

// A call whose handles were lost with the login finds that out by the second, and works at the third.
constexpr int kAttempts = 3;

// A restart ends every session of the process: for a key that is gone for good, seldom.
constexpr int kDoubtPauses = 60;

enum class Loss { none, handles, session, connection };

/// What a result code says is gone.
Loss loss_of(CK_RV code) {
  switch (code) {
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID:
      return Loss::handles;
    case CKR_OPERATION_ACTIVE:  // something that failed did not end
    case CKR_OPERATION_NOT_INITIALIZED:
      return Loss::session;
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_SLOT_ID_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_REMOVED:
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
    case CKR_HOST_MEMORY:
      return Loss::connection;
    default:  // of an open set
      return Loss::none;
  }
}

/// A field of CK_TOKEN_INFO: padded with spaces, without a terminator.
template <std::size_t N>
bool is(const CK_UTF8CHAR (&field)[N], const std::optional<std::string>& wanted) {
  if (!wanted) return true;
  std::string_view text{reinterpret_cast<const char*>(field), N};
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text == *wanted;
}

}  // namespace

/// One login. Replaced whole when anything of it was lost.
struct Token::Connection {
  CK_SLOT_ID slot = 0;
  std::uint64_t epoch = 0;     // of the module
  CK_SESSION_HANDLE anchor = CK_INVALID_HANDLE;  // never used: with its last session a login ends
  std::size_t most = 1;        // sessions besides
  std::size_t open = 0;        // guarded by the token's mutex, as is `idle`
  std::vector<CK_SESSION_HANDLE> idle;
  std::mutex handles_mutex;
  Session::Handles handles;
};

struct Token::Lease {
  std::shared_ptr<Connection> connection;
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
};

Token::Token(Pkcs11Uri uri, crypto::SecretBytes pin, Options options, std::shared_ptr<Module> module)
    : uri_{std::move(uri)}, pin_{std::move(pin)}, options_{options}, module_{std::move(module)} {}

Result<std::unique_ptr<Token>> Token::open(Pkcs11Uri uri, crypto::SecretBytes pin, Options options) {
  CLOISTER_TRY(module, Module::load(uri.module));
  std::unique_ptr<Token> token{new Token{std::move(uri), std::move(pin), options, std::move(module)}};
  CLOISTER_CHECK(token->run([](Session&) -> Result<void> { return {}; }));
  return token;
}

Token::~Token() {
  if (connection_) lost(connection_);
}

void Token::close(CK_SESSION_HANDLE session, std::uint64_t epoch) {
  const auto held = module_->hold();
  if (module_->epoch() == epoch) module_->calls().C_CloseSession(session);
}

Result<void> Token::run(const Call& call) {
  bool doubted = false;
  for (int attempt = 1;; ++attempt) {
    CLOISTER_TRY(lease, acquire());
    Session::Handles before;
    {
      const std::lock_guard held{lease.connection->handles_mutex};
      before = lease.connection->handles;
    }
    auto handles = before;
    Result<void> done;
    CK_RV code = CKR_OK;
    {
      const auto held = module_->hold();
      if (module_->epoch() == lease.connection->epoch) {
        Session session{module_->calls(), lease.session, handles};
        done = call(session);
        code = session.code();
      } else {  // restarted by another user of the library: its handles say nothing any more
        code = CKR_SESSION_HANDLE_INVALID;
        done = failure("session", code);
      }
    }
    const auto loss = loss_of(code);
    {
      const std::lock_guard held{lease.connection->handles_mutex};
      if (loss == Loss::handles) {
        lease.connection->handles.clear();
      } else if (done) {
        for (const auto& [label, handle] : handles) {  // what was known before may have been forgotten meanwhile
          if (!before.contains(label)) lease.connection->handles.insert_or_assign(label, handle);
        }
      }
    }
    // A library may take an HSM that was pulled out for an empty one (SoftHSM 2.6), and never come back from that.
    const bool empty = !done && done.error().code() == Errc::hsm_key_missing && !std::exchange(doubted, true) && may_doubt();
    const auto epoch = lease.connection->epoch;
    if (loss == Loss::connection || empty) lost(lease.connection);
    give_back(std::move(lease), code == CKR_OK);
    if (empty) {
      CLOISTER_CHECK(module_->restart(epoch, options_.wait));
      continue;
    }
    if (loss == Loss::none || attempt == kAttempts) return done;
  }
}

/// Whether it is time to look at the HSM from the beginning.
bool Token::may_doubt() {
  const std::lock_guard held{mutex_};
  const auto now = steady_clock::now();
  if (doubted_at_ && now - *doubted_at_ < kDoubtPauses * options_.pause) return false;
  doubted_at_ = now;
  return true;
}

/// A session of the pool, a new one, or the next that somebody gives back.
Result<Token::Lease> Token::acquire() {
  const auto until = steady_clock::now() + options_.wait;
  int failures = 0;
  std::unique_lock held{mutex_};
  while (true) {
    if (pin_refused_) return *pin_refused_;
    if (!connection_ && !connecting_) {
      if (last_failure_ && steady_clock::now() - failed_at_ < options_.pause) return *last_failure_;
      connecting_ = true;
      held.unlock();
      auto made = connect();
      held.lock();
      connecting_ = false;
      changed_.notify_all();
      if (!made) {
        if (made.error().code() == Errc::hsm_pin_refused) pin_refused_ = made.error();
        last_failure_ = made.error();
        failed_at_ = steady_clock::now();
        return std::move(made).error();
      }
      last_failure_.reset();
      connection_ = *std::move(made);
    }
    if (connection_ && !connection_->idle.empty()) {
      Lease lease{connection_, connection_->idle.back()};
      connection_->idle.pop_back();
      return lease;
    }
    if (connection_ && connection_->open < connection_->most) {
      const auto connection = connection_;
      ++connection->open;
      held.unlock();
      CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
      CK_RV code = CKR_SESSION_HANDLE_INVALID;
      {
        const auto use = module_->hold();
        if (module_->epoch() == connection->epoch) {
          code = module_->calls().C_OpenSession(connection->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
        }
      }
      held.lock();
      if (code == CKR_OK) return Lease{connection, session};
      --connection->open;
      if (code == CKR_SESSION_COUNT && connection->open == 0) return failure("C_OpenSession", code);
      if (code == CKR_SESSION_COUNT) {
        connection->most = connection->open;  // the token has no more for us
        continue;
      }
      if (loss_of(code) == Loss::none) return failure("C_OpenSession", code);
      held.unlock();
      lost(connection);
      held.lock();
      if (++failures == kAttempts) return failure("C_OpenSession", code);
      continue;
    }
    if (changed_.wait_until(held, until) == std::cv_status::timeout && steady_clock::now() >= until) {
      return Error{Errc::unavailable, "HSM: every session is in use"};
    }
  }
}

void Token::give_back(Lease lease, bool healthy) {
  bool kept = false;
  {
    const std::lock_guard held{mutex_};
    kept = healthy && lease.connection == connection_;
    if (kept) {
      lease.connection->idle.push_back(lease.session);
    } else {
      --lease.connection->open;
    }
    changed_.notify_one();
  }
  if (!kept) close(lease.session, lease.connection->epoch);
}

/// From now on others connect anew; sessions still in use end when they are given back.
void Token::lost(std::shared_ptr<Connection> connection) {
  std::vector<CK_SESSION_HANDLE> ended;
  {
    const std::lock_guard held{mutex_};
    ended.swap(connection->idle);
    connection->open -= ended.size();
    if (connection->anchor != CK_INVALID_HANDLE) ended.push_back(std::exchange(connection->anchor, CK_INVALID_HANDLE));
    if (connection_ == connection) connection_.reset();
  }
  for (const auto session : ended) close(session, connection->epoch);
}

/// A library keeps its idea of slots and tokens until it is restarted, so that is tried once.
Result<std::shared_ptr<Token::Connection>> Token::connect() {
  std::uint64_t epoch = 0;
  {
    const auto held = module_->hold();
    epoch = module_->epoch();
  }
  auto made = try_connect();
  if (made || made.error().code() != Errc::unavailable) return made;
  CLOISTER_CHECK(module_->restart(epoch, options_.wait));
  return try_connect();
}

Result<std::shared_ptr<Token::Connection>> Token::try_connect() {
  const auto held = module_->hold();
  const auto& calls = module_->calls();
  auto out = std::make_shared<Connection>();
  out->epoch = module_->epoch();
  std::size_t allowed = 0;
  CLOISTER_TRY(slot, find_slot(allowed));
  out->slot = slot;
  out->most = std::max<std::size_t>(1, std::min(options_.sessions, allowed > 0 ? allowed - 1 : 0));
  CLOISTER_CHECK(check_mechanisms(slot));
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  const auto opened = calls.C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
  if (opened != CKR_OK) return failure("C_OpenSession", opened);
  const auto pin = pin_.reveal();
  const auto code = calls.C_Login(session, CKU_USER, const_cast<CK_UTF8CHAR_PTR>(pin.data()), pin.size());
  if (code != CKR_OK && code != CKR_USER_ALREADY_LOGGED_IN) {
    calls.C_CloseSession(session);
    return failure("C_Login", code);
  }
  out->anchor = session;
  return out;
}

/// The one slot whose token is the URI's; `sessions` becomes how many it has.
Result<CK_SLOT_ID> Token::find_slot(std::size_t& sessions) {
  const auto& calls = module_->calls();
  CK_ULONG count = 0;
  if (const auto code = calls.C_GetSlotList(CK_TRUE, nullptr, &count); code != CKR_OK) return failure("C_GetSlotList", code);
  std::vector<CK_SLOT_ID> slots(count + 8);  // some may come meanwhile
  count = slots.size();
  if (const auto code = calls.C_GetSlotList(CK_TRUE, slots.data(), &count); code != CKR_OK) return failure("C_GetSlotList", code);
  slots.resize(std::min<std::size_t>(count, slots.size()));
  std::optional<CK_SLOT_ID> found;
  for (const auto slot : slots) {
    CK_TOKEN_INFO info{};
    if (calls.C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if (!is(info.label, uri_.token) || !is(info.serialNumber, uri_.serial) || !is(info.manufacturerID, uri_.manufacturer) ||
        !is(info.model, uri_.model) || (info.flags & CKF_TOKEN_INITIALIZED) == 0) {
      continue;
    }
    if (found) return Error{Errc::configuration_invalid, "HSM: more than one token is the URI's: name its serial"};
    found = slot;
    const bool known = info.ulMaxSessionCount != CK_EFFECTIVELY_INFINITE && info.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION;
    sessions = known ? info.ulMaxSessionCount : options_.sessions;
  }
  if (!found) return Error{Errc::unavailable, "HSM: no token is the URI's (" + (uri_.token ? *uri_.token : *uri_.serial) + ")"};
  return *found;
}

Result<void> Token::check_mechanisms(CK_SLOT_ID slot) {
  for (const auto& needed : kNeeded) {
    CK_MECHANISM_INFO info{};
    const auto code = module_->calls().C_GetMechanismInfo(slot, needed.type, &info);
    if (loss_of(code) == Loss::connection) return failure("C_GetMechanismInfo", code);
    if (code != CKR_OK || (info.flags & needed.flags) != needed.flags) {
      return Error{Errc::unsupported, "HSM: it has no " + std::string{needed.name}};
    }
  }
  return {};
}

}  // namespace cloister::kms
