#pragma once

#include "cloister/model/fleet.hpp"
#include "cloister/storage/database.hpp"

/// The columns of `evidence e` that `read_shown` reads.
#define CLOISTER_EVIDENCE_COLUMNS \
  "e.session, e.appraised, e.expires, e.evidence, e.event_log, e.configuration, e.preimage, e.collateral"

namespace cloister::storage::evidence {

[[nodiscard]] model::InstanceEvidence read_shown(Rows& rows);

}  // namespace cloister::storage::evidence
