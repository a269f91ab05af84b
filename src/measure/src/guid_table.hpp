#pragma once

#include <optional>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::measure {

using Guid = ByteArray<16>;  // as stored: the first three fields little-endian

/// The table at the end of OVMF, by which firmware tells a VMM what it needs (OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm
/// of EDK II): entries of data, length and GUID, read from the end, which is 32 bytes before that of the file.
/// Views into the firmware.
class GuidTable {
 public:
  /// `malformed` for a file without the table, an entry whose length does not fit, a GUID that is there twice.
  [[nodiscard]] static Result<GuidTable> parse(ByteView firmware);
  /// The entry's data.
  [[nodiscard]] std::optional<ByteView> find(const Guid& guid) const;

 private:
  struct Entry {
    Guid guid;
    ByteView data;
  };
  std::vector<Entry> entries_;
};

}  // namespace cloister::measure
