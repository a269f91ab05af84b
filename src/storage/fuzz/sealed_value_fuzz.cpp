// Sealed values from a database that somebody wrote to: what decodes encodes to the same bytes, and only what we
// sealed for this cell opens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/storage/sealing.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  static const crypto::Secret<32> key{ByteArray<32>{1}};
  static const auto tenant = *TenantId::parse("acme");
  constexpr storage::Cell kCell{"secret", "a", "value", 1};
  static const auto genuine =
      storage::encode(storage::seal_value(key, "dk-1", ByteArray<32>{2}, tenant, kCell, as_bytes("value")));
  const ByteView input{data, size};
  const auto value = storage::decode_sealed_value(input);
  if (!value) return 0;
  if (!same_bytes(storage::encode(*value), input)) std::abort();
  if (storage::open_value(key, tenant, kCell, *value).ok() != same_bytes(input, genuine)) std::abort();
  if (storage::open_value(key, tenant, {"secret", "b", "value", 1}, *value)) std::abort();
  return 0;
}
