#include "cloister/lab_snp/tcb_story.hpp"

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::lab_snp {
namespace {

namespace json = codec::json;
using evidence::SnpProduct;
using evidence::SnpTcb;
using evidence::VekKind;

constexpr std::int64_t kVersion = 1;
constexpr std::size_t kMaxWord = 64;

Error bad(std::string why) { return Error{Errc::invalid_argument, "SNP story: " + std::move(why)}; }

std::string shown(std::string_view word) { return "'" + std::string{word.substr(0, kMaxWord)} + "'"; }

std::size_t index_of(SnpProduct product) {
  return static_cast<std::size_t>(std::ranges::find(kLabProducts, product) - kLabProducts.begin());
}

std::size_t index_of(VekKind kind) { return kind == VekKind::vlek ? 1 : 0; }
std::string_view issuer_of(VekKind kind) { return kind == VekKind::vlek ? "asvk" : "ask"; }

Result<void> check_shape(const SnpTcb& tcb, SnpProduct product) {
  if (tcb.fmc.has_value() == evidence::has_fmc(product)) return {};
  return bad(std::string{evidence::to_string(product)} + (tcb.fmc ? " has no FMC component" : " has an FMC component, and none is given"));
}

void raise(std::uint8_t& reached, std::uint8_t now) { reached = std::max(reached, now); }

void raise(SnpTcb& reached, const SnpTcb& now) {
  raise(reached.bootloader, now.bootloader);
  raise(reached.tee, now.tee);
  raise(reached.snp, now.snp);
  raise(reached.microcode, now.microcode);
  if (now.fmc) reached.fmc = std::max(reached.fmc.value_or(0), *now.fmc);
}

Error firmware_refuses(std::string_view command, const SnpTcb& have, const SnpTcb& need, std::string_view why) {
  const auto gaps = evidence::snp_tcb_gaps(have, need);
  CLOISTER_ASSERT(!gaps.empty());
  const auto& gap = gaps.front();
  return bad(std::string{command} + ": " + std::string{gap.component} + ' ' + std::string{why} + ": " + std::to_string(gap.have) +
             " < " + std::to_string(gap.need) + " (INVALID_PARAM)");
}

std::string hex(const SnpTcb& tcb, SnpProduct product) { return codec::to_hex(evidence::encode_snp_tcb(tcb, product)); }

/// What a kind of act adds to its line.
struct Written {
  SnpProduct product;
  json::Object operator()(const Load& act) const { return {{"act", "load"}, {"tcb", hex(act.tcb, product)}}; }
  json::Object operator()(const Commit&) const { return {{"act", "commit"}}; }
  json::Object operator()(const SetReported& act) const { return {{"act", "set-reported"}, {"tcb", hex(act.tcb, product)}}; }
  json::Object operator()(const RevokeIssuer& act) const {
    return {{"act", "revoke"}, {"issuer", std::string{issuer_of(act.of)}}};
  }
  json::Object operator()(const WithholdList&) const { return {{"act", "withhold"}}; }
  json::Object operator()(const ReleaseList&) const { return {{"act", "release"}}; }
};

Result<SnpTcb> read_tcb(json::Fields& fields, SnpProduct product) {
  const auto version = fields.hex_array<8>("tcb");
  const auto tcb = evidence::snp_tcb(version, product);
  if (!fields.failed() && evidence::encode_snp_tcb(tcb, product) != version) return bad("tcb: reserved bytes are not zero");
  return tcb;
}

Result<TcbAct> read_act(json::Fields& fields, SnpProduct product) {
  const auto kind = fields.string("act");
  if (kind == "commit") return TcbAct{Commit{}};
  if (kind == "withhold") return TcbAct{WithholdList{}};
  if (kind == "release") return TcbAct{ReleaseList{}};
  if (kind == "revoke") {
    const auto issuer = fields.string("issuer");
    if (issuer != "ask" && issuer != "asvk") return bad("issuer: ask or asvk expected, got " + shown(issuer));
    return TcbAct{RevokeIssuer{issuer == "asvk" ? VekKind::vlek : VekKind::vcek}};
  }
  if (kind != "load" && kind != "set-reported") return bad("unknown act " + shown(kind));
  CLOISTER_TRY(tcb, read_tcb(fields, product));
  return kind == "load" ? TcbAct{Load{tcb}} : TcbAct{SetReported{tcb}};
}

Result<TcbEntry> read_entry(const json::Value& value, std::size_t number) {
  json::Fields fields{value, "act " + std::to_string(number)};
  const auto at = parse_rfc3339(fields.string("at"));
  const auto name = fields.string("product");
  const auto product = evidence::snp_product_from_name(name);
  auto act = read_act(fields, product.value_or(SnpProduct::milan));
  CLOISTER_CHECK(fields.finish());
  if (!at) return at.error();
  if (!product || evidence::to_string(*product) != name) return bad("product: Milan, Genoa or Turin expected, got " + shown(name));
  if (!act) return act.error();
  return TcbEntry{*at, *product, std::move(*act)};
}

Result<TcbStory> read(UnixTime created, std::string_view text) {
  if (text.size() > TcbStory::kMaxSize) return Error{Errc::limit_exceeded, "SNP story: larger than 64 KiB"};
  CLOISTER_TRY(root, json::parse(text));
  json::Fields fields{root, "SNP story"};
  (void)fields.integer("version", kVersion, kVersion);
  const auto& acts = fields.array("acts");
  CLOISTER_CHECK(fields.finish());
  TcbStory story{created};
  for (const auto& item : acts) {
    CLOISTER_TRY(entry, read_entry(item, story.acts().size()));
    auto added = story.add(std::move(entry));
    if (!added) return added.error().in("act " + std::to_string(story.acts().size()));
  }
  return story;
}

}  // namespace

TcbStory::TcbStory(UnixTime created) : created_{std::chrono::floor<std::chrono::seconds>(created)} {
  for (const auto product : kLabProducts) {
    const auto tcb = usual_tcb(product);
    machines_[index_of(product)] = {PlatformOptions::at(product, tcb), tcb, {}, {}};
  }
}

const TcbStory::Machine& TcbStory::of(SnpProduct product) const {
  CLOISTER_ASSERT(index_of(product) < machines_.size());
  return machines_[index_of(product)];
}

Result<void> TcbStory::add(TcbEntry entry) {
  entry.at = std::chrono::floor<std::chrono::seconds>(entry.at);
  if (index_of(entry.product) == machines_.size()) return bad("the lab has no machine of " + std::string{evidence::to_string(entry.product)});
  if (acts_.size() >= kMaxActs) return Error{Errc::limit_exceeded, "SNP story: more than 200 acts"};
  const auto last = acts_.empty() ? created_ : acts_.back().at;
  if (entry.at < last) return bad("the lab's clock stands before the last act, " + to_rfc3339(last));

  auto machine = of(entry.product);
  if (const auto* load = std::get_if<Load>(&entry.act)) {
    CLOISTER_CHECK(check_shape(load->tcb, entry.product));
    if (machine.platform.load(load->tcb) != Status::success) {
      return firmware_refuses("load", load->tcb, machine.platform.committed, "is below what is committed");
    }
    raise(machine.reached, load->tcb);
  } else if (std::holds_alternative<Commit>(entry.act)) {
    machine.platform.commit();
  } else if (const auto* report = std::get_if<SetReported>(&entry.act)) {
    CLOISTER_CHECK(check_shape(report->tcb, entry.product));
    if (machine.platform.set_reported(report->tcb) != Status::success) {
      return firmware_refuses("report", machine.platform.committed, report->tcb, "of what is committed is less");
    }
  } else if (const auto* revoke = std::get_if<RevokeIssuer>(&entry.act)) {
    auto& at = machine.revoked[index_of(revoke->of)];
    if (at) return bad(std::string{issuer_of(revoke->of)} + " is revoked already");
    at = entry.at;
  } else if (std::holds_alternative<WithholdList>(entry.act)) {
    if (machine.withheld) return bad("the list is withheld already");
    machine.withheld.emplace(machine.revoked, entry.at);
  } else {
    if (!machine.withheld) return bad("no list is withheld");
    machine.withheld.reset();
  }
  machines_[index_of(entry.product)] = machine;
  acts_.push_back(std::move(entry));
  return {};
}

std::optional<UnixTime> TcbStory::revoked(SnpProduct product, VekKind kind) const { return of(product).revoked[index_of(kind)]; }

std::optional<UnixTime> TcbStory::shown_revoked(SnpProduct product, VekKind kind) const {
  const auto& machine = of(product);
  return (machine.withheld ? machine.withheld->first : machine.revoked)[index_of(kind)];
}

std::optional<UnixTime> TcbStory::withheld_since(SnpProduct product) const {
  const auto& withheld = of(product).withheld;
  return withheld ? std::optional{withheld->second} : std::nullopt;
}

Bytes issue_crl(const Authority& authority, const TcbStory& story, SnpProduct product, UnixTime now) {
  std::vector<crypto::x509::RevokedEntry> revoked;
  for (const auto kind : {VekKind::vcek, VekKind::vlek}) {
    if (const auto at = story.shown_revoked(product, kind)) revoked.push_back({authority.issuer(product, kind)->serial, *at});
  }
  return authority.crl(product, std::min(now, story.withheld_since(product).value_or(now)), std::move(revoked));
}

std::string write_tcb_story(const TcbStory& story) {
  json::Array acts;
  for (const auto& entry : story.acts()) {
    json::Object object{{"at", to_rfc3339(entry.at)}, {"product", std::string{evidence::to_string(entry.product)}}};
    auto what = std::visit(Written{entry.product}, entry.act);
    for (auto& member : what) object.push_back(std::move(member));
    acts.emplace_back(std::move(object));
  }
  return json::write_pretty(json::Object{{"version", kVersion}, {"acts", std::move(acts)}}) + "\n";
}

Result<TcbStory> read_tcb_story(UnixTime created, std::string_view text) {
  auto story = read(created, text);
  if (!story) return Error{Errc::configuration_invalid, story.error().detail()};
  return story;
}

}  // namespace cloister::lab_snp
