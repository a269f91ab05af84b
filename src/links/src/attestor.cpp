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
  const auto* demand = std::get_if<protocol::Demand>(&*message);
  const bool demanded = demand != nullptr;
  if (demanded) {
    auto shown = co_await show_server(link, expectation.role, *demand);
    if (!shown) co_return std::move(shown).error();
    auto judging = link->receive();
    message = co_await runtime::with_deadline(deadline, std::move(judging));
    if (!message) co_return std::move(message).error();
  }
  if (const auto* failed = std::get_if<protocol::Failed>(&*message)) {
    const auto code = errc_from_string(failed->code).value_or(Errc::permission_denied);
    co_return Error{code, demanded ? "the TD does not take this server's evidence: " + failed->detail +
                                         "; register a version that demands what this server is (cloister challenge push "
                                         "--demand-server-evidence)"
                                   : "the TD does not attest: " + failed->detail};
  }
  auto* answer = std::get_if<protocol::Attest>(&*message);
  if (answer == nullptr) {
    const Error why{Errc::channel_message_invalid, "an attestation was expected; a demand may come once, before it"};
    co_return co_await link->refuse(why);
  }
  co_return co_await conclude(std::move(link), std::move(expectation), *std::move(connection), std::move(*answer));
}

runtime::Task<Result<void>> Attestor::show_server(std::shared_ptr<TdLink> link, protocol::Role role, protocol::Demand demand) {
  if (role != protocol::Role::instance) {
    const Error why{Errc::channel_message_invalid, "a validator's TD demands nothing of the server"};
    co_return co_await link->refuse(why);
  }
  if (!services_.prove) {
    const Error why{Errc::unsupported, "this server has no evidence of its own: it runs in no TEE, or has no [tee] in its configuration"};
    co_return co_await link->refuse(why);
  }
  auto work = [prove = services_.prove, nonce = demand.nonce, hash = link->handshake_hash()] { return prove(nonce, hash); };
  auto proof = co_await services_.proofs->run_until(Deadline::after(services_.clock, services_.proof_patience), std::move(work));
  if (!proof && proof.error().code() == Errc::cancelled) co_return std::move(proof).error();
  if (proof && proof->collateral.empty()) proof = Error{Errc::unavailable, "there is no collateral for it"};
  if (!proof) {
    const auto& why = proof.error();
    services_.logger.error("server_evidence.failed", {{"code", to_string(why.code())}, {"detail", why.detail()}});
    // What may pass is nothing to judge the server by: the stream ends, and the TD comes back over another.
    if (http_status(why.code()) >= 500) co_return Error{Errc::unavailable, "the server's own evidence: " + why.text()};
    co_return co_await link->refuse(why);
  }
  protocol::ToTd shown = protocol::ShownServer{*std::move(proof)};
  co_return co_await link->send(std::move(shown));
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
    co_return co_await link->refuse(why);
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
