#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "cloister/core/assert.hpp"

namespace cloister {

/// Why something was refused or failed. Stable: the names are part of the public interface.
enum class Errc {
#define CLOISTER_ERRC(name, status) name,
#include "cloister/core/errc.def"
#undef CLOISTER_ERRC
};

/// The code's name as it appears in problem documents, reports and metrics, e.g. "not_found".
[[nodiscard]] std::string_view to_string(Errc code) noexcept;
/// The code of that name, or nothing.
[[nodiscard]] std::optional<Errc> errc_from_string(std::string_view name) noexcept;
/// The HTTP status that a problem of this code is answered with (4xx or 5xx).
[[nodiscard]] int http_status(Errc code) noexcept;

/// A code and a sentence that says what was expected and what was found. Never holds a secret.
class [[nodiscard]] Error {
 public:
  explicit Error(Errc code, std::string detail = {}) : code_{code}, detail_{std::move(detail)} {}
  [[nodiscard]] Errc code() const noexcept { return code_; }
  [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
  /// "code: detail", for logs and command lines.
  [[nodiscard]] std::string text() const;
  /// The same code, with `where` put before the detail ("where: detail").
  [[nodiscard]] Error in(std::string_view where) const;

 private:
  Errc code_;
  std::string detail_;
};

/// A value or an Error. Constructible from either; must not be dropped.
template <class T>
class [[nodiscard]] Result {
  static_assert(!std::is_reference_v<T> && !std::is_same_v<T, Error>);

 public:
  using value_type = T;
  Result(T value) : state_{std::in_place_index<0>, std::move(value)} {}       // NOLINT(google-explicit-constructor)
  Result(Error error) : state_{std::in_place_index<1>, std::move(error)} {}   // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] T& value() & { CLOISTER_ASSERT(ok()); return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& { CLOISTER_ASSERT(ok()); return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && { CLOISTER_ASSERT(ok()); return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] T& operator*() & { return value(); }
  [[nodiscard]] const T& operator*() const& { return value(); }
  [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() { return &value(); }
  [[nodiscard]] const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const& { CLOISTER_ASSERT(!ok()); return *std::get_if<1>(&state_); }
  [[nodiscard]] Error error() && { CLOISTER_ASSERT(!ok()); return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_{std::move(error)} {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] bool ok() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] const Error& error() const& { CLOISTER_ASSERT(error_); return *error_; }
  [[nodiscard]] Error error() && { CLOISTER_ASSERT(error_); return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace cloister

/// `CLOISTER_TRY(name, expression);` binds the value of a Result to `name`, or returns its error.
/// `CLOISTER_CHECK(expression);` returns the error of a Result<void>. Not for coroutines (they `co_return`).
#define CLOISTER_CONCAT_(a, b) a##b
#define CLOISTER_CONCAT(a, b) CLOISTER_CONCAT_(a, b)
#define CLOISTER_TRY(name, ...) CLOISTER_TRY_(CLOISTER_CONCAT(try_result_, __LINE__), name, __VA_ARGS__)
#define CLOISTER_TRY_(temporary, name, ...)            \
  auto temporary = (__VA_ARGS__);                      \
  if (!temporary) return std::move(temporary).error(); \
  auto name = std::move(temporary).value()
#define CLOISTER_CHECK(...)                                                     \
  if (auto check_result = (__VA_ARGS__); !check_result) return std::move(check_result).error()
