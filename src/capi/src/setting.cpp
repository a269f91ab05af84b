#include "setting.hpp"

#include <algorithm>

namespace cloister::capi {
namespace {

namespace x509 = crypto::x509;

std::string_view name_of(Member member) noexcept {
  switch (member) {
    case Member::collateral: return "collateral";
    case Member::certificates: return "certificates";
    case Member::roots: return "roots";
    case Member::lab_roots: return "lab_roots";
    case Member::policy: return "policy";
  }
  return "";
}

}  // namespace

Setting::Setting(std::span<const Part> parts) {
  for (const auto& part : parts) parts_.push_back({part.member, std::string{part.name}, to_bytes(part.content)});
}

Result<SettingPtr> Setting::parse(std::span<const Part> parts) {
  std::shared_ptr<Setting> out{new Setting{parts}};
  CLOISTER_TRY(certificates, out->read_certificates(Member::certificates));
  out->certificates_ = std::move(certificates);
  CLOISTER_TRY(anchors, out->read_anchors());
  out->anchors_ = std::move(anchors);
  CLOISTER_TRY(policy, out->read_policy());
  out->policy_ = std::move(policy);
  return SettingPtr{std::move(out)};
}

std::vector<const Setting::Owned*> Setting::of(Member member) const {
  std::vector<const Owned*> out;
  for (const auto& part : parts_) {
    if (part.member == member) out.push_back(&part);
  }
  return out;
}

Result<std::vector<x509::CertificatePtr>> Setting::read_certificates(Member member) const {
  std::vector<x509::CertificatePtr> out;
  for (const auto* part : of(member)) {
    if (auto one = x509::parse_certificate(part->content)) {
      out.push_back(*one);
      continue;
    }
    auto chain = x509::parse_chain(as_text(part->content));
    if (!chain) return chain.error().in(name_of(member));
    out.insert(out.end(), chain->begin(), chain->end());
  }
  return out;
}

/// The rules of `--trust-root` and of a trust file's `lab_roots`.
Result<attestation::TrustAnchors> Setting::read_anchors() const {
  using attestation::AnchorKind;
  using attestation::TrustAnchor;
  CLOISTER_TRY(roots, read_certificates(Member::roots));
  CLOISTER_TRY(lab_roots, read_certificates(Member::lab_roots));
  auto anchors = of(Member::roots).empty() ? attestation::TrustAnchors::vendors() : attestation::TrustAnchors{};
  for (const auto& root : roots) {
    auto anchor = TrustAnchor::make(root, AnchorKind::given);
    if (!anchor && anchor.error().code() == Errc::lab_root_not_trusted) continue;
    if (!anchor) return anchor.error().in(name_of(Member::roots));
    anchors.add(*anchor);
  }
  for (const auto& root : lab_roots) {
    auto anchor = TrustAnchor::make(root, AnchorKind::lab);
    if (!anchor) return anchor.error().in(name_of(Member::lab_roots));
    anchors.add(*anchor);
  }
  return anchors;
}

Result<policy::Policy> Setting::read_policy() const {
  const auto given = of(Member::policy);
  if (given.empty()) return policy::Policy{};
  auto parsed = policy::parse_policy(as_text(given.front()->content));
  if (!parsed) return parsed.error().in(name_of(Member::policy));
  return parsed;
}

Result<collateral::Bundle> Setting::bundle() const {
  if (bundle_) return *bundle_;
  std::vector<collateral::BundleFile> files;
  for (const auto* part : of(Member::collateral)) {
    // A document without a name is known by its place, from 1.
    files.push_back({part->name.empty() ? "document " + std::to_string(files.size() + 1) : part->name, part->content});
  }
  CLOISTER_TRY(parsed, collateral::Bundle::from_files(files));
  bundle_ = parsed;
  return parsed;
}

Result<verdict::DocumentsPtr> Setting::documents(const evidence::QuoteCollateral& found) const {
  CLOISTER_TRY(parsed, evidence::parse_documents(found));
  if (!certificates_.empty()) parsed.pck_certificate_chain = certificates_;
  return verdict::shared(std::move(parsed));
}

Result<verdict::DocumentsPtr> Setting::collateral_for(const evidence::Quote& quote) const {
  const auto given = of(Member::collateral);
  if (given.empty()) return Error{Errc::collateral_missing, "a quote needs its platform's collateral"};
  // One document is whole, and for whatever quote comes.
  const auto wanted = given.size() == 1 ? collateral::Wanted{} : collateral::wanted_by(quote);
  const PlatformKey key{wanted.tee, wanted.fmspc, wanted.ca};
  const std::lock_guard guard{lock_};
  if (const auto known = documents_.find(key); known != documents_.end()) return known->second;
  const auto find = [&]() -> Result<evidence::QuoteCollateral> {
    if (given.size() == 1) return evidence::parse_quote_collateral(as_text(given.front()->content));
    CLOISTER_TRY(all, bundle());
    return all.find(wanted);
  };
  CLOISTER_TRY(found, find());
  CLOISTER_TRY(out, documents(found));
  documents_.emplace(key, out);
  return out;
}

Result<evidence::SnpEndorsements> Setting::endorsements_for(const evidence::SnpReport& report) const {
  evidence::SnpEndorsements out{certificates_, {}};
  if (of(Member::collateral).empty()) return out;
  const std::lock_guard guard{lock_};
  CLOISTER_TRY(all, bundle());
  CLOISTER_TRY(found, all.find(report, out));
  out.add(std::move(found));
  return out;
}

bool Setting::is_of(std::span<const Part> parts) const noexcept {
  return std::ranges::equal(parts_, parts, [](const Owned& a, const Part& b) {
    return a.member == b.member && a.name == b.name && same_bytes(a.content, b.content);
  });
}

std::size_t Setting::bytes() const noexcept {
  std::size_t out = 0;
  for (const auto& part : parts_) out += part.name.size() + part.content.size();
  return out;
}

SettingPtr Settings::find(std::span<const Part> parts) const {
  const std::shared_lock guard{lock_};
  const auto found = std::ranges::find_if(kept_, [&](const auto& one) { return one->setting->is_of(parts); });
  if (found == kept_.end()) return nullptr;
  (*found)->used = ++uses_;
  return (*found)->setting;
}

void Settings::keep(SettingPtr setting) {
  const auto size = setting->bytes();
  if (size > kMostBytes) return;
  const std::unique_lock guard{lock_};
  const auto total = [this] {
    std::size_t out = 0;
    for (const auto& one : kept_) out += one->setting->bytes();
    return out;
  };
  while (kept_.size() >= kMost || total() > kMostBytes - size) {
    kept_.erase(std::ranges::min_element(kept_, {}, [](const auto& one) { return one->used.load(); }));
  }
  auto one = std::make_unique<Kept>();
  one->setting = std::move(setting);
  one->used = ++uses_;
  kept_.push_back(std::move(one));
}

}  // namespace cloister::capi
