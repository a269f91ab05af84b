#pragma once

#include <filesystem>

#include "cloister/provider/cvm_provider.hpp"
#include "cloister/provider/lab_host_wire.hpp"
#include "cloister/provider/td_image.hpp"

namespace cloister::provider {

/// LAB ONLY - NOT HARDWARE. Simulated TDs: sandboxed processes that a lab platform starts. Each call opens a connection
/// of its own to the platform's control socket, so calls do not wait for each other.
class ProcessProvider final : public CvmProvider {
 public:
  /// `image` is what every TD of this provider runs.
  ProcessProvider(std::filesystem::path control_socket, TdImage image);

  [[nodiscard]] Result<StartedCvm> start(const StartRequest& request, Deadline deadline) override;
  [[nodiscard]] Result<void> stop(const std::string& id, Deadline deadline) override;
  [[nodiscard]] Result<std::vector<std::string>> list(Deadline deadline) override;
  /// The platform's root and collateral as of now.
  [[nodiscard]] Result<LabCollateral> collateral(Deadline deadline);

 private:
  [[nodiscard]] Result<process::Frame> ask(const HostRequest& request, std::span<const int> descriptors,
                                           Deadline deadline) const;
  std::filesystem::path control_socket_;
  TdImage image_;
};

}  // namespace cloister::provider
