#include "cloister/core/result.hpp"

#include <array>

namespace cloister {
namespace {

struct Entry {
  std::string_view name;
  int status;
};

constexpr std::array kEntries = {
#define CLOISTER_ERRC(name, status) Entry{#name, status},
#include "cloister/core/errc.def"
#undef CLOISTER_ERRC
};

const Entry& entry(Errc code) noexcept { return kEntries[static_cast<std::size_t>(code)]; }

}  // namespace

std::string_view to_string(Errc code) noexcept { return entry(code).name; }

std::optional<Errc> errc_from_string(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kEntries.size(); ++i) {
    if (kEntries[i].name == name) return static_cast<Errc>(i);
  }
  return std::nullopt;
}

int http_status(Errc code) noexcept { return entry(code).status; }

std::string Error::text() const {
  std::string out{to_string(code_)};
  if (!detail_.empty()) out += ": " + detail_;
  return out;
}

Error Error::in(std::string_view where) const {
  std::string detail{where};
  if (!detail_.empty()) detail += ": " + detail_;
  return Error{code_, std::move(detail)};
}

}  // namespace cloister
