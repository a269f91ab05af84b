#include "cloister/metrics/process.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace cloister::metrics {
namespace {

Result<std::string> read_text(const char* path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error{Errc::io_error, std::string{path} + ": cannot be read"};
  return std::string(std::istreambuf_iterator<char>(in), {});
}

double number(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// The fields of /proc/self/stat (proc_pid_stat(5)) from field 3 on; the command before them may hold anything.
std::vector<std::string_view> stat_fields(std::string_view stat) {
  std::vector<std::string_view> out;
  stat.remove_prefix(std::min(stat.rfind(')') + 1, stat.size()));
  while (!stat.empty()) {
    stat.remove_prefix(std::min(stat.find_first_not_of(" \n"), stat.size()));
    const auto end = std::min(stat.find_first_of(" \n"), stat.size());
    if (end > 0) out.push_back(stat.substr(0, end));
    stat.remove_prefix(end);
  }
  return out;
}

/// When the machine started, in seconds since 1970.
double boot_time(std::string_view stat) {
  const auto at = stat.find("\nbtime ");
  return at == std::string_view::npos ? 0 : number(stat.substr(at + 7));
}

std::size_t open_descriptors() {
  std::error_code failure;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator it{"/proc/self/fd", failure}, end; !failure && it != end; it.increment(failure)) {
    ++count;
  }
  return count > 0 ? count - 1 : 0;  // without the one that reads the directory
}

constexpr std::size_t kFirstField = 3;
constexpr std::size_t kUserTime = 14 - kFirstField;
constexpr std::size_t kSystemTime = 15 - kFirstField;
constexpr std::size_t kThreads = 20 - kFirstField;
constexpr std::size_t kStart = 22 - kFirstField;
constexpr std::size_t kVirtualSize = 23 - kFirstField;
constexpr std::size_t kResident = 24 - kFirstField;

}  // namespace

Result<void> write_process(TextWriter& out) {
  CLOISTER_TRY(stat, read_text("/proc/self/stat"));
  CLOISTER_TRY(system, read_text("/proc/stat"));
  const auto fields = stat_fields(stat);
  if (fields.size() <= kResident) return Error{Errc::io_error, "/proc/self/stat: too few fields"};
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  out.single("process_cpu_seconds_total", Type::counter, "User and system CPU time spent.",
             (number(fields[kUserTime]) + number(fields[kSystemTime])) / ticks);
  out.single("process_start_time_seconds", Type::gauge, "Start of the process, in seconds since 1970.",
             boot_time(system) + number(fields[kStart]) / ticks);
  out.single("process_resident_memory_bytes", Type::gauge, "Resident memory.", number(fields[kResident]) * page);
  out.single("process_virtual_memory_bytes", Type::gauge, "Virtual memory.", number(fields[kVirtualSize]));
  out.single("process_threads", Type::gauge, "Threads.", number(fields[kThreads]));
  out.single("process_open_fds", Type::gauge, "Open file descriptors.", static_cast<double>(open_descriptors()));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.single("process_max_fds", Type::gauge, "Most file descriptors that may be open.",
               static_cast<double>(limit.rlim_cur));
  }
  return {};
}

}  // namespace cloister::metrics
