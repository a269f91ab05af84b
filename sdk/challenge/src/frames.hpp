#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "cloister/sdk/challenge.hpp"

/// The challenge's side of docs/protocol/challenge.md: frames of the guest, decoded, and frames for it.
namespace cloister::sdk {

inline constexpr std::size_t kMaxFrame = 80U << 20;
inline constexpr std::size_t kMaxOutput = 64U << 20;

struct Start {
  Secrets secrets;
};
/// Overwrites bytes that are not used any more; the compiler does not drop it.
void wipe(Bytes& bytes) noexcept;

/// Overwrites its payload when it goes.
struct Job {
  Job(std::string name, Bytes bytes) noexcept : id{std::move(name)}, payload{std::move(bytes)} {}
  Job(Job&&) noexcept = default;
  Job& operator=(Job&&) = delete;
  ~Job() { wipe(payload); }
  std::string id;
  Bytes payload;
};
struct Stop {};
using FromGuest = std::variant<Start, Job, Stop>;

/// One frame without its length.
[[nodiscard]] Result<FromGuest> decode(ByteView frame);

// Whole frames, length included.
[[nodiscard]] Bytes ready_frame(unsigned slots);
[[nodiscard]] Bytes failed_frame(std::string_view detail);
[[nodiscard]] Bytes progress_frame(std::string_view job, unsigned percent);
[[nodiscard]] Bytes log_frame(LogLevel level, std::string_view text);
/// Holds the output: to be wiped.
[[nodiscard]] Bytes result_frame(std::string_view job, bool ok, ByteView output);

}  // namespace cloister::sdk
