#include "cloister/evidence/snp/vek.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/der.hpp"

namespace cloister::evidence {
namespace {

namespace der = codec::der;
namespace x509 = crypto::x509;

constexpr std::uint64_t kLastStructVersion = 1;
constexpr std::size_t kHwidSize = 64;
constexpr std::size_t kShortHwidSize = 8;
constexpr std::size_t kMaxText = 256;

constexpr std::string_view kStructVersion = "1";
constexpr std::string_view kProductName = "2";
constexpr std::string_view kBootloader = "3.1";
constexpr std::string_view kTee = "3.2";
constexpr std::string_view kSnp = "3.3";
constexpr std::string_view kSpl4 = "3.4";
constexpr std::string_view kSpl5 = "3.5";
constexpr std::string_view kSpl6 = "3.6";
constexpr std::string_view kSpl7 = "3.7";
constexpr std::string_view kMicrocode = "3.8";
constexpr std::string_view kFmc = "3.9";
constexpr std::string_view kHwid = "4";
constexpr std::string_view kCspId = "5";

const Bytes& arc() {
  static const Bytes kArc = der::oid(kVekExtensionArc);
  return kArc;
}

Bytes oid_of(std::string_view member) { return der::oid(std::string{kVekExtensionArc} + '.' + std::string{member}); }

/// The numbers below the arc, one byte each in this arc; empty when it is not below.
ByteView below_arc(const x509::Extension& extension) {
  const auto oid = ByteView{extension.oid};
  if (oid.size() <= arc().size() || !same_bytes(oid.first(arc().size()), arc())) return {};
  return oid.subspan(arc().size());
}

/// Whether the numbers are those of a name above, each of one digit.
bool is_member(ByteView numbers, std::string_view name) {
  if (numbers.empty() || name.size() != 2 * numbers.size() - 1) return false;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] != static_cast<std::uint8_t>(name[2 * i] - '0')) return false;
  }
  return true;
}

Error malformed(std::string_view member, std::string detail) {
  return Error{Errc::certificate_malformed,
               "VEK extension " + std::string{kVekExtensionArc} + '.' + std::string{member} + ": " + std::move(detail)};
}

class Members {
 public:
  explicit Members(std::span<const x509::Extension> extensions) : extensions_{extensions} {}

  [[nodiscard]] const Bytes* find(std::string_view member) const {
    const auto found = std::ranges::find_if(extensions_, [&](const auto& one) { return is_member(below_arc(one), member); });
    return found == extensions_.end() ? nullptr : &found->value;
  }

  [[nodiscard]] Result<std::uint64_t> integer(std::string_view member, std::uint64_t max) const {
    const auto* value = find(member);
    if (value == nullptr) return malformed(member, "missing");
    der::Reader in{*value};
    const auto number = in.uint();
    if (const auto done = in.finish(); !done) return malformed(member, done.error().detail());
    if (number > max) return malformed(member, "at most " + std::to_string(max) + " expected, got " + std::to_string(number));
    return number;
  }

  [[nodiscard]] Result<std::uint8_t> level(std::string_view member) const {
    CLOISTER_TRY(number, integer(member, 0xFF));
    return static_cast<std::uint8_t>(number);
  }

  [[nodiscard]] Result<std::optional<std::uint8_t>> optional_level(std::string_view member) const {
    if (find(member) == nullptr) return std::optional<std::uint8_t>{};
    CLOISTER_TRY(number, level(member));
    return std::optional{number};
  }

  [[nodiscard]] Result<std::string> text(std::string_view member) const {
    const auto* value = find(member);
    if (value == nullptr) return malformed(member, "missing");
    der::Reader in{*value};
    const auto element = in.expect(der::tag::kIa5String);
    if (const auto done = in.finish(); !done) return malformed(member, done.error().detail());
    const auto printable = [](std::uint8_t c) { return c >= 0x20 && c < 0x7F; };
    if (element.contents.empty() || element.contents.size() > kMaxText || !std::ranges::all_of(element.contents, printable)) {
      return malformed(member, "printable ASCII expected");
    }
    return std::string{as_text(element.contents)};
  }

  /// Levels of numbers that nobody knows would go uncompared.
  [[nodiscard]] Result<void> check_levels() const {
    for (const auto& extension : extensions_) {
      const auto member = below_arc(extension);
      if (member.empty() || member.front() != 3) continue;
      if (member.size() == 2 && member.back() >= 1 && member.back() <= 9) continue;
      return Error{Errc::certificate_malformed, "VEK extension " + der::oid_text(extension.oid) + ": a patch level that is not known"};
    }
    return {};
  }

 private:
  std::span<const x509::Extension> extensions_;
};

/// Raw, or wrapped: lengths tell.
Result<Bytes> read_hwid(const Bytes& value) {
  const auto fits = [](std::size_t size) { return size == kHwidSize || size == kShortHwidSize; };
  if (fits(value.size())) return value;
  der::Reader in{value};
  const auto contents = in.octet_string();
  if (!in.finish() || !fits(contents.size())) return malformed(kHwid, "8 or 64 bytes expected, raw or as an OCTET STRING");
  return to_bytes(contents);
}

}  // namespace

SnpTcbVersion VekExtension::tcb_version() const noexcept {
  if (fmc) return {*fmc, bootloader, tee, snp, spl5, spl6, spl7, microcode};
  return {bootloader, tee, spl4.value_or(0), spl5, spl6, spl7, snp, microcode};
}

Result<VekExtension> parse_vek_extension(std::span<const x509::Extension> extensions) {
  const Members members{extensions};
  CLOISTER_CHECK(members.check_levels());
  VekExtension out;
  CLOISTER_TRY(struct_version, members.integer(kStructVersion, kLastStructVersion));
  out.struct_version = struct_version;
  CLOISTER_TRY(product_name, members.text(kProductName));
  out.product_name = std::move(product_name);
  for (const auto& [member, level] : {std::pair{kBootloader, &VekExtension::bootloader}, {kTee, &VekExtension::tee},
                                      {kSnp, &VekExtension::snp}, {kSpl5, &VekExtension::spl5},
                                      {kSpl6, &VekExtension::spl6}, {kSpl7, &VekExtension::spl7},
                                      {kMicrocode, &VekExtension::microcode}}) {
    CLOISTER_TRY(value, members.level(member));
    out.*level = value;
  }
  CLOISTER_TRY(spl4, members.optional_level(kSpl4));
  out.spl4 = spl4;
  CLOISTER_TRY(fmc, members.optional_level(kFmc));
  out.fmc = fmc;
  if (out.fmc.has_value() == out.spl4.has_value()) return malformed(kFmc, "either it or .3.4 expected");
  if (const auto* hwid = members.find(kHwid)) {
    CLOISTER_TRY(read, read_hwid(*hwid));
    out.hwid = std::move(read);
  }
  if (members.find(kCspId) != nullptr) {
    CLOISTER_TRY(csp_id, members.text(kCspId));
    out.csp_id = std::move(csp_id);
  }
  if (out.hwid.has_value() == out.csp_id.has_value()) return malformed(kHwid, "either it or .5 expected");
  if (out.hwid && (out.hwid->size() == kShortHwidSize) != out.fmc.has_value()) {
    return malformed(kHwid, out.fmc ? "8 bytes expected, as there is an FMC level" : "64 bytes expected");
  }
  return out;
}

Result<VekExtension> vek_extension(const x509::Certificate& certificate) {
  return parse_vek_extension(certificate.extensions);
}

bool is_vek(const x509::Certificate& certificate) {
  return std::ranges::any_of(certificate.extensions, [](const auto& extension) { return !below_arc(extension).empty(); });
}

std::vector<x509::Extension> encode_vek_extension(const VekExtension& e, HwidForm form) {
  std::vector<x509::Extension> out;
  const auto add = [&out](std::string_view member, Bytes value) { out.push_back({oid_of(member), false, std::move(value)}); };
  const auto text = [](std::string_view value) { return der::element(der::tag::kIa5String, as_bytes(value)); };
  add(kStructVersion, der::integer(e.struct_version));
  add(kProductName, text(e.product_name));
  add(kBootloader, der::integer(e.bootloader));
  add(kTee, der::integer(e.tee));
  add(kSnp, der::integer(e.snp));
  if (e.spl4) add(kSpl4, der::integer(*e.spl4));
  add(kSpl5, der::integer(e.spl5));
  add(kSpl6, der::integer(e.spl6));
  add(kSpl7, der::integer(e.spl7));
  add(kMicrocode, der::integer(e.microcode));
  if (e.fmc) add(kFmc, der::integer(*e.fmc));
  if (e.hwid) add(kHwid, form == HwidForm::raw ? *e.hwid : der::octet_string(*e.hwid));
  if (e.csp_id) add(kCspId, text(*e.csp_id));
  return out;
}

}  // namespace cloister::evidence
