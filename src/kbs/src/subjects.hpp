#pragma once

#include "cloister/codec/json.hpp"
#include "cloister/revocation/subjects.hpp"

namespace cloister::kbs {

/// What a token says that its guest can be revoked by. What names nothing is left out, as `revocation::subjects_of` does.
[[nodiscard]] revocation::Subjects subjects_in(const codec::json::Value& token);

}  // namespace cloister::kbs
