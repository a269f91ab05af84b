#pragma once

namespace cloister::process {

/// For programs through whose memory secrets pass, as their first act: no core dumps of this process, and no look into
/// it by another process of the same user (ptrace(2), /proc). Children that execute a program get no core dumps either.
void keep_memory_private() noexcept;

}  // namespace cloister::process
