// A PKCS#11 URI from a configuration: what is read is whole.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/kms/pkcs11_uri.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text{data, data + size};
  const auto uri = cloister::kms::parse_pkcs11_uri(text);
  if (!uri) return 0;
  if (!uri->module.is_absolute() || !uri->pin_file.is_absolute() || (!uri->token && !uri->serial)) std::abort();
  if (uri->module.string().find('\0') != std::string::npos) std::abort();
  return 0;
}
