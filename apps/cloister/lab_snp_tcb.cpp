#include "lab_snp_tcb.hpp"

#include <array>
#include <filesystem>
#include <map>
#include <memory>

#include "cloister/codec/json.hpp"
#include "cloister/lab_host/snp_state.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
using evidence::SnpProduct;
using evidence::SnpTcb;
using evidence::VekKind;
using lab_host::SnpLevels;
using lab_host::SnpView;

constexpr std::string_view kNoMachine = "`cloister lab snp-report` or `cloister lab collateral` on this --state makes one";

struct Options {
  fs::path state;
  SnpProduct product = SnpProduct::milan;
  bool json = false;
};

/// As a policy's `min_tcb` has it.
json::Value json_of(const SnpTcb& tcb) {
  json::Object out;
  if (tcb.fmc) out.emplace_back("fmc", std::uint32_t{*tcb.fmc});
  out.emplace_back("bootloader", std::uint32_t{tcb.bootloader});
  out.emplace_back("tee", std::uint32_t{tcb.tee});
  out.emplace_back("snp", std::uint32_t{tcb.snp});
  out.emplace_back("microcode", std::uint32_t{tcb.microcode});
  return out;
}

json::Value time_or_null(std::optional<UnixTime> at) { return at ? json::Value{to_rfc3339(*at)} : json::Value{}; }

json::Value json_of(const SnpView& view, SnpProduct product) {
  const auto& machine = view.story.platform(product);
  const auto written = json::parse(lab_snp::write_tcb_story(view.story));
  CLOISTER_ASSERT(written.ok());  // our own
  json::Array acts;
  for (const auto& act : *written->find("acts")->as_array()) {
    if (*act.find("product")->as_string() == evidence::to_string(product)) acts.push_back(act);
  }
  return json::Object{{"lab", true},
                      {"now", to_rfc3339(view.now)},
                      {"product", evidence::to_string(product)},
                      {"current", json_of(machine.current)},
                      {"committed", json_of(machine.committed)},
                      {"reported", json_of(machine.reported)},
                      {"ask_revoked", time_or_null(view.story.revoked(product, VekKind::vcek))},
                      {"asvk_revoked", time_or_null(view.story.revoked(product, VekKind::vlek))},
                      {"list_withheld_since", time_or_null(view.story.withheld_since(product))},
                      {"acts", std::move(acts)}};
}

std::string line_of(const SnpTcb& tcb) {
  std::string out;
  const auto add = [&out](std::string_view name, unsigned level) {
    out += (out.empty() ? "" : ", ") + std::string{name} + ' ' + std::to_string(level);
  };
  if (tcb.fmc) add("fmc", *tcb.fmc);
  add("bootloader", tcb.bootloader);
  add("tee", tcb.tee);
  add("snp", tcb.snp);
  add("microcode", tcb.microcode);
  return out;
}

void print(std::ostream& out, const SnpView& view, SnpProduct product) {
  const auto& machine = view.story.platform(product);
  const auto withheld = view.story.withheld_since(product);
  const auto standing = [&](VekKind kind) {
    const auto at = view.story.revoked(product, kind);
    return at ? "revoked " + to_rfc3339(*at) : std::string{"good"};
  };
  out << "clock:      " << to_rfc3339(std::chrono::floor<std::chrono::seconds>(view.now)) << '\n'
      << "machine:    " << evidence::to_string(product) << '\n'
      << "current:    " << line_of(machine.current) << (machine.current == machine.committed ? "" : " (provisional)") << '\n'
      << "committed:  " << line_of(machine.committed) << '\n'
      << "reported:   " << line_of(machine.reported) << '\n'
      << "ASK:        " << standing(VekKind::vcek) << '\n'
      << "ASVK:       " << standing(VekKind::vlek) << '\n'
      << "list:       " << (withheld ? "withheld since " + to_rfc3339(*withheld) : "handed out as it is") << '\n';
  const auto shown = json_of(view, product);
  for (const auto& act : *shown.find("acts")->as_array()) {
    std::string line;
    for (const auto* name : {"at", "act", "tcb", "issuer"}) {
      const auto* value = act.find(name);
      if (value != nullptr) line += (line.empty() ? "" : "  ") + *value->as_string();
    }
    out << line << '\n';
  }
}

void show(const Result<SnpView>& view, const Options& options, Context& context) {
  if (!view) return context.fail(view.error(), view.error().code() == Errc::not_found ? kNoMachine : "");
  if (options.json) {
    context.out << json::write_pretty(json_of(*view, options.product)) << '\n';
  } else {
    print(context.out, *view, options.product);
  }
}

CLI::App* add_command(CLI::App& parent, const char* name, const char* what, Options& options) {
  auto* command = parent.add_subcommand(name, what);
  command->add_option("--state", options.state, "directory of the machine")->required();
  add_snp_product(*command, options.product);
  command->add_flag("--json", options.json, "One JSON object");
  return command;
}

void perform(const Options& options, const lab_host::SnpCommand& command, Context& context) {
  show(lab_host::change_snp_tcb(options.state, options.product, command, context.clock), options, context);
}

void add_act(CLI::App& snp, Context& context, const char* name, const char* what, const lab_host::SnpCommand& act) {
  const auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  add_command(snp, name, what, *options)->callback([options, act, &context] { perform(*options, act, context); });
}

/// A command with an option for each component.
template <class Command>
void add_levels(CLI::App& snp, Context& context, const char* name, const char* what) {
  const auto options = std::make_shared<Options>();
  const auto levels = std::make_shared<SnpLevels>();
  auto* command = add_command(snp, name, what, *options);
  const auto component = [&](const char* option, std::optional<std::uint8_t>& level, const char* of) {
    command->add_option_function<unsigned>(option, [levels, &level](unsigned given) { level = static_cast<std::uint8_t>(given); }, of)
        ->check(CLI::Range(0, 255));
  };
  component("--bootloader", levels->bootloader, "security version of the boot loader");
  component("--tee", levels->tee, "of the security processor's operating system");
  component("--snp", levels->snp, "of the SNP firmware");
  component("--microcode", levels->microcode, "of the microcode");
  component("--fmc", levels->fmc, "of the FMC, which Turin has");
  command->callback([options, levels, &context] { perform(*options, Command{*levels}, context); });
}

void add_revoke(CLI::App& snp, Context& context) {
  const auto options = std::make_shared<Options>();
  const auto issuer = std::make_shared<std::string>("ask");
  auto* command = add_command(snp, "revoke", "Put the authority over VCEKs or VLEKs into the root's list", *options);
  command->add_option("--issuer", *issuer, "ask (over VCEKs; the default) or asvk (over VLEKs)")->check(CLI::IsMember({"ask", "asvk"}));
  command->callback([options, issuer, &context] {
    perform(*options, lab_snp::RevokeIssuer{*issuer == "asvk" ? VekKind::vlek : VekKind::vcek}, context);
  });
}

}  // namespace

void add_snp_product(CLI::App& command, SnpProduct& product) {
  const std::map<std::string, SnpProduct> products{{"milan", SnpProduct::milan}, {"genoa", SnpProduct::genoa}, {"turin", SnpProduct::turin}};
  const auto take = [&product, products](const std::string& name) { product = products.at(name); };
  command.add_option_function<std::string>("--product", take, "milan (the default), genoa or turin")
      ->transform(CLI::IsMember(products, CLI::ignore_case));
}

void add_lab_snp_tcb(CLI::App& tcb, Context& context) {
  auto* snp = tcb.add_subcommand("snp", "The same of the SEV-SNP machines: firmware, what they report, who vouches for them");
  snp->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  add_command(*snp, "show", "What the machine has, and what happened so far", *options)->callback([options, &context] {
    show(lab_host::view_snp_tcb(options->state, context.clock), *options, context);
  });
  add_levels<lab_host::LoadLevels>(*snp, context, "load", "Run other firmware and microcode, provisionally; without levels the next");
  add_act(*snp, context, "commit", "Commit what runs: there is no way back, and it is reported", lab_snp::Commit{});
  add_levels<lab_host::ReportLevels>(*snp, context, "report", "Report another TCB than the committed one; without levels that one");
  add_revoke(*snp, context);
  add_act(*snp, context, "withhold", "Hand out today's revocation list from now on, and nothing newer", lab_snp::WithholdList{});
  add_act(*snp, context, "release", "Hand out the newest list again", lab_snp::ReleaseList{});
}

}  // namespace cloister::cli
