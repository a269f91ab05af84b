#include <memory>

#include "cli.hpp"
#include "cloister/attestation/tcb.hpp"
#include "cloister/client/server_check.hpp"
#include "cloister/codec/text.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

struct Options {
  ConnectionOptions connection;
  std::optional<fs::path> trust;
  std::optional<std::string> nonce;
  std::optional<fs::path> proof;  // what a server showed before
  std::optional<fs::path> save;
  bool json = false;
};

/// What is judged, and by what.
struct Question {
  Bytes nonce;
  policy::TrustFile trust;
  client::Orchestrator::ShownServer shown;
  bool asked = false;  // over a connection of now
};

Result<Bytes> nonce_of(const Options& options) {
  if (!options.nonce) {
    if (options.proof) return Error{Errc::invalid_argument, "--proof: the nonce that it answers is needed, with --nonce"};
    SystemRandom random;
    const auto fresh = random.array<32>();
    return to_bytes(ByteView{fresh});
  }
  auto nonce = codec::from_hex(*options.nonce);
  if (!nonce || nonce->size() < protocol::kMinServerNonce || nonce->size() > protocol::kMaxServerNonce) {
    return Error{Errc::invalid_argument, "--nonce: 16 to 64 bytes, hex, expected"};
  }
  return nonce;
}

Result<Question> ask(const Options& options) {
  Question out;
  CLOISTER_TRY(nonce, nonce_of(options));
  out.nonce = std::move(nonce);
  if (options.proof) {
    CLOISTER_TRY(text, read_file(*options.proof, protocol::kMaxServerProof));
    CLOISTER_TRY(trust, load_trust_file(options.trust));
    CLOISTER_TRY(proof, protocol::parse_server_proof(as_text(text)));
    out.trust = std::move(trust);
    out.shown.proof = std::move(proof);
    return out;
  }
  CLOISTER_TRY(access, find_server(options.connection));
  CLOISTER_TRY(trust, trust_of(options.trust, access));
  out.trust = std::move(trust);
  CLOISTER_TRY(tls, client_tls(access.ca_file));
  CLOISTER_TRY(server, client::Orchestrator::connect(access.server, std::nullopt, std::move(tls)));  // no token for a stranger
  CLOISTER_TRY(shown, server.show_server(out.nonce));
  out.shown = std::move(shown);
  out.asked = true;
  if (options.save) {
    const auto text = json::write_pretty(protocol::to_json(out.shown.proof)) + "\n";
    CLOISTER_CHECK(write_file(*options.save, text, Readers::everyone));
  }
  return out;
}

std::string_view connection_of(const Question& question, const client::VerifiedServer& server) {
  if (!question.asked) return "none: an answer of before";
  return server.connection_bound ? "bound: its TLS key is in the evidence" : "not bound: plain HTTP, where nothing says who answers";
}

json::Value accepted(const Question& question, const client::VerifiedServer& server) {
  const auto& identity = server.server.identity();
  json::Array keys;
  for (const auto& key : identity.channel_keys) keys.emplace_back(codec::to_hex(key));
  return json::Object{
      {"verdict", "accepted"},
      {"server_id", identity.server_id},
      {"lab", server.server.appraised().lab()},
      {"tcb", attestation::to_string(server.server.appraised().tcb().status)},
      {"mrtd", codec::to_hex(server.server.reference().mrtd)},
      {"configuration_digest", "sha256:" + codec::to_hex(identity.configuration_digest)},
      {"server_keys", std::move(keys)},
      {"audit_key", codec::to_hex(identity.audit_key)},
      {"tls_key", identity.tls_key ? json::Value{codec::to_hex(*identity.tls_key)} : json::Value{}},
      {"connection_bound", question.asked ? json::Value{server.connection_bound} : json::Value{}},
      {"nonce", codec::to_hex(question.nonce)}};
}

std::string_view remedy(Errc code) {
  switch (code) {
    case Errc::lab_root_not_trusted: return "name the lab's trust file with --trust FILE";
    case Errc::measurement_mismatch:
      return "server_reference_values in your trust file say what the server must be; `cloister measure tdx --program` and "
             "`cloisterd --show-keys` give their values";
    case Errc::nonce_invalid: return "an answer answers one nonce: give that one, or ask anew";
    case Errc::audit_key_not_trusted: return "audit_keys in your trust file name the server's audit key";
    default: return {};
  }
}

Result<void> verify(const Options& options, Context& context) {
  CLOISTER_TRY(question, ask(options));
  const auto server = client::verify_server(question.shown, question.nonce, question.trust, context.clock.now());
  if (!server) {
    context.exit_code = kRejected;
    const auto& why = server.error();
    if (options.json) {
      const json::Value out = json::Object{{"verdict", "rejected"},
                                           {"error", json::Object{{"code", to_string(why.code())}, {"detail", why.detail()}}},
                                           {"nonce", codec::to_hex(question.nonce)}};
      context.out << json::write(out) << '\n';
      return {};
    }
    context.out << "rejected\nbecause: " << printable(why.text()) << '\n';
    if (const auto hint = remedy(why.code()); !hint.empty()) context.out << "remedy:  " << hint << '\n';
    return {};
  }
  const auto facts = accepted(question, *server);
  if (options.json) {
    context.out << json::write(facts) << '\n';
    return {};
  }
  context.out << "accepted" << (server->server.appraised().lab() ? " (LAB ONLY - NOT HARDWARE)" : "") << '\n';
  for (const auto& [name, value] : *facts.as_object()) {
    if (name == "verdict" || name == "lab" || name == "connection_bound") continue;
    const auto* list = value.as_array();
    if (list == nullptr) {
      context.out << "  " << name << ": " << (value.is_null() ? "-" : printable(*value.as_string())) << '\n';
    } else {
      for (const auto& item : *list) context.out << "  " << name << ": " << printable(*item.as_string()) << '\n';
    }
  }
  context.out << "  connection: " << connection_of(question, *server) << '\n';
  return {};
}

}  // namespace

void add_server(CLI::App& app, Context& context) {
  auto* server = app.add_subcommand("server", "The server itself");
  server->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  auto* command = server->add_subcommand(
      "verify", "Demand the server's own evidence, and verify it: exit 0 accepted, 2 rejected, 1 failed (it has none, say)");
  add_connection_options(*command, options->connection);
  command->add_option("--trust", options->trust,
                      "trust file with server_reference_values; else CLOISTER_TRUST_FILE, your profile's, or the one in your configuration folder");
  command->add_option("--nonce", options->nonce, "yours, 16 to 64 bytes of hex; else a fresh one");
  auto* proof = command->add_option("--proof", options->proof, "an answer that was saved before, instead of a server; with its --nonce");
  command->add_option("--save", options->save, "write the answer here, so that it can be verified again")->excludes(proof);
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &context] {
    if (auto done = verify(*options, context); !done) context.fail(done.error());
  });
}

}  // namespace cloister::cli
