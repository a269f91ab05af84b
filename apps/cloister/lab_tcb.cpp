#include "lab_tcb.hpp"

#include <filesystem>
#include <map>
#include <memory>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/lab_host/tcb.hpp"
#include "cloister/provider/td_image.hpp"
#include "files.hpp"
#include "lab_snp_tcb.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
using lab_host::TcbCommand;
using lab_host::TcbView;

constexpr std::string_view kNoPlatform =
    "start `cloister lab platform` on this --state once; an update needs it stopped";

struct Options {
  fs::path state;
  bool json = false;
};

json::Value json_of(const TcbView& view) {
  const auto& machine = view.story.machine();
  const auto withheld = view.story.withheld_since();
  const auto story = json::parse(lab::write_tcb_story(view.story));
  CLOISTER_ASSERT(story.ok());  // our own
  return json::Object{
      {"lab", true},
      {"now", to_rfc3339(view.now)},
      {"clock_offset_s", std::int64_t{view.story.clock_offset.count()}},
      {"up_to_date", view.story.up_to_date()},
      {"evaluation_data_number", view.story.offered().published.evaluation_data_number},
      {"withheld_since", withheld ? json::Value{to_rfc3339(*withheld)} : json::Value{}},
      {"pck_serial", codec::to_hex(view.pck_serial)},
      {"machine", json::Object{{"sgx_components", codec::to_hex(machine.sgx_components)},
                               {"pcesvn", std::uint32_t{machine.pcesvn}},
                               {"tee_tcb_svn", codec::to_hex(machine.tee_tcb_svn)},
                               {"qe_isvsvn", std::uint32_t{machine.qe_isvsvn}}}},
      {"acts", *story->find("acts")}};
}

/// "2026-03-02T00:00:00Z  advise  platform  LAB-SA-00002"
void print_act(std::ostream& out, const json::Value& act) {
  std::string line;
  for (const auto* name : {"at", "act", "part", "advisory", "serial"}) {
    const auto* value = act.find(name);
    if (value != nullptr) line += (line.empty() ? "" : "  ") + *value->as_string();
  }
  out << line << '\n';
}

void print(std::ostream& out, const TcbView& view) {
  const auto& machine = view.story.machine();
  const auto withheld = view.story.withheld_since();
  out << "clock:       " << to_rfc3339(std::chrono::floor<std::chrono::seconds>(view.now))
      << (view.story.clock_offset.count() == 0 ? "" : " (set)") << '\n'
      << "machine:     " << (view.story.up_to_date() ? "up to date" : "behind what is published") << '\n'
      << "components:  " << codec::to_hex(machine.sgx_components) << ", PCESVN " << machine.pcesvn << '\n'
      << "TEE TCB SVN: " << codec::to_hex(machine.tee_tcb_svn) << ", QE " << machine.qe_isvsvn << '\n'
      << "PCK serial:  " << codec::to_hex(view.pck_serial) << '\n'
      << "collateral:  evaluation " << view.story.offered().published.evaluation_data_number
      << (withheld ? ", withheld since " + to_rfc3339(*withheld) : "") << '\n';
  const auto shown = json_of(view);
  for (const auto& act : *shown.find("acts")->as_array()) print_act(out, act);
}

void show(const Result<TcbView>& view, const Options& options, Context& context) {
  if (!view) return context.fail(view.error(), kNoPlatform);
  if (options.json) {
    context.out << json::write_pretty(json_of(*view)) << '\n';
  } else {
    print(context.out, *view);
  }
}

CLI::App* add_command(CLI::App& parent, const char* name, const char* what, Options& options) {
  auto* command = parent.add_subcommand(name, what);
  command->add_option("--state", options.state, "directory of the platform")->required();
  command->add_flag("--json", options.json, "One JSON object");
  return command;
}

/// A command that does one thing and then shows the platform.
void add_act(CLI::App& tcb, Context& context, const char* name, const char* what, TcbCommand act) {
  const auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  add_command(tcb, name, what, *options)->callback([options, act = std::move(act), &context] {
    show(lab_host::change_tcb(options->state, act, context.clock), *options, context);
  });
}

void add_advise(CLI::App& tcb, Context& context) {
  const auto options = std::make_shared<Options>();
  const auto part = std::make_shared<std::string>("platform");
  const auto advisory = std::make_shared<std::optional<std::string>>();
  auto* command = add_command(tcb, "advise", "Publish an advisory, for which the machine is out of date", *options);
  command->add_option("--part", *part, "platform (microcode; the default), module or qe")
      ->check(CLI::IsMember({"platform", "module", "qe"}));
  command->add_option("--advisory", *advisory, "its name; else the next of the lab's");
  command->callback([options, part, advisory, &context] {
    const auto parsed = lab::parse_tcb_part(*part);
    if (!parsed) return context.fail(parsed.error());
    const lab_host::AdviseNext advise{*parsed, *advisory};
    show(lab_host::change_tcb(options->state, advise, context.clock), *options, context);
  });
}

void add_tcb(CLI::App& lab, Context& context) {
  auto* tcb = lab.add_subcommand("tcb", "The platform's security versions, and what is published about them");
  tcb->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  add_command(*tcb, "show", "What the machine has, and what happened so far", *options)->callback([options, &context] {
    show(lab_host::view_tcb(options->state, context.clock), *options, context);
  });
  add_advise(*tcb, context);
  add_act(*tcb, context, "update", "Install all that was published; the platform must be stopped", lab::Update{});
  add_act(*tcb, context, "update-module", "Install the TDX module that was published; TDs that run go on in it",
          lab::UpdateModule{});
  add_act(*tcb, context, "revoke", "Revoke the PCK certificate that the machine has", lab_host::RevokeOwnPck{});
  add_act(*tcb, context, "withhold", "Hand out today's collateral from now on, and nothing newer", lab::Withhold{});
  add_act(*tcb, context, "release", "Hand out the newest collateral again", lab::Release{});
  add_lab_snp_tcb(*tcb, context);
}

void add_clock(CLI::App& lab, Context& context) {
  const auto options = std::make_shared<Options>();
  const auto to = std::make_shared<std::string>();
  const auto real = std::make_shared<bool>(false);
  auto* command = add_command(lab, "clock", "Set the clock by which collateral is issued; it goes on from there", *options);
  auto* what = command->add_option_group("what")->require_option(1);
  what->add_option("--set", *to, "a time, RFC 3339");
  what->add_flag("--real", *real, "the time that it is");
  command->callback([options, to, real, &context] {
    lab_host::SetClock set;
    if (!*real) {
      const auto time = parse_rfc3339(*to);
      if (!time) return context.fail(time.error());
      set.to = *time;
    }
    show(lab_host::change_tcb(options->state, set, context.clock), *options, context);
  });
}

struct QuoteOptions {
  fs::path state;
  fs::path program;
  std::string report_data;
  lab::QuoteFormat format = lab::QuoteFormat::v4;
  fs::path output;
};

Result<void> write_quote(const QuoteOptions& options) {
  Digest64 report_data{};
  if (!options.report_data.empty()) {
    const auto given = codec::array_from_hex<64>(options.report_data);
    if (!given) return given.error().in("--report-data");
    report_data = *given;
  }
  CLOISTER_TRY(image, provider::td_image_of_program(options.program));
  std::vector<measure::TdFile> files;
  for (const auto& file : image) files.push_back({.path = file.path, .mode = file.mode, .contents = file.contents()});
  CLOISTER_TRY(quote, lab_host::quote_image(options.state, files, report_data, options.format));
  return write_file(options.output, as_text(quote), Readers::everyone);
}

void add_quote(CLI::App& lab, Context& context) {
  const auto options = std::make_shared<QuoteOptions>();
  auto* command = lab.add_subcommand("quote", "The quote of a TD of a program, measured by the platform; it is not run");
  command->add_option("--state", options->state, "directory of the platform")->required();
  command->add_option("--program", options->program, "its loader and libraries are measured too")->required();
  command->add_option("--report-data", options->report_data, "64 bytes in hex; else zeros");
  add_quote_format(*command, options->format);
  command->add_option("--output", options->output, "file of the quote")->required();
  command->callback([options, &context] {
    if (const auto written = write_quote(*options); !written) context.fail(written.error(), kNoPlatform);
  });
}

}  // namespace

void add_quote_format(CLI::App& command, lab::QuoteFormat& format) {
  using lab::QuoteFormat;
  command.add_option("--format", format, "of quotes: v4 (the default), v5, v5-td10 or v5-td15-ex")
      ->transform(CLI::CheckedTransformer(std::map<std::string, QuoteFormat>{{"v4", QuoteFormat::v4},
                                                                             {"v5", QuoteFormat::v5},
                                                                             {"v5-td10", QuoteFormat::v5_td10},
                                                                             {"v5-td15-ex", QuoteFormat::v5_td15_ex}}));
}

void add_lab_tcb(CLI::App& lab, Context& context) {
  add_tcb(lab, context);
  add_clock(lab, context);
  add_quote(lab, context);
}

}  // namespace cloister::cli
