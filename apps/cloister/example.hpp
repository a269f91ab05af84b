#pragma once

#include <filesystem>

#include "cloister/builder/builder.hpp"
#include "cloister/client/orchestrator.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/oci/layout.hpp"
#include "cloister/policy/policy.hpp"

namespace cloister::cli {

/// The challenge that `demo` and `dev` run, a keyword search, as it follows from files of this machine: known before any
/// server is asked.
struct Example {
  model::ChallengeSpec spec;
  oci::BuiltImage image;
  builder::PlannedVersion planned;

  /// What a trust file says of it.
  [[nodiscard]] policy::ReferenceValue reference() const;
};

/// `program` is what the image runs, `guest` the program of its TDs.
[[nodiscard]] Result<Example> plan_example(const std::filesystem::path& program, const std::filesystem::path& guest,
                                           const std::vector<ByteArray<32>>& server_keys);

/// Uploads and registers it with a fresh secret; `measurement_mismatch` when the server's version is not the planned
/// one.
[[nodiscard]] Result<void> register_example(client::Orchestrator& server, const Example& example);

}  // namespace cloister::cli
