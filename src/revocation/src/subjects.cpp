#include "cloister/revocation/subjects.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"

namespace cloister::revocation {
namespace {

constexpr std::array<std::size_t, 1> kSessionSizes{32};
constexpr std::array<std::size_t, 2> kMeasurementSizes{32, 48};
constexpr std::array<std::size_t, 3> kChipSizes{6, 16, 64};

struct Form {
  std::span<const std::size_t> bytes;
  std::string_view expected;
};
Form form_of(Kind kind) {
  switch (kind) {
    case Kind::session: return {kSessionSizes, "SHA-256 of the session's id, 64 hex digits"};
    case Kind::token: return {{}, "the token's id"};
    case Kind::measurement: return {kMeasurementSizes, "64 or 96 hex digits, not all of them 0"};
    case Kind::chip: break;
  }
  return {kChipSizes, "12, 32 or 128 hex digits, not all of them 0"};
}

void add(std::vector<std::string>& to, ByteView value) {
  if (!all_zero(value)) to.push_back(codec::to_hex(value));
}

}  // namespace

std::string_view to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::session: return "session";
    case Kind::token: return "token";
    case Kind::measurement: return "measurement";
    case Kind::chip: return "chip";
  }
  return "session";
}

std::optional<Kind> kind_from_string(std::string_view name) noexcept {
  const auto found = std::ranges::find(kKinds, name, to_string);
  if (found == std::end(kKinds)) return std::nullopt;
  return *found;
}

Result<std::string> canonical(Kind kind, std::string_view value) {
  const auto form = form_of(kind);
  const auto refused = [&] { return Error{Errc::invalid_argument, std::string{to_string(kind)} + ": " + std::string{form.expected} + " expected"}; };
  if (kind == Kind::token) {
    if (!valid_id(value)) return refused();
    return std::string{value};
  }
  const auto bytes = codec::from_hex(value);
  if (!bytes || std::ranges::find(form.bytes, bytes->size()) == form.bytes.end() || all_zero(*bytes)) return refused();
  return codec::to_hex(*bytes);
}

Subjects subjects_of(const attestation::Claims& claims) {
  Subjects out;
  if (const auto* td = claims.td()) {
    add(out.measurements, td->mr_td);
    for (const auto& rtmr : td->rtmr) add(out.measurements, rtmr);
  }
  if (const auto* enclave = claims.sgx()) {
    add(out.measurements, enclave->mr_enclave);
    add(out.measurements, enclave->mr_signer);
  }
  if (const auto* dcap = claims.dcap(); dcap != nullptr && dcap->platform) {
    add(out.chips, dcap->platform->ppid);
    add(out.chips, dcap->platform->fmspc);
    if (dcap->platform->platform_instance_id) add(out.chips, *dcap->platform->platform_instance_id);
  }
  if (const auto* snp = claims.snp()) {
    add(out.measurements, snp->report.measurement);
    add(out.chips, snp->report.chip_id);
  }
  return out;
}

}  // namespace cloister::revocation
