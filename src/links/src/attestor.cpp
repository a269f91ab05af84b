#include "cloister/links/attestor.hpp"

#include "cloister/attestation/verify.hpp"

namespace cloister::links {

runtime::Task<Result<session::AttestedSession>> Attestor::attest(std::shared_ptr<TdLink> link, Expectation expectation,
                                                                 Deadline deadline) {
  const metrics::Stopwatch watch{services_.clock};
  const auto role = to_string(expectation.role);
  auto session = co_await ask(std::move(link), std::move(expectation), deadline);
  duration_.with({role, session ? "accepted" : "refused"}).observe(watch.elapsed());
  if (!session) refusals_.with({role, to_string(session.error().code())}).add();
  co_return session;
}

void Attestor::write_metrics(metrics::TextWriter& out) const {
  duration_.write(out);
  refusals_.write(out);
}

runtime::Task<Result<session::AttestedSession>> Attestor::ask(std::shared_ptr<TdLink> link, Expectation expectation,
                                                              Deadline deadline) {
  auto connection = co_await issue(link, expectation);
  if (!connection) co_return std::move(connection).error();
  auto sending = link->send(challenge_of(*connection));
  auto sent = co_await runtime::with_deadline(deadline, std::move(sending));
  if (!sent) co_return std::move(sent).error();
  auto answering = link->receive();
  auto message = co_await runtime::with_deadline(deadline, std::move(answering));
  if (!message) co_return std::move(message).error();
  auto* answer = std::get_if<protocol::Attest>(&*message);
  if (answer == nullptr) co_return Error{Errc::channel_message_invalid, "an attestation was expected"};
  co_return co_await conclude(std::move(link), std::move(expectation), *std::move(connection), std::move(*answer));
}

runtime::Task<Result<session::Connection>> Attestor::issue(std::shared_ptr<TdLink> link, Expectation expectation) {
  auto issue = [this] { return services_.sessions.issue_nonce(services_.clock.now()); };
  auto nonce = co_await services_.pool.run(std::move(issue));
  if (!nonce) co_return std::move(nonce).error();

  session::Connection connection;
  connection.role = expectation.role;
  connection.server_key = link->server_key();
  connection.handshake_hash = link->handshake_hash();
  connection.nonce = *nonce;
  connection.instance = expectation.instance;
  connection.validator = expectation.validator;
  connection.hotkey = expectation.hotkey;
  co_return connection;
}

protocol::ToTd Attestor::challenge_of(const session::Connection& connection) {
  return protocol::Challenge{connection.nonce, connection.instance, connection.hotkey};
}

runtime::Task<Result<session::AttestedSession>> Attestor::conclude(std::shared_ptr<TdLink> link,
                                                                   Expectation expectation,
                                                                   session::Connection connection,
                                                                   protocol::Attest answer) {
  auto work = [this, &answer, &expectation, &connection] { return appraise(answer, expectation, connection); };
  auto session = co_await services_.pool.run(std::move(work));
  if (!session) {
    const auto& why = session.error();
    services_.logger.warn("attestation.refused", {{"role", to_string(expectation.role)},
                                                  {"instance", expectation.instance ? expectation.instance->str() : ""},
                                                  {"code", to_string(why.code())},
                                                  {"detail", why.detail()}});
    protocol::ToTd refused = protocol::Refused{std::string{to_string(why.code())}, why.detail().substr(0, 500)};
    static_cast<void>(co_await link->send(std::move(refused)));
    co_return session;
  }
  link->trust_peer();
  protocol::ToTd accepted = protocol::Accepted{session->id(), session->expires()};
  auto told = co_await link->send(std::move(accepted));
  if (!told) co_return std::move(told).error();
  services_.logger.info("attestation.accepted", {{"role", to_string(expectation.role)},
                                                 {"instance", expectation.instance ? expectation.instance->str() : ""},
                                                 {"session", session->id().str()},
                                                 {"lab", session->lab()}});
  co_return session;
}

Result<session::AttestedSession> Attestor::appraise(const protocol::Attest& answer, const Expectation& expectation,
                                                    const session::Connection& connection) {
  const auto now = services_.clock.now();
  const auto run = [&]() -> Result<session::AttestedSession> {
    CLOISTER_TRY(quote, evidence::parse_quote(answer.evidence));
    // A stranger can say any FMSPC; only of a platform under a trusted root is collateral looked for, and maybe fetched.
    if (const auto refusal = attestation::refusal_without_collateral(quote.view(), anchors_, now, services_.cache)) {
      return *refusal->error();
    }
    CLOISTER_TRY(collateral, collateral_(quote));
    CLOISTER_TRY(documents, evidence::parse_documents(collateral));
    const policy::TdSubmission submission{answer.evidence, answer.event_log, answer.configuration, answer.preimage};
    CLOISTER_TRY(td, policy::appraise_td(submission, documents, anchors_, policy_, {&expectation.reference, 1}, now,
                                         services_.cache));
    if (services_.revoked != nullptr) {
      CLOISTER_CHECK(services_.revoked->check(revocation::subjects_of(td.appraised().claims()), now));
    }
    model::InstanceEvidence shown;
    shown.evidence = answer.evidence;
    shown.event_log = answer.event_log;
    shown.configuration = answer.configuration;
    shown.preimage = answer.preimage;
    shown.collateral = to_bytes(evidence::write_quote_collateral(collateral));
    return services_.sessions.open(td, connection, std::move(shown), now);
  };
  auto session = run();
  if (!session) {
    // A refusal that cannot be recorded is still a refusal.
    if (auto recorded = services_.sessions.refuse(connection, session.error(), now); !recorded) {
      services_.logger.error("audit.failed", {{"detail", recorded.error().text()}});
    }
  }
  return session;
}

}  // namespace cloister::links
