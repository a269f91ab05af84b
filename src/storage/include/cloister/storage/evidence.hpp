#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/storage/database.hpp"

/// What a TD showed, by the session that was made from it: kept as long as results of that session are.
namespace cloister::storage::evidence {

struct Stored {
  model::InstanceEvidence shown;
  Bytes appraisal;  // of the session module: policy digest, decision; opaque here
};

/// `conflict` when that session has evidence already.
[[nodiscard]] Result<void> add(Transaction& transaction, const Stored& evidence);
/// `not_found`.
[[nodiscard]] Result<Stored> get(const Reading& reading, const SessionId& session);

}  // namespace cloister::storage::evidence
