#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::storage {

/// The statement at its first row; `not_found`, with `what`, when it has none.
[[nodiscard]] inline Result<Rows> first_row(const Reading& reading, std::string_view what, Sql sql,
                                            std::initializer_list<Param> params) {
  CLOISTER_TRY(rows, reading.query(sql, params));
  CLOISTER_TRY(found, rows.next());
  if (!found) return Error{Errc::not_found, std::string{what}};
  return rows;
}

/// One row's value, made by `read(rows)`, which reads all columns.
template <class Read>
[[nodiscard]] auto read_one(const Reading& reading, std::string_view what, Sql sql, std::initializer_list<Param> params,
                            Read read) -> Result<decltype(read(std::declval<Rows&>()))> {
  CLOISTER_TRY(rows, first_row(reading, what, sql, params));
  auto value = read(rows);
  CLOISTER_CHECK(rows.end_row());
  return value;
}

/// Every row's value, in order.
template <class Read>
[[nodiscard]] auto read_all(const Reading& reading, Sql sql, std::initializer_list<Param> params, Read read)
    -> Result<std::vector<decltype(read(std::declval<Rows&>()))>> {
  CLOISTER_TRY(rows, reading.query(sql, params));
  std::vector<decltype(read(rows))> values;
  for (;;) {
    CLOISTER_TRY(more, rows.next());
    if (!more) return values;
    values.push_back(read(rows));
    CLOISTER_CHECK(rows.end_row());
  }
}

/// A text column that holds the name of an enumerator.
template <class Enum>
[[nodiscard]] Enum read_name(Rows& rows, std::optional<Enum> (*parse)(std::string_view)) {
  const auto text = rows.text();
  if (const auto value = parse(text)) return *value;
  rows.fail("unknown name '" + text + "'");
  return {};
}

/// The result of a change that must touch one row at least; `not_found`, with `what`, otherwise.
[[nodiscard]] inline Result<void> need_change(const Result<std::uint64_t>& changed, std::string_view what) {
  if (!changed) return changed.error();
  if (*changed == 0) return Error{Errc::not_found, std::string{what}};
  return {};
}

}  // namespace cloister::storage
