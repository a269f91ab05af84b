#include "rivals.hpp"

#include <dlfcn.h>

#include <stdexcept>

namespace cloister::bench {
namespace {

template <class F>
void find(void* library, const char* name, F& function) {
  void* found = ::dlsym(library, name);
  if (found == nullptr) throw std::runtime_error{std::string{"the rivals' library has no "} + name};
  function = reinterpret_cast<F>(found);
}

}  // namespace

Rivals::Rivals(const std::string& library) {
  void* loaded = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) throw std::runtime_error{::dlerror()};
  find(loaded, "rival_dcap_new", dcap_new);
  find(loaded, "rival_dcap_cold", dcap_cold);
  find(loaded, "rival_dcap_warm", dcap_warm);
  find(loaded, "rival_snp_new", snp_new);
  find(loaded, "rival_snp_warm", snp_warm);
}

Rivals::Dcap Rivals::dcap(ByteView root, ByteView collateral, UnixTime now) const {
  const auto seconds = static_cast<std::uint64_t>(to_micros(now) / 1'000'000);
  return {*this, dcap_new(root.data(), root.size(), collateral.data(), collateral.size(), seconds)};
}

Rivals::Snp Rivals::snp(ByteView vek) const { return {*this, snp_new(vek.data(), vek.size())}; }

}  // namespace cloister::bench
