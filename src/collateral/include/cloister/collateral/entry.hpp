#pragma once

#include <string>
#include <string_view>

#include "cloister/collateral/document.hpp"

namespace cloister::collateral {

/// A cached document and how it came here.
struct Entry {
  Document document;
  Validators validators;  // for the service `source`
  std::string source;     // the endpoint's address, or "import"
  UnixTime fetched{};     // when this document came
  UnixTime checked{};     // when it was last known to be the newest; not before `fetched`
  friend bool operator==(const Entry&, const Entry&) = default;
};

inline constexpr std::size_t kMaxEntrySize = 24U << 20;  // bytes of an entry's file

/// One JSON object: version, key, source, times, validators, and the document itself.
[[nodiscard]] std::string write_entry(const Entry& entry);
/// The document is read anew (`read_document`), so that a damaged file gives none. parse_entry(write_entry(e)) == e.
/// `collateral_malformed`, also for a version or a member that is not known; what `read_document` refuses.
[[nodiscard]] Result<Entry> parse_entry(std::string_view text);

}  // namespace cloister::collateral
