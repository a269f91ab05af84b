#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/event_log.hpp"
#include "dcap_lesson.hpp"

/// A TD's registers, and what its host says that went into them.
namespace cloister::exercise::event_log_lie {
namespace {

namespace json = codec::json;
using lab::tdx::GuestLevel;

constexpr std::uint32_t kEfiBootApplication = 0x80000003;
constexpr std::uint32_t kIpl = 13;
constexpr std::string_view kCommandLine = "console=ttyS0 ro init=/bin/sh";

struct Measured {
  std::uint8_t rtmr;
  std::uint32_t type;
  std::string_view name;
  std::string_view payload;
};
constexpr Measured kEvents[] = {
    {0, 0x80000001, "SecureBoot", "SecureBoot=1"},
    {1, kEfiBootApplication, "boot loader", "grub 2.12"},
    {2, kIpl, "kernel", "vmlinuz 6.12"},
    {2, kIpl, "command line", kCommandLine},
    {2, kIpl, "initrd", "initrd 6.12"},
    {3, evidence::kEventDstackRuntime, "app-id", "wallet"},
};

/// Firmware measures the bytes themselves; run-time events have a digest of their own form.
Digest48 digest_of(const Measured& event) {
  if (event.type == evidence::kEventDstackRuntime) {
    const ByteArray<4> type{static_cast<std::uint8_t>(event.type), static_cast<std::uint8_t>(event.type >> 8),
                            static_cast<std::uint8_t>(event.type >> 16), static_cast<std::uint8_t>(event.type >> 24)};
    return crypto::sha384({type, as_bytes(":"), as_bytes(event.name), as_bytes(":"), as_bytes(event.payload)});
  }
  return crypto::sha384(as_bytes(event.payload));
}

/// dstack's JSON, an event a line.
std::string honest_log() {
  std::string out = "[\n";
  for (const auto& event : kEvents) {
    const json::Value row = json::Object{{"imr", std::uint32_t{event.rtmr}},
                                         {"event_type", event.type},
                                         {"digest", codec::to_hex(digest_of(event))},
                                         {"event", event.name},
                                         {"event_payload", codec::to_hex(as_bytes(event.payload))}};
    out += json::write(row) + (&event == std::end(kEvents) - 1 ? "\n]\n" : ",\n");
  }
  return out;
}

Files more_files() {
  Files out;
  for (const auto* name : {"dropped.json", "reordered.json", "interleaved.json", "relabelled.json"}) out[name] = honest_log();
  return out;
}

/// The registers in a quote of a TD in which just that happened.
measure::Rtmrs quoted_registers(EventLog& log) {
  const Bytes program(5000, 0x33);
  const std::vector<measure::TdFile> image{{.path = "cloister-guest", .mode = 0755, .contents = program}};
  auto td = dcap::platform().launch({}, image).value();
  std::size_t number = 0;
  for (const auto& event : kEvents) {
    CLOISTER_ASSERT(td.tdg_mr_rtmr_extend(GuestLevel::boot, event.rtmr, digest_of(event)).ok());
    log.add("guest", "TDG.MR.RTMR.EXTEND", {{"event", std::uint64_t{number++}}, {"rtmr", std::uint64_t{event.rtmr}}, {"what", event.name}}, "success");
  }
  const auto quote = evidence::parse_quote(dcap::platform().quote(*td.tdg_mr_report({})).value()).value();
  return quote.td()->rtmr;
}

/// The first of its events that is another than what happened.
std::string first_difference(const evidence::EventLog& given) {
  const auto honest = evidence::parse_dstack_event_log(honest_log()).value();
  const auto at = std::ranges::mismatch(given, honest);
  if (at.in1 == given.end() && at.in2 == honest.end()) return "none";
  return std::to_string(at.in2 - honest.begin());
}

std::string mismatches(const measure::Rtmrs& a, const measure::Rtmrs& b) {
  std::string out;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) out += (out.empty() ? "RTMR" : " RTMR") + std::to_string(i);
  }
  return out;
}

/// What a verifier does that reads the words, and what one does that hashes them.
void read_words(EventLog& log, std::string_view file, const evidence::EventLog& given) {
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto& event = given[i];
    if (event.type != kIpl || event.name != "command line") continue;
    const std::string words{as_text(event.data)};
    log.add("verifier", "READ", {{"file", file}, {"event", std::uint64_t{i}}}, words);
    const bool same = crypto::sha384(event.data) == event.digest;
    log.add("verifier", "HASH", {{"file", file}, {"event", std::uint64_t{i}}, {"lies", words != kCommandLine}},
            same ? "digest is of these words" : "digest is not of these words");
  }
}

Result<void> replay(const Files& files, EventLog& log) {
  const auto quoted = quoted_registers(log);
  log.begin_step(1);
  for (const auto& [name, start] : more_files()) {
    const auto& text = files.at(name);
    const auto given = evidence::parse_dstack_event_log(text);
    if (!given && !json::parse(text)) return given.error().in(name);
    if (!given) {
      log.add("verifier", "REPLAY", {{"file", name}}, given.error().text());
      continue;
    }
    const bool hidden = std::ranges::none_of(*given, [](const evidence::Event& e) { return as_text(e.data) == kCommandLine; });
    const auto wrong = mismatches(measure::replay(*given), quoted);
    log.add("verifier", "REPLAY", {{"file", name}, {"events", std::uint64_t{given->size()}}, {"first_difference", first_difference(*given)},
                                   {"hides_it", hidden}}, wrong.empty() ? "equals the quote" : "differs in " + wrong);
    read_words(log, name, *given);
  }
  return {};
}

bool replayed(const EventLog& log, std::string_view file, std::string_view outcome, const std::function<bool(const Event&)>& fits) {
  return any(log, [&](const Event& e) {
    return e.op == "REPLAY" && e.detail("file") == file && e.outcome.starts_with(outcome) && fits(e);
  });
}

constexpr Goal kGoals[] = {
    {"Dropped: the event is gone, and RTMR2 does not fit", 2,
     [](const EventLog& log) {
       return replayed(log, "dropped.json", "differs in RTMR2", [](const Event& e) { return e.detail("hides_it") == "true" && e.detail("events") == "5"; });
     },
     "delete the line of the command line from dropped.json"},
    {"Reordered: two events of one register changed places", 2,
     [](const EventLog& log) {
       return replayed(log, "reordered.json", "differs in RTMR", [](const Event& e) { return e.detail("events") == "6"; });
     },
     "exchange two lines of imr 2 in reordered.json"},
    {"Interleaved: the order among registers is not measured", 2,
     [](const EventLog& log) {
       return replayed(log, "interleaved.json", "equals the quote", [](const Event& e) { return e.detail("first_difference") != "none"; });
     },
     "exchange two neighbours of different registers in interleaved.json"},
    {"Relabelled: the replay holds, the words lie, the digest tells", 4,
     [](const EventLog& log) {
       return replayed(log, "relabelled.json", "equals the quote", [](const Event& e) { return e.detail("hides_it") == "true"; }) &&
              happened(log, "HASH", "digest is not of these words", {{"file", "relabelled.json"}, {"lies", "true"}});
     },
     "in relabelled.json write other words (hex) into the command line's event_payload, and leave its digest"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "TDX", .level = 1, .more_files = more_files, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::event_log_lie
