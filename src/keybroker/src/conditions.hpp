#pragma once

#include "cloister/core/result.hpp"
#include "cloister/model/derived_key.hpp"
#include "cloister/session/attested.hpp"

namespace cloister::keybroker {

/// Whether an instance's session meets the conditions of a version: `measurement_not_accepted`, `tcb_too_low` with the
/// member that is too low. Pure.
[[nodiscard]] Result<void> meets(const model::ReleaseConditions& conditions, const session::AttestedSession& session);

}  // namespace cloister::keybroker
