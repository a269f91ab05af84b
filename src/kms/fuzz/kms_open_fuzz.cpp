// Sealed values and wrapped keys from outside: none that we did not make opens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/kms/software.hpp"

namespace {
/// Not random: the values below must be the same in every run.
class Counter final : public cloister::Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = ++state_;
  }

 private:
  std::uint8_t state_ = 0;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Counter random;
  static const cloister::kms::SoftwareKms kms{cloister::crypto::Secret<32>{cloister::ByteArray<32>{9}}, random};
  static const auto genuine = *kms.seal({}, cloister::as_bytes("genuine"));
  const cloister::ByteView input{data, size};
  if (kms.open({}, input).ok() != cloister::same_bytes(input, genuine)) std::abort();
  if (kms.unwrap(input, {})) std::abort();
  return 0;
}
