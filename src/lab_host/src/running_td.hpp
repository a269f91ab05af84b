#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/device/tee_wire.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/process/child.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/process/sandbox.hpp"
#include "cloister/provider/lab_host_wire.hpp"

namespace cloister::lab_host {

/// What a TD is started with, each part read once into memory that nobody can change.
struct SealedTd {
  struct File {
    std::string path;
    std::uint32_t mode;
    process::UniqueFd memfd;
    process::SealedMapping mapping;
  };
  std::vector<File> files;
  Bytes configuration;
  std::uint32_t memory_mib;
  std::vector<Digest32> blob_digests;
  std::vector<process::UniqueFd> blobs;
};
/// `invalid_argument` when the descriptors are not the request's, or no regular files; `limit_exceeded`.
[[nodiscard]] Result<SealedTd> seal(provider::StartTd request, std::vector<process::UniqueFd> descriptors,
                                    std::size_t max_blob_bytes);

/// The ends that the starter of a TD gets.
struct TdEnds {
  process::UniqueFd stream;
  process::UniqueFd life;
};

/// What a TD runs on. The platform outlives it.
struct Silicon {
  const lab::Platform& platform;
  const std::shared_ptr<lab::tdx::Machine>& machine;
  lab::QuoteFormat quote_format;
};

/// A simulated TD: the lab's TD, and the process that stands for its inside. Ends when this does.
class RunningTd {
 public:
  static constexpr std::size_t kConsoleTail = 16U << 10;

  /// Measures and executes the same sealed bytes. `scratch` is used where there is no sandbox, and removed at the end.
  [[nodiscard]] static Result<std::pair<RunningTd, TdEnds>> start(std::string id, const SealedTd& sealed,
                                                                  const Silicon& silicon,
                                                                  const process::Sandbox& sandbox,
                                                                  std::filesystem::path scratch);
  RunningTd(RunningTd&&) noexcept = default;
  RunningTd& operator=(RunningTd&&) = delete;
  ~RunningTd();

  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] const Digest48& mrtd() const noexcept { return td_.mrtd(); }
  [[nodiscard]] process::FrameSocket& tee() noexcept { return tee_; }
  [[nodiscard]] process::FrameSocket& life() noexcept { return life_; }
  [[nodiscard]] process::ChildProcess& process() noexcept { return process_; }
  [[nodiscard]] int console_fd() const noexcept { return console_.get(); }

  /// The answer to one request of this TD's guest, about this TD.
  [[nodiscard]] Bytes answer(ByteView request);
  /// Takes what the console has; closes it at its end. False when nothing was there.
  bool read_console();
  /// The lines that came since the last call; also an unfinished one that is long, or the last.
  [[nodiscard]] std::vector<std::string> take_lines();
  [[nodiscard]] const std::string& console_tail() const noexcept { return console_tail_; }

 private:
  RunningTd(std::string id, const Silicon& silicon, lab::tdx::Td td, process::ChildProcess process,
            process::FrameSocket tee, process::FrameSocket life, process::UniqueFd console,
            std::filesystem::path scratch);
  [[nodiscard]] Result<Bytes> perform(const device::TeeRequest& request);
  [[nodiscard]] Result<Bytes> td_report(const Digest64& report_data) const;

  std::string id_;
  const lab::Platform* platform_;
  lab::QuoteFormat quote_format_;
  lab::tdx::Td td_;
  process::ChildProcess process_;
  process::FrameSocket tee_;
  process::FrameSocket life_;
  process::UniqueFd console_;
  std::string console_tail_;
  std::string console_line_;  // what was not taken yet
  std::filesystem::path scratch_;
};

}  // namespace cloister::lab_host
