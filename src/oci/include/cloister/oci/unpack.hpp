#pragma once

#include <filesystem>

#include "cloister/oci/image.hpp"

namespace cloister::oci {

/// Makes the image's file tree in `directory` (made if it is missing; must be empty, and nobody else's while this
/// runs). Every layer is verified before anything of it is written. Whiteouts take effect on lower layers (image-spec
/// v1.1, layer.md). Owners, times, set-id bits and extended attributes are not restored.
///
/// Nothing outside `directory` is read or written, and no link leads outside, also when the tree is not anybody's root:
/// an entry below a symbolic link is refused, absolute link targets are made relative, and a relative target may begin
/// with as many ".." as it has parents, with none further on. On failure the directory is left as it is.
/// Errors: those of `fetch` and `tar::Reader`, `malformed`, `unsupported`, `limit_exceeded`, `io_error`.
[[nodiscard]] Result<void> unpack(const Image& image, const BlobSource& blobs, const std::filesystem::path& directory,
                                  const Limits& limits = {});

}  // namespace cloister::oci
