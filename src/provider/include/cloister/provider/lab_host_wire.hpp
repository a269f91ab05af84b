#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/provider/cvm_provider.hpp"

/// What goes over the lab platform's control socket (docs/protocol/lab-host.md), both ends.
namespace cloister::provider {

inline constexpr std::size_t kMaxTdFiles = 128;
inline constexpr std::size_t kMaxTdBlobs = 128;
inline constexpr std::size_t kMaxConfiguration = 64U << 10;
/// A request carries its files and blobs as descriptors.
inline constexpr process::FrameLimits kHostRequestLimits{.bytes = 256U << 10, .descriptors = 200};
/// The answer to a start carries two descriptors.
inline constexpr process::FrameLimits kHostAnswerLimits{.bytes = 16U << 20, .descriptors = 2};
inline constexpr process::FrameLimits kExitLimits{.bytes = 64U << 10, .descriptors = 0};

struct StartTd {
  struct File {
    std::string path;
    std::uint32_t mode = 0;
    friend bool operator==(const File&, const File&) = default;
  };
  std::vector<File> files;      // a descriptor each, first
  Bytes configuration;
  std::uint32_t memory_mib = 0;  // at least 1
  std::vector<Digest32> blobs;  // a descriptor each, after the files
  friend bool operator==(const StartTd&, const StartTd&) = default;
};
struct StopTd {
  std::string id;
  friend bool operator==(const StopTd&, const StopTd&) = default;
};
struct ListTds {
  friend bool operator==(const ListTds&, const ListTds&) = default;
};
struct GetCollateral {
  friend bool operator==(const GetCollateral&, const GetCollateral&) = default;
};
using HostRequest = std::variant<StartTd, StopTd, ListTds, GetCollateral>;

[[nodiscard]] Bytes encode(const HostRequest& request);
/// `unsupported` for an operation that is not known, `limit_exceeded` above the limits; else the codec's errors.
[[nodiscard]] Result<HostRequest> decode_host_request(ByteView bytes);

struct TdStarted {
  std::string id;
  Digest48 mrtd{};
};
/// What a verifier of the platform's quotes needs.
struct LabCollateral {
  std::string root_pem;
  std::string collateral_json;  // QuoteCollateralV3
};

[[nodiscard]] Bytes encode_start_answer(const TdStarted& started);
[[nodiscard]] Bytes encode_stop_answer();
[[nodiscard]] Bytes encode_list_answer(const std::vector<std::string>& ids);
[[nodiscard]] Bytes encode_collateral_answer(const LabCollateral& collateral);
[[nodiscard]] Bytes encode_host_error(const Error& error);
[[nodiscard]] Bytes encode_exit(const CvmExit& exit);

/// These return the error that the platform answered with, too.
[[nodiscard]] Result<TdStarted> decode_start_answer(ByteView bytes);
[[nodiscard]] Result<void> decode_stop_answer(ByteView bytes);
[[nodiscard]] Result<std::vector<std::string>> decode_list_answer(ByteView bytes);
[[nodiscard]] Result<LabCollateral> decode_collateral_answer(ByteView bytes);
[[nodiscard]] Result<CvmExit> decode_exit(ByteView bytes);

}  // namespace cloister::provider
