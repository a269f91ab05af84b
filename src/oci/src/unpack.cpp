#include "cloister/oci/unpack.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "cloister/oci/tar.hpp"
#include "files.hpp"

namespace cloister::oci {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

std::string_view parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

std::string name_of(std::string_view path) { return std::string{path.substr(path.rfind('/') + 1)}; }

/// Takes the first component off a path.
std::string_view next_component(std::string_view& path) {
  const auto slash = path.find('/');
  const auto component = path.substr(0, slash);
  path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  return component;
}

/// A link target that stays in the tree wherever the tree is. `depth` is the number of directories above the link, none
/// of which is itself a link; so `..` may lead up that far, and only before any other component, which could be a link.
Result<std::string> contained_target(std::string_view target, std::size_t depth) {
  const bool absolute = target.front() == '/';
  std::string out;
  std::size_t up = 0;
  bool inside = false;
  for (auto rest = target; !rest.empty();) {
    const auto component = next_component(rest);
    if (component.empty() || component == ".") continue;
    if (component == "..") {
      if (absolute || inside || ++up > depth) {
        return Error{Errc::malformed, "link target '" + std::string{target.substr(0, 128)} + "' may lead outside"};
      }
    } else {
      inside = true;
    }
    if (!out.empty()) out.push_back('/');
    out.append(component);
  }
  if (!absolute) return std::string{target};
  std::string relative;
  for (std::size_t i = 0; i < depth; ++i) relative += "../";
  relative += out;
  return relative.empty() ? std::string{"."} : relative;
}

/// The tree that is being made. Every path is walked from the root's descriptor, component by component, following no
/// link.
class Tree {
 public:
  explicit Tree(Fd root) : root_{std::move(root)} {}

  Result<void> apply_whiteout(const tar::Entry& entry) {
    const auto name = name_of(entry.path);
    const auto hidden = name.substr(kWhiteout.size());
    const bool opaque = name == kOpaque;
    if (!opaque && (hidden.empty() || hidden == "." || hidden == ".." || hidden.starts_with(kWhiteout))) {
      return Error{Errc::malformed, "whiteout '" + entry.path + "' names nothing"};
    }
    auto parent = open_directory(parent_of(entry.path), false);
    if (!parent) {
      if (parent.error().code() == Errc::not_found) return {};
      return std::move(parent).error();
    }
    if (opaque) return clear(parent->get(), entry.path);
    return remove(parent->get(), hidden, entry.path);
  }

  Result<void> apply(const tar::Entry& entry) {
    if (entry.path.empty()) return {};
    CLOISTER_TRY(parent, open_directory(parent_of(entry.path), true));
    const auto name = name_of(entry.path);
    switch (entry.kind) {
      case tar::Kind::directory:
        return make_directory(parent.get(), name, entry);
      case tar::Kind::file:
        return make_file(parent.get(), name, entry);
      case tar::Kind::symlink:
        return make_symlink(parent.get(), name, entry);
      case tar::Kind::hardlink:
        return make_hardlink(parent.get(), name, entry);
    }
    return Error{Errc::internal, "an entry of no kind"};
  }

 private:
  Result<Fd> open_directory(std::string_view path, bool create) {
    Fd at{::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!at.ok()) return system_error("open", ".", errno);
    for (auto rest = path; !rest.empty();) {
      const std::string component{next_component(rest)};
      if (create && ::mkdirat(at.get(), component.c_str(), 0755) != 0 && errno != EEXIST) {
        return system_error("make directory", path, errno);
      }
      Fd next{::openat(at.get(), component.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
      if (!next.ok()) {
        if (errno == ELOOP || errno == ENOTDIR) {
          return Error{Errc::malformed, "'" + std::string{path} + "' leads through something that is no directory"};
        }
        return system_error("open", path, errno);
      }
      at = std::move(next);
    }
    return at;
  }

  /// Removes everything in a directory.
  Result<void> clear(int directory, std::string_view path) {
    Fd copy{::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!copy.ok()) return system_error("open", path, errno);
    const std::unique_ptr<DIR, int (*)(DIR*)> stream{::fdopendir(copy.get()), ::closedir};
    if (!stream) return system_error("read directory", path, errno);
    (void)copy.release();
    std::vector<std::string> names;
    while (const auto* found = ::readdir(stream.get())) {
      const std::string_view name{found->d_name};
      if (name != "." && name != "..") names.emplace_back(name);
    }
    for (const auto& name : names) CLOISTER_CHECK(remove(directory, name, path));
    return {};
  }

  /// Removes a name and, when it is a directory, what is below it; no deeper than paths can be. Nothing there is fine.
  Result<void> remove(int directory, const std::string& name, std::string_view path) {
    if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return {};
    if (errno != EISDIR && errno != EPERM) return system_error("remove", path, errno);
    const Fd inner{::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    if (!inner.ok()) return system_error("open", path, errno);
    CLOISTER_CHECK(clear(inner.get(), path));
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0) return system_error("remove", path, errno);
    return {};
  }

  Result<void> make_directory(int parent, const std::string& name, const tar::Entry& entry) {
    struct stat status {};
    const bool there = ::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there || !S_ISDIR(status.st_mode)) {
      CLOISTER_CHECK(remove(parent, name, entry.path));
      if (::mkdirat(parent, name.c_str(), 0700) != 0) return system_error("make directory", entry.path, errno);
    }
    const Fd made{::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    // The owner keeps all rights, so that later layers can be applied and the tree removed.
    if (!made.ok() || ::fchmod(made.get(), entry.mode | 0700U) != 0) {
      return system_error("make directory", entry.path, errno);
    }
    return {};
  }

  Result<void> make_file(int parent, const std::string& name, const tar::Entry& entry) {
    CLOISTER_CHECK(remove(parent, name, entry.path));
    const Fd made{::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (!made.ok()) return system_error("create", entry.path, errno);
    CLOISTER_CHECK(write_all(made.get(), entry.contents, entry.path));
    if (::fchmod(made.get(), entry.mode | 0400U) != 0) return system_error("change mode of", entry.path, errno);
    return {};
  }

  Result<void> make_symlink(int parent, const std::string& name, const tar::Entry& entry) {
    const auto depth = static_cast<std::size_t>(std::count(entry.path.begin(), entry.path.end(), '/'));
    CLOISTER_TRY(target, contained_target(entry.link, depth));
    CLOISTER_CHECK(remove(parent, name, entry.path));
    if (::symlinkat(target.c_str(), parent, name.c_str()) != 0) return system_error("link", entry.path, errno);
    return {};
  }

  Result<void> make_hardlink(int parent, const std::string& name, const tar::Entry& entry) {
    CLOISTER_TRY(target_parent, open_directory(parent_of(entry.link), false));
    const auto target = name_of(entry.link);
    struct stat status {};
    if (::fstatat(target_parent.get(), target.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return system_error("link to", entry.link, errno);
    }
    if (!S_ISREG(status.st_mode) || entry.link == entry.path) {
      return Error{Errc::malformed, "hard link '" + entry.path + "': another regular file expected"};
    }
    CLOISTER_CHECK(remove(parent, name, entry.path));
    if (::linkat(target_parent.get(), target.c_str(), parent, name.c_str(), 0) != 0) {
      return system_error("link", entry.path, errno);
    }
    return {};
  }

  Fd root_;
};

bool is_whiteout(const tar::Entry& entry) { return name_of(entry.path).starts_with(kWhiteout); }

/// The prefix is reserved for whiteouts, which have nothing below them.
bool below_whiteout(const tar::Entry& entry) {
  for (auto rest = parent_of(entry.path); !rest.empty();) {
    if (next_component(rest).starts_with(kWhiteout)) return true;
  }
  return false;
}

/// What is left of the limits over all layers.
struct Budget {
  std::size_t entries;
  std::uint64_t bytes;
};

Result<std::vector<tar::Entry>> read_entries(ByteView archive, Budget& budget) {
  std::vector<tar::Entry> entries;
  tar::Reader reader{archive};
  while (true) {
    CLOISTER_TRY(entry, reader.next());
    if (!entry) return entries;
    if (budget.entries == 0 || entry->contents.size() > budget.bytes) {
      return Error{Errc::limit_exceeded, "the image has too many files, or too large ones"};
    }
    if (below_whiteout(*entry)) return Error{Errc::malformed, "'" + entry->path + "' is below a whiteout"};
    --budget.entries;
    budget.bytes -= entry->contents.size();
    entries.push_back(std::move(*entry));
  }
}

Result<void> apply_layer(Tree& tree, ByteView archive, Budget& budget) {
  CLOISTER_TRY(entries, read_entries(archive, budget));
  // Whiteouts hide what lower layers have, never what this one brings, so they come first.
  for (const auto& entry : entries) {
    if (is_whiteout(entry)) CLOISTER_CHECK(tree.apply_whiteout(entry));
  }
  for (const auto& entry : entries) {
    if (!is_whiteout(entry)) CLOISTER_CHECK(tree.apply(entry));
  }
  return {};
}

}  // namespace

Result<void> unpack(const Image& image, const BlobSource& blobs, const std::filesystem::path& directory,
                    const Limits& limits) {
  CLOISTER_CHECK(make_empty_directory(directory));
  Fd root{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!root.ok()) return system_error("open", directory.native(), errno);
  Tree tree{std::move(root)};
  Budget budget{limits.entries, limits.unpacked_bytes};
  for (const auto& layer : image.manifest.layers) {
    if (layer.size > limits.layer_bytes) return Error{Errc::limit_exceeded, "layer: too large"};
    CLOISTER_TRY(archive, fetch(layer, blobs));
    if (auto applied = apply_layer(tree, archive, budget); !applied) {
      return applied.error().in("layer " + digest_text(layer.digest));
    }
  }
  return {};
}

}  // namespace cloister::oci
