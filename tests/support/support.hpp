#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"

namespace cloister::test {

/// The folder of public vectors: `CLOISTER_VECTORS`, else `../shared/vectors` beside the checkout; nothing if absent.
[[nodiscard]] std::optional<std::filesystem::path> vectors();
/// The root of the checkout.
[[nodiscard]] std::filesystem::path source_dir();
/// The whole file; fails the running test when it cannot be read.
[[nodiscard]] Bytes read_file(const std::filesystem::path& path);
[[nodiscard]] std::string read_text(const std::filesystem::path& path);

/// A directory of its own, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// A clock that moves only when told to. Thread-safe; whoever reads both times while it moves may see one of them moved.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(UnixTime now) : now_{to_micros(now)} {}
  [[nodiscard]] UnixTime now() const override { return from_micros(now_); }
  [[nodiscard]] SteadyTime steady() const override { return SteadyTime{std::chrono::microseconds{steady_}}; }
  void advance(std::chrono::microseconds span) {
    now_ += span.count();
    steady_ += span.count();
  }
  /// A jump of the wall clock alone.
  void set(UnixTime now) { now_ = to_micros(now); }

 private:
  std::atomic<std::int64_t> now_;
  std::atomic<std::int64_t> steady_{0};
};

/// The same bytes for the same seed (a counter through splitmix64): for tests only.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_{seed} {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::uint64_t state_;
};

}  // namespace cloister::test

/// Skips the running test, visibly, when the public vectors are not there; else binds their folder to `name`.
#define CLOISTER_VECTORS_OR_SKIP(name)                                                                    \
  const auto name##_found = ::cloister::test::vectors();                                                  \
  if (!name##_found) GTEST_SKIP() << "public vectors not found: set CLOISTER_VECTORS to their folder";     \
  const auto& name = *name##_found
