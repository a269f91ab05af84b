#include "renewal.hpp"

namespace cloister::lab_host {

Result<void> CollateralRenewal::renew() {
  const auto now = clock_.now();
  if (issued_ && now >= *issued_ && now - *issued_ < kCollateralAge) return {};
  CLOISTER_TRY(lock, take_story_lock(directory_));
  CLOISTER_TRY(story, read_story(directory_, platform_.created()));
  const auto written = issue_collateral(directory_, platform_, story, lab_time(story, clock_));
  if (!written) return written.error();
  issued_ = now;
  return {};
}

}  // namespace cloister::lab_host
