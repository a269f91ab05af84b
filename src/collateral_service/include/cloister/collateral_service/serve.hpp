#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>

#include "cloister/collateral_service/documents.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"

namespace cloister::collateral_service {

struct ServeOptions {
  std::filesystem::path data;  // a collateral file, or a bundle
  const DocumentSource* also = nullptr;  // outlives the service; where it is given, `data` may be absent
  std::uint16_t port = 0;      // on loopback; 0: the system chooses
};

/// The service as all that this process does (`cloister lab collateral`): reads the documents, writes one JSON line to
/// `out` once it serves, {"url", "documents": how many `data` has, "lab": true}, and serves on loopback until SIGTERM or SIGINT.
[[nodiscard]] Result<void> serve(const ServeOptions& options, std::ostream& out, log::Logger& logger);

}  // namespace cloister::collateral_service
