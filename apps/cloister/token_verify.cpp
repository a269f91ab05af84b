#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/token/verify.hpp"
#include "files.hpp"
#include "render.hpp"
#include "token_verify.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace jose = crypto::jose;
namespace json = codec::json;

constexpr std::size_t kMaxRoots = 64;
constexpr std::size_t kMaxRootsSize = std::size_t{2} << 20;

struct Options {
  fs::path token;
  std::vector<fs::path> keys;
  std::vector<fs::path> roots;
  std::optional<std::string> issuer;
  std::optional<std::string> audience;
  std::optional<std::string> nonce;
  std::string at;
  std::string worst = "affirming";
  bool lab = false;
  bool json = false;
};

Result<token::Expected> read_expected(const Options& options, const Clock& clock) {
  token::Expected out;
  for (const auto& path : options.keys) {
    CLOISTER_TRY(text, read_file(path, jose::kMaxJwksSize));
    auto keys = jose::parse_keys(as_text(text));
    if (!keys) return keys.error().in(path.string());
    out.keys.insert(out.keys.end(), keys->begin(), keys->end());
  }
  for (const auto& path : options.roots) {
    CLOISTER_TRY(text, read_file(path, kMaxRootsSize));
    auto roots = crypto::x509::parse_chain(as_text(text), kMaxRoots);
    if (!roots) return roots.error().in(path.string());
    out.roots.insert(out.roots.end(), roots->begin(), roots->end());
  }
  if (out.keys.empty() && out.roots.empty()) return Error{Errc::invalid_argument, "nothing is trusted: no key and no root was given"};
  out.at = clock.now();
  if (!options.at.empty()) {
    auto given = parse_rfc3339(options.at);
    if (!given) return given.error().in("--at");
    out.at = *given;
  }
  out.issuer = options.issuer;
  out.audience = options.audience;
  out.nonce = options.nonce;
  out.worst = token::tier_from_string(options.worst).value_or(token::Tier::affirming);
  out.allow_lab = options.lab;
  return out;
}

/// The object of `--json`: of a token that was refused, the error alone.
json::Value object_of(const Result<token::Verified>& verified) {
  json::Object out{{"verdict", verified ? "accepted" : "rejected"}};
  if (verified) {
    const auto shown = token::to_json(*verified);
    out.insert(out.end(), shown.as_object()->begin(), shown.as_object()->end());
    out.emplace_back("error", nullptr);
  } else {
    const auto& error = verified.error();
    out.emplace_back("error", json::Object{{"code", to_string(error.code())}, {"detail", error.detail()}});
  }
  return json::Value{std::move(out)};
}

void print(std::ostream& out, const Result<token::Verified>& verified) {
  if (!verified) {
    out << "rejected\nbecause: " << to_string(verified.error().code()) << ": " << printable(verified.error().detail()) << '\n';
    return;
  }
  out << "accepted: " << token::to_string(verified->kind()) << (verified->lab() ? ", a LAB's: simulated, no hardware" : "") << '\n';
  print_plain(out, token::to_json(*verified));
}

void run(const Options& options, Context& context) {
  const auto expected = read_expected(options, context.clock);
  if (!expected) return context.fail(expected.error(), "give keys as --jwks FILE (a JWK set, a JWK, or PEM of an EC public key), or roots as --root FILE (PEM)");
  const auto file = read_file(options.token, jose::kMaxSignedTokenSize + 2);  // a line's end after it
  if (!file && file.error().code() == Errc::io_error) return context.fail(file.error());
  const auto verified = file ? token::verify(as_text(*file), *expected) : Result<token::Verified>{file.error()};
  if (options.json) {
    context.out << json::write_pretty(object_of(verified)) << '\n';
  } else {
    print(context.out, verified);
  }
  context.exit_code = verified ? kOk : kRejected;
}

}  // namespace

void add_token_verify(CLI::App& token, Context& context) {
  auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  auto* command = token.add_subcommand(
      "verify", "Verify an attestation token (EAR, Trustee's, Intel Trust Authority's) offline: exit 0 accepted, 2 rejected, 1 failed");
  command->add_option("FILE", options->token, "The token, in compact form")->required();
  command->add_option("--jwks,--key", options->keys, "Keys that are trusted: a JWK set, a JWK, or PEM of an EC public key");
  command->add_option("--root", options->roots, "Roots (PEM) under which the certificates in a token's header, and those of keys, are trusted");
  command->add_option("--issuer", options->issuer, "Issuer that is expected");
  command->add_option("--audience", options->audience, "Audience that is expected");
  command->add_option("--nonce", options->nonce, "Nonce that is expected, as the token writes it");
  command->add_option("--at", options->at, "Time to verify at, RFC 3339 (default: now)");
  command->add_option("--accept", options->worst, "Worst status that is accepted")
      ->check(CLI::IsMember({"affirming", "warning", "contraindicated"}));
  command->add_flag("--lab", options->lab, "Accept tokens of a lab's evidence, which is simulated");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace cloister::cli
