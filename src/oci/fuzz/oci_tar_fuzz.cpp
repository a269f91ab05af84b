// What is read has clean paths, and an archive written from it reads back the same.
#include <cstdlib>

#include "cloister/oci/tar.hpp"

namespace {
using namespace cloister;
using namespace cloister::oci;

void require(bool holds) {
  if (!holds) std::abort();
}

bool read_all(ByteView archive, std::vector<tar::Entry>& out) {
  tar::Reader reader{archive};
  while (true) {
    auto entry = reader.next();
    if (!entry) return false;
    if (!*entry) return true;
    out.push_back(std::move(**entry));
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<tar::Entry> entries;
  if (!read_all(ByteView{data, size}, entries)) return 0;
  for (const auto& entry : entries) {
    require(tar::clean_path(entry.path) || (entry.path.empty() && entry.kind == tar::Kind::directory));
    require(entry.mode <= 0777);
  }
  const auto again_bytes = tar::write(entries);
  std::vector<tar::Entry> again;
  require(read_all(again_bytes, again) && again.size() == entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    require(again[i].path == entries[i].path && again[i].kind == entries[i].kind && again[i].mode == entries[i].mode);
    require(again[i].link == entries[i].link && same_bytes(again[i].contents, entries[i].contents));
  }
  return 0;
}
