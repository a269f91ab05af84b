#pragma once

#include <p11-kit/pkcs11.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister::kms {

/// "CKR_PIN_INCORRECT", or the number of a code that is the vendor's own.
[[nodiscard]] std::string name_of(CK_RV code);
/// What a call that failed means to a caller: `call` failed with `code`.
[[nodiscard]] Error failure(std::string_view call, CK_RV code);

/// A vendor's PKCS#11 library, loaded and initialised for threads. PKCS#11 knows one state a process, not one a user:
/// who names the same file shares one Module. The code stays in the process, since libraries of that kind leave
/// handlers behind. Thread-safe.
class Module {
 public:
  /// `configuration_invalid` for a file that is no such library, or one of a version before 2.
  [[nodiscard]] static Result<std::shared_ptr<Module>> load(const std::filesystem::path& file);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  ~Module();

  [[nodiscard]] const CK_FUNCTION_LIST& calls() const noexcept { return *calls_; }

  /// Held around every use of handles: they end with `restart`.
  [[nodiscard]] std::shared_lock<std::shared_timed_mutex> hold() { return std::shared_lock{gate_}; }
  /// How often the library was restarted. Read while holding.
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  /// Ends the library's state and begins a new one, unless somebody did since `seen`: a library that lost its HSM
  /// finds it only so. `unavailable` when calls of others do not come back within `patience`.
  [[nodiscard]] Result<void> restart(std::uint64_t seen, std::chrono::milliseconds patience);

 private:
  Module(std::filesystem::path file, const CK_FUNCTION_LIST* calls) : file_{std::move(file)}, calls_{calls} {}
  [[nodiscard]] Result<void> initialise();

  std::filesystem::path file_;
  const CK_FUNCTION_LIST* calls_;
  std::shared_timed_mutex gate_;
  std::uint64_t epoch_ = 0;     // guarded by gate_
  bool initialised_ = false;    // guarded by gate_ once the module is shared
};

}  // namespace cloister::kms
