#include "cloister/session/attested.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/storage/evidence.hpp"
#include "cloister/storage/fleet.hpp"

namespace cloister::session {
namespace {

constexpr std::string_view kNoncePurpose = "attest";
/// Of sessions that nothing needs; results may still come that name one before the newest.
constexpr std::uint32_t kKeptSessions = 4;
/// Sessions of TDs belong to the server itself, whatever tenant's work they do.
const TenantId& system_tenant() {
  static const TenantId tenant = *TenantId::parse("system");
  return tenant;
}

/// That the preimage speaks of this connection and of no other.
Result<void> check_binding(const protocol::Preimage& preimage, const Connection& connection) {
  const auto mismatch = [](std::string_view what) {
    return Error{Errc::binding_mismatch, "the evidence is bound to another " + std::string{what}};
  };
  if (preimage.role != connection.role) return mismatch("role");
  if (preimage.server_key_id != protocol::server_key_id(connection.server_key)) return mismatch("server key");
  if (preimage.nonce != connection.nonce) return mismatch("nonce");
  if (preimage.handshake_hash != connection.handshake_hash) return mismatch("channel");
  if (preimage.instance != connection.instance) return mismatch("instance");
  if (preimage.hotkey != connection.hotkey) return mismatch("hotkey");
  return {};
}

PlatformTcb tcb_of(const policy::Appraised& appraised) {
  PlatformTcb out;
  out.tcb_date = appraised.tcb().tcb_date;
  if (const auto* td = appraised.claims().td()) out.tdx_components = td->tee_tcb_svn;
  if (const auto* dcap = appraised.claims().dcap(); dcap != nullptr && dcap->platform) {
    out.sgx_components = dcap->platform->components;
    out.pce_svn = dcap->platform->pce_svn;
  }
  return out;
}

std::string subject_of(const Connection& connection) {
  if (connection.instance) return connection.instance->str();
  return connection.validator ? connection.validator->str() : std::string{to_string(connection.role)};
}

}  // namespace

Result<ByteArray<32>> AttestedSessions::issue_nonce(UnixTime now) {
  const auto nonce = random_.array<32>();
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(storage::nonces::issue(transaction, nonce, kNoncePurpose, now + kNonceLifetime));
  CLOISTER_CHECK(transaction.commit());
  return nonce;
}

Result<AttestedSession> AttestedSessions::open(const policy::AppraisedTd& td, const Connection& connection,
                                               model::InstanceEvidence shown, UnixTime now) {
  const auto& preimage = td.preimage();
  CLOISTER_CHECK(check_binding(preimage, connection));

  AttestedSession session;
  session.id_ = SessionId::make(random_);
  session.role_ = preimage.role;
  session.policy_digest_ = td.appraised().policy_digest();
  session.lab_ = td.appraised().lab();
  session.reference_ = td.reference();
  session.tcb_ = tcb_of(td.appraised());
  session.opened_ = now;
  session.expires_ = std::min(now + lifetime_, td.collateral_expires());
  if (preimage.role == protocol::Role::instance) {
    session.instance_ = *preimage.instance;
    session.version_ = *td.configuration().version;
    session.image_digest_ = *td.configuration().image_digest;
    session.payload_key_ = *preimage.key(protocol::kPayloadUse, "x25519");
    session.result_key_ = *preimage.key(protocol::kResultUse, "ed25519");
  }
  shown.session = session.id_;
  shown.appraised = now;
  shown.expires = session.expires_;

  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kAppraisalAccepted;
  leaf.subject = session.id_.str();
  const auto digest = [](ByteView bytes) { return to_bytes(crypto::sha256(bytes)); };
  leaf.details = {{"role", std::string{to_string(preimage.role)}},
                  {"about", subject_of(connection)},
                  {"expires", static_cast<std::uint64_t>(to_micros(session.expires_))},
                  {"policy", to_bytes(ByteView{session.policy_digest_})},
                  {"lab", std::uint64_t{session.lab_ ? 1U : 0U}},
                  {"evidence", digest(shown.evidence)},
                  {"event_log", digest(shown.event_log)},
                  {"configuration", digest(shown.configuration)},
                  {"preimage", digest(shown.preimage)},
                  {"collateral", digest(shown.collateral)}};
  if (!session.version_.empty()) leaf.details.emplace_back("version", session.version_.str());

  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(storage::nonces::consume(transaction, connection.nonce, kNoncePurpose, now));
  storage::Sessions::Record record;
  record.id = session.id_;
  record.tenant = system_tenant();
  record.subject = subject_of(connection);
  record.created = now;
  record.expires = session.expires_;
  record.state = crypto::SecretBytes::copy_of(shown.preimage);
  CLOISTER_CHECK(records_.add(transaction, record));
  CLOISTER_CHECK(storage::evidence::add(transaction, {shown, to_bytes(ByteView{session.policy_digest_})}));
  if (session.role_ == protocol::Role::instance) {
    CLOISTER_CHECK(storage::instances::verified(transaction, session.instance_, session.id_, session.payload_key_,
                                                session.result_key_));
  } else if (connection.validator) {
    CLOISTER_CHECK(storage::validators::verified(transaction, *connection.validator, session.id_, now));
  }
  CLOISTER_CHECK(storage::evidence::prune(transaction, record.subject, kKeptSessions));
  CLOISTER_CHECK(log_.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return session;
}

Result<void> AttestedSessions::refuse(const Connection& connection, const Error& why, UnixTime now) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kAppraisalRefused;
  leaf.subject = subject_of(connection);
  leaf.details = {{"code", std::string{to_string(why.code())}}, {"detail", why.detail().substr(0, 512)}};
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(log_.append(transaction, leaf));
  return transaction.commit();
}

}  // namespace cloister::session
