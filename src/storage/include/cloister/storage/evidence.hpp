#pragma once

#include <cstdint>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/storage/database.hpp"

/// What a TD showed, by the session that was made from it: kept for good where a result of that session was accepted,
/// else for the newest sessions of its subject.
namespace cloister::storage::evidence {

struct Stored {
  model::InstanceEvidence shown;
  Bytes appraisal;  // of the session module: policy digest, decision; opaque here
};

/// `conflict` when that session has evidence already.
[[nodiscard]] Result<void> add(Transaction& transaction, const Stored& evidence);
/// A result of that session was accepted. `not_found`.
[[nodiscard]] Result<void> keep(Transaction& transaction, const SessionId& session);
/// Removes the evidence of a subject's sessions, and these, but for the `newest` ones and what is kept.
[[nodiscard]] Result<void> prune(Transaction& transaction, std::string_view subject, std::uint32_t newest);
/// `not_found`.
[[nodiscard]] Result<Stored> get(const Reading& reading, const SessionId& session);

}  // namespace cloister::storage::evidence
