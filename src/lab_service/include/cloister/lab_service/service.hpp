#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"
#include "cloister/http/router.hpp"
#include "cloister/lab_service/enclaves.hpp"
#include "cloister/lab_service/events.hpp"
#include "cloister/lab_service/machine.hpp"
#include "cloister/lab_service/vms.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::lab_service {

class RouteTable;

/// The evidence that was made last, of which the page shows the bytes.
struct LastEvidence {
  std::string tee;  // "sgx", "snp"
  std::string subject;
  Bytes bytes;
};

/// LAB ONLY - NOT HARDWARE. One machine with its enclaves and VMs, and its routes. One thread: the router's handlers
/// run on an executor of one thread.
class Service {
 public:
  struct Options {
    std::vector<lab_workload::Workload> workloads = lab_workload::built_in_workloads();
    std::vector<std::string> allowed_origins{};  // as those of http::ServerOptions
    std::size_t max_streams = 32;                // of events, at the same time
  };
  /// What is referred to outlives this.
  Service(Machine& machine, const Clock& clock, log::Logger& logger, Options options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// To be served; refers to this.
  [[nodiscard]] http::Router router();
  [[nodiscard]] codec::json::Value openapi() const;

  Machine& machine;
  const Clock& clock;
  EventLog events;
  Enclaves enclaves;
  Vms vms;
  std::optional<LastEvidence> last_evidence;
  /// The machine's roots: what its evidence is judged by here.
  attestation::TrustAnchors anchors;

 private:
  [[nodiscard]] runtime::Task<void> stream(http::Request request, std::shared_ptr<http::WebSocket> socket);
  [[nodiscard]] runtime::Task<void> send_events(std::shared_ptr<http::WebSocket> socket,
                                                std::shared_ptr<const bool> closed, std::uint64_t at);
  std::unique_ptr<RouteTable> table_;
  log::Logger& logger_;
  std::size_t max_streams_;
  std::size_t streams_ = 0;
};

}  // namespace cloister::lab_service
