#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/receipt/receipt.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxOutput = 64U << 20;

struct Options {
  fs::path file;
  std::optional<fs::path> trust;
  std::optional<std::string> at;
  std::optional<fs::path> output;
  bool json = false;
};

/// The receipt's verdict; errors of the world (files that cannot be read) are not its own.
Result<Result<receipt::Verified>> verify(const Options& options, const Clock& clock) {
  auto now = clock.now();
  if (options.at) {
    CLOISTER_TRY(at, parse_rfc3339(*options.at));
    now = at;
  }
  CLOISTER_TRY(text, read_file(options.file, receipt::kMaxReceiptSize));
  if (!options.trust && !default_trust_file()) {
    return Result<receipt::Verified>{
        Error{Errc::trust_not_given, "nothing inside a receipt is an anchor: name your trust file with --trust FILE"}};
  }
  CLOISTER_TRY(trust, load_trust_file(options.trust));
  receipt::CheckOptions check;
  check.now = now;
  if (options.output) {
    CLOISTER_TRY(output, read_file(*options.output, kMaxOutput));
    check.output = std::move(output);
  }
  auto parsed = receipt::parse_receipt(as_text(text));
  if (!parsed) return Result<receipt::Verified>{std::move(parsed).error()};
  return receipt::check(*parsed, trust, check);
}

json::Value to_json(const Result<receipt::Verified>& verdict) {
  if (!verdict) {
    return json::Object{{"verdict", "rejected"},
                        {"error", json::Object{{"code", to_string(verdict.error().code())}, {"detail", verdict.error().detail()}}}};
  }
  json::Array findings;
  for (const auto& finding : verdict->findings) {
    findings.emplace_back(json::Object{{"what", finding.what}, {"detail", finding.detail}});
  }
  const auto& e = verdict->envelope;
  return json::Object{{"verdict", "accepted"},
                      {"lab", verdict->lab},
                      {"job", e.job.str()},
                      {"version", e.version.str()},
                      {"instance", e.instance.str()},
                      {"status", e.status},
                      {"finished", to_rfc3339(e.finished)},
                      {"policy_digest", codec::to_hex(verdict->policy_digest)},
                      {"findings", std::move(findings)}};
}

void print(const Result<receipt::Verified>& verdict, std::ostream& out) {
  if (!verdict) {
    out << "rejected: " << verdict.error().text() << '\n';
    return;
  }
  out << "accepted: " << verdict->envelope.job.str() << ", status " << verdict->envelope.status
      << (verdict->lab ? " (LAB ONLY - NOT HARDWARE)" : "") << '\n';
  for (const auto& finding : verdict->findings) out << "  " << finding.what << ": " << finding.detail << '\n';
}

}  // namespace

void add_receipt(CLI::App& app, Context& context) {
  auto* receipt = app.add_subcommand("receipt", "Receipts: the chain of proof of a result");
  receipt->require_subcommand(1);
  auto* verify_command =
      receipt->add_subcommand("verify", "Check a receipt offline: exit 0 accepted, 2 rejected, 1 failed");
  const auto options = std::make_shared<Options>();
  verify_command->add_option("FILE", options->file, "the receipt")->required();
  verify_command->add_option("--trust", options->trust, "trust file; else the one in your configuration folder");
  verify_command->add_option("--at", options->at, "the time that counts as now, RFC 3339");
  verify_command->add_option("--output", options->output, "check that this file is the output (the client's copy only)");
  verify_command->add_flag("--json", options->json, "one JSON object");
  verify_command->callback([options, &context] {
    auto verdict = verify(*options, context.clock);
    if (!verdict) return context.fail(verdict.error());
    if (options->json) context.out << json::write(to_json(*verdict)) << '\n';
    else print(*verdict, context.out);
    context.exit_code = *verdict ? kOk : kRejected;
  });
}

}  // namespace cloister::cli
