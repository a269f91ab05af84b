#include "collateral_files.hpp"

#include <algorithm>

#include "cloister/collateral/bundle.hpp"

namespace cloister::server {

Result<std::unique_ptr<CollateralFiles>> CollateralFiles::open(std::filesystem::path path) {
  auto files = std::unique_ptr<CollateralFiles>(new CollateralFiles{std::move(path)});
  files->read_at_ = files->newest();
  auto source = collateral::open_collateral(files->path_);
  if (!source) return source.error().in(files->path_.string());
  files->source_ = *std::move(source);
  return files;
}

std::filesystem::file_time_type CollateralFiles::newest() const {
  std::error_code failure;
  auto time = std::filesystem::last_write_time(path_, failure);
  if (std::filesystem::is_directory(path_, failure)) {
    for (const auto& entry : std::filesystem::directory_iterator{path_, failure}) {
      time = std::max(time, entry.last_write_time(failure));
    }
  }
  return time;
}

std::shared_ptr<const collateral::CollateralSource> CollateralFiles::current() {
  const std::lock_guard lock{mutex_};
  if (const auto time = newest(); time != read_at_) {
    if (auto fresh = collateral::open_collateral(path_)) {
      source_ = *std::move(fresh);
      read_at_ = time;
    }
  }
  return source_;
}

Result<evidence::QuoteCollateral> CollateralFiles::find(const evidence::Quote& quote) {
  return current()->find(collateral::wanted_by(quote));
}

Result<evidence::SnpEndorsements> CollateralFiles::find(const evidence::SnpReport& report,
                                                        const evidence::SnpEndorsements& known) {
  auto found = current()->find(report, known);
  if (!found && found.error().code() == Errc::collateral_missing) return evidence::SnpEndorsements{};
  return found;
}

}  // namespace cloister::server
