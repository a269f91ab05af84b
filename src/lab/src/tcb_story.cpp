#include "cloister/lab/tcb_story.hpp"

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::lab {
namespace {

namespace json = codec::json;

constexpr std::size_t kMaxAdvisory = 64;
constexpr std::size_t kMaxSerial = 20;  // RFC 5280 section 4.1.2.2
constexpr std::size_t kMicrocode = 2;   // the index of the late microcode in TD reports and levels
constexpr std::int64_t kVersion = 1;

Error bad(std::string why) { return Error{Errc::invalid_argument, "TCB story: " + std::move(why)}; }

bool valid_advisory(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !text.empty() && text.size() <= kMaxAdvisory && std::ranges::all_of(text, allowed);
}

/// Puts a level on top that has what the repair raised; everything below it is out of date.
template <class Level, class Raise>
void publish(std::vector<Level>& levels, const std::string& advisory, UnixTime at, Raise raise) {
  auto fresh = levels.front();
  fresh.tcb_date = at;
  raise(fresh);
  auto& newest = levels.front().status;
  if (newest == evidence::TcbStatus::up_to_date) newest = evidence::TcbStatus::out_of_date;
  for (auto& level : levels) level.advisory_ids.push_back(advisory);
  levels.insert(levels.begin(), std::move(fresh));
}

ByteArray<16> svns_of(const evidence::TcbComponents& components) {
  ByteArray<16> svns{};
  for (std::size_t i = 0; i < svns.size(); ++i) svns[i] = components[i].svn;
  return svns;
}

/// What a machine has once it installed the newest of everything.
MachineTcb installed(MachineTcb machine, const PublishedTcb& published) {
  const auto& platform = published.levels.front();
  machine.sgx_components = svns_of(platform.sgx);
  machine.pcesvn = platform.pce_svn;
  machine.tee_tcb_svn[kMicrocode] = (*platform.tdx)[kMicrocode].svn;
  machine.tee_tcb_svn[0] = static_cast<std::uint8_t>(published.modules.front().levels.front().isv_svn);
  machine.qe_isvsvn = published.qe_levels.front().isv_svn;
  return machine;
}

json::Object json_of(const Advise& act) {
  return {{"act", "advise"}, {"part", std::string{to_string(act.part)}}, {"advisory", act.advisory}};
}
json::Object json_of(const Update&) { return {{"act", "update"}}; }
json::Object json_of(const UpdateModule&) { return {{"act", "update-module"}}; }
json::Object json_of(const RevokePck& act) { return {{"act", "revoke-pck"}, {"serial", codec::to_hex(act.serial)}}; }
json::Object json_of(const Withhold&) { return {{"act", "withhold"}}; }
json::Object json_of(const Release&) { return {{"act", "release"}}; }

Result<TcbAct> read_act(json::Fields& fields) {
  const auto kind = fields.string("act");
  if (kind == "update") return TcbAct{Update{}};
  if (kind == "update-module") return TcbAct{UpdateModule{}};
  if (kind == "withhold") return TcbAct{Withhold{}};
  if (kind == "release") return TcbAct{Release{}};
  if (kind == "revoke-pck") return TcbAct{RevokePck{fields.hex("serial")}};
  if (kind != "advise") return bad("unknown act '" + kind.substr(0, kMaxAdvisory) + "'");
  const auto part_text = fields.string("part");
  CLOISTER_TRY(part, parse_tcb_part(part_text));
  return TcbAct{Advise{part, fields.string("advisory")}};
}

Result<TcbEntry> read_entry(const json::Value& value, std::size_t number) {
  json::Fields fields{value, "act " + std::to_string(number)};
  const auto at = parse_rfc3339(fields.string("at"));
  auto act = read_act(fields);
  CLOISTER_CHECK(fields.finish());
  if (!at) return at.error();
  if (!act) return act.error();
  return TcbEntry{*at, std::move(*act)};
}

Result<TcbStory> read(UnixTime created, std::string_view text) {
  if (text.size() > TcbStory::kMaxSize) return Error{Errc::limit_exceeded, "TCB story: larger than 64 KiB"};
  CLOISTER_TRY(root, json::parse(text));
  json::Fields fields{root, "TCB story"};
  TcbStory story{created};
  (void)fields.integer("version", kVersion, kVersion);
  constexpr auto kOffset = TcbStory::kMaxOffset.count();
  story.clock_offset = std::chrono::seconds{fields.integer("clock_offset_s", -kOffset, kOffset)};
  const auto& acts = fields.array("acts");
  CLOISTER_CHECK(fields.finish());
  for (const auto& item : acts) {
    CLOISTER_TRY(entry, read_entry(item, story.acts().size()));
    CLOISTER_CHECK(story.add(std::move(entry)));
  }
  return story;
}

}  // namespace

std::string_view to_string(TcbPart part) noexcept {
  switch (part) {
    case TcbPart::platform: return "platform";
    case TcbPart::module: return "module";
    case TcbPart::qe: return "qe";
  }
  return "unknown";
}

Result<TcbPart> parse_tcb_part(std::string_view text) {
  for (const auto part : {TcbPart::platform, TcbPart::module, TcbPart::qe}) {
    if (text == to_string(part)) return part;
  }
  return bad("part: platform, module or qe expected, got '" + std::string{text.substr(0, kMaxAdvisory)} + "'");
}

TcbStory::TcbStory(UnixTime created)
    : created_{std::chrono::floor<std::chrono::seconds>(created)},
      state_{TcbState::current(created)},
      newest_{state_.published, {}} {}

Result<void> TcbStory::add(TcbEntry entry) {
  entry.at = std::chrono::floor<std::chrono::seconds>(entry.at);
  if (acts_.size() >= kMaxActs) return Error{Errc::limit_exceeded, "TCB story: more than 200 acts"};
  const auto last = acts_.empty() ? created_ : acts_.back().at;
  if (entry.at < last) return bad("the lab's clock stands before the last act, " + to_rfc3339(last));
  if (const auto* advise = std::get_if<Advise>(&entry.act); advise != nullptr && !valid_advisory(advise->advisory)) {
    return bad("advisory: 1 to 64 letters, digits and '-' expected");
  }
  if (const auto* revoke = std::get_if<RevokePck>(&entry.act)) {
    if (revoke->serial.empty() || revoke->serial.size() > kMaxSerial) return bad("serial: 1 to 20 bytes expected");
  }
  if (std::holds_alternative<Withhold>(entry.act) && withheld_) return bad("collateral is withheld already");
  if (std::holds_alternative<Release>(entry.act) && !withheld_) return bad("no collateral is withheld");
  std::visit([&](const auto& act) { perform(act, entry.at); }, entry.act);
  acts_.push_back(std::move(entry));
  return {};
}

void TcbStory::perform(const Advise& act, UnixTime at) {
  auto& published = newest_.published;
  ++published.evaluation_data_number;
  const auto raise_isv = [](evidence::IsvTcbLevel& level) { ++level.isv_svn; };
  switch (act.part) {
    case TcbPart::platform:
      publish(published.levels, act.advisory, at, [](evidence::TcbLevel& level) {
        ++level.sgx[0].svn;
        ++level.sgx[1].svn;
        ++(*level.tdx)[kMicrocode].svn;
      });
      return;
    case TcbPart::module:
      for (auto& module : published.modules) publish(module.levels, act.advisory, at, raise_isv);
      return;
    case TcbPart::qe: publish(published.qe_levels, act.advisory, at, raise_isv); return;
  }
}

void TcbStory::perform(const Update&, UnixTime) { state_.machine = installed(state_.machine, newest_.published); }
void TcbStory::perform(const UpdateModule&, UnixTime) {
  state_.machine.tee_tcb_svn[0] = installed(state_.machine, newest_.published).tee_tcb_svn[0];
}
void TcbStory::perform(const RevokePck& act, UnixTime at) { newest_.revoked_pcks.push_back({act.serial, at}); }
void TcbStory::perform(const Withhold&, UnixTime at) { withheld_.emplace(newest_, at); }
void TcbStory::perform(const Release&, UnixTime) { withheld_.reset(); }

std::optional<UnixTime> TcbStory::withheld_since() const noexcept {
  return withheld_ ? std::optional{withheld_->second} : std::nullopt;
}

bool TcbStory::up_to_date() const { return installed(state_.machine, newest_.published) == state_.machine; }

std::string TcbStory::next_advisory() const {
  const auto advises = [](const auto& entry) { return std::holds_alternative<Advise>(entry.act); };
  auto number = std::to_string(std::ranges::count_if(acts_, advises) + 2);  // the first is the one that the oldest level names
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, '0');
  return "LAB-SA-" + number;
}

std::string write_tcb_story(const TcbStory& story) {
  json::Array acts;
  for (const auto& entry : story.acts()) {
    json::Object object{{"at", to_rfc3339(entry.at)}};
    auto what = std::visit([](const auto& act) { return json_of(act); }, entry.act);
    for (auto& member : what) object.push_back(std::move(member));
    acts.emplace_back(std::move(object));
  }
  return json::write_pretty(json::Object{{"version", kVersion},
                                         {"clock_offset_s", std::int64_t{story.clock_offset.count()}},
                                         {"acts", std::move(acts)}}) +
         "\n";
}

Result<TcbStory> read_tcb_story(UnixTime created, std::string_view text) {
  auto story = read(created, text);
  if (!story) return Error{Errc::configuration_invalid, story.error().detail()};
  return story;
}

}  // namespace cloister::lab
