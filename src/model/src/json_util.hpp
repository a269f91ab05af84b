#pragma once

#include <optional>
#include <string>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/time.hpp"

/// Members that several model types have in common.
namespace cloister::model::detail {

template <class Name>
[[nodiscard]] Name id(codec::json::Fields& fields, std::string_view member) {
  const auto text = fields.string(member);
  if (fields.failed()) return {};
  auto parsed = Name::parse(text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return {};
  }
  return *std::move(parsed);
}

[[nodiscard]] inline UnixTime time(codec::json::Fields& fields, std::string_view member) {
  const auto text = fields.string(member);
  if (fields.failed()) return {};
  auto parsed = parse_rfc3339(text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return {};
  }
  return *parsed;
}

[[nodiscard]] inline std::optional<UnixTime> optional_time(codec::json::Fields& fields, std::string_view member) {
  const auto text = fields.optional_string(member);
  if (!text || fields.failed()) return std::nullopt;
  auto parsed = parse_rfc3339(*text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return std::nullopt;
  }
  return *parsed;
}

/// An enumerator by its name.
template <class Enum>
[[nodiscard]] Enum enumerator(codec::json::Fields& fields, std::string_view member,
                              std::optional<Enum> (*from)(std::string_view) noexcept) {
  const auto text = fields.string(member);
  if (fields.failed()) return {};
  const auto value = from(text);
  if (!value) fields.fail(Errc::invalid_argument, member, "'" + text.substr(0, 40) + "' is not known");
  return value.value_or(Enum{});
}

}  // namespace cloister::model::detail
