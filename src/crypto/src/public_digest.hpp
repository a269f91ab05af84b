#pragma once

#include <initializer_list>

#include "cloister/core/bytes.hpp"

/// Hashes of public data, with a context that each thread keeps: a new context for each costs more than hashing a
/// short message. Not for secrets, of which the context would keep traces.
namespace cloister::crypto {

[[nodiscard]] Digest32 public_sha256(std::initializer_list<ByteView> parts);
[[nodiscard]] Digest48 public_sha384(std::initializer_list<ByteView> parts);

}  // namespace cloister::crypto
