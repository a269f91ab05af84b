#pragma once

#include <fcntl.h>

#include <cerrno>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "cloister/device/kernel.hpp"

namespace cloister::device::testing {

/// A kernel that has only what a test gives it. Of configfs-tsm it keeps the rules of its documentation: a directory is
/// a report, a binary attribute takes effect at its close, each write raises the generation, outblob is made at its
/// first read. Whatever is read, ioctls included, is a recording of the test's.
class RecordedKernel final : public Kernel {
 public:
  using Path = std::filesystem::path;

  std::map<Path, std::function<int(unsigned long, void*)>> devices;  // by path: what their ioctl does
  std::map<Path, std::function<long(ByteView)>> files;               // by path: what a write does
  std::map<Path, int> refused;                                       // errno of open or mkdir

  // configfs-tsm
  std::string provider;  // with its line feed; empty: the directory is not there
  std::function<Bytes(ByteView inblob, unsigned privilege)> make_report;
  std::optional<Bytes> auxblob;
  bool has_privilege = false;
  std::function<void(std::string_view attribute, std::uint64_t& generation)> meanwhile;  // before each access of ours
  bool deaf = false;                                                                     // writes have no effect
  int outblob_error = 0;
  int made = 0;
  std::set<Path> directories;
  int open_files = 0;

  int open(const Path& path, int flags) override {
    if (const auto found = refused.find(path); found != refused.end()) return -found->second;
    if (directories.contains(path.parent_path())) {
      if (!exists(path)) return -ENOENT;
    } else if (!devices.contains(path) && !files.contains(path)) {
      return -ENOENT;
    }
    ++open_files;
    open_[++last_] = {path, flags, {}, 0};
    return last_;
  }

  long read(int descriptor, std::span<std::uint8_t> out) override {
    auto& file = open_.at(descriptor);
    if ((file.flags & O_ACCMODE) == O_WRONLY) return -EBADF;
    if (file.at == 0) {
      const auto content = attribute(file.path);
      if (content.second != 0) return -content.second;
      file.buffer = content.first;
    }
    const auto size = std::min(out.size(), file.buffer.size() - file.at);
    std::copy_n(file.buffer.begin() + static_cast<std::ptrdiff_t>(file.at), size, out.begin());
    file.at += size;
    return static_cast<long>(size);
  }

  long write(int descriptor, ByteView bytes) override {
    auto& file = open_.at(descriptor);
    if (const auto found = files.find(file.path); found != files.end()) return found->second(bytes);
    if (file.path.filename() == "inblob") {
      if (bytes.size() > 64) return -EFBIG;
      file.buffer = to_bytes(bytes);  // takes effect at the close
      file.at = 1;
      return static_cast<long>(bytes.size());
    }
    if (file.path.filename() != "privlevel") return -EPERM;
    const auto level = std::stoul(std::string{as_text(bytes)});
    if (level > 3) return -EINVAL;
    auto& report = reports_[file.path.parent_path()];
    report.privilege = static_cast<unsigned>(level);
    ++report.generation;
    return static_cast<long>(bytes.size());
  }

  int ioctl(int descriptor, unsigned long request, void* argument) override {
    const auto found = devices.find(open_.at(descriptor).path);
    return found == devices.end() ? -ENOTTY : found->second(request, argument);
  }

  void close(int descriptor) override {
    const auto file = open_.at(descriptor);
    if (file.path.filename() == "inblob" && file.at == 1 && !deaf) {
      auto& report = reports_[file.path.parent_path()];
      report.inblob = file.buffer;
      ++report.generation;
    }
    open_.erase(descriptor);
    --open_files;
  }

  int mkdir(const Path& path) override {
    if (const auto found = refused.find(path.parent_path()); found != refused.end()) return -found->second;
    if (provider.empty()) return -ENOENT;
    ++made;
    directories.insert(path);
    reports_[path] = {};
    return 0;
  }

  void rmdir(const Path& path) override { directories.erase(path); }

  bool exists(const Path& path) override {
    if (directories.contains(path.parent_path())) {
      const auto name = path.filename();
      if (name == "auxblob") return auxblob.has_value();
      if (name == "privlevel") return has_privilege;
      return name == "inblob" || name == "outblob" || name == "generation" || name == "provider";
    }
    return devices.contains(path) || files.contains(path) || (path == "/sys/kernel/config/tsm/report" && !provider.empty());
  }

 private:
  struct Report {
    Bytes inblob;
    unsigned privilege = 0;
    std::uint64_t generation = 0;
  };
  struct Open {
    Path path;
    int flags;
    Bytes buffer;
    std::size_t at;
  };

  /// Content, or an errno.
  std::pair<Bytes, int> attribute(const Path& path) {
    const auto name = path.filename().string();
    auto& report = reports_[path.parent_path()];
    if (meanwhile) meanwhile(name, report.generation);
    if (name == "provider") return {to_bytes(provider), 0};
    if (name == "generation") return {to_bytes(std::to_string(report.generation) + "\n"), 0};
    if (report.inblob.empty()) return {{}, EINVAL};
    if (name == "outblob" && outblob_error != 0) return {{}, outblob_error};
    if (name == "outblob") return {make_report(report.inblob, report.privilege), 0};
    if (name == "auxblob") return {*auxblob, 0};
    return {{}, EACCES};
  }

  std::map<Path, Report> reports_;
  std::map<int, Open> open_;
  int last_ = 2;
};

}  // namespace cloister::device::testing
