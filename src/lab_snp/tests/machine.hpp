#pragma once

#include "cloister/lab_snp/host.hpp"
#include "support/support.hpp"

/// A small machine with firmware, for tests.
namespace cloister::lab_snp {

inline const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);

inline evidence::SnpTcb tcb_of(evidence::SnpProduct product, std::uint8_t microcode = 219) {
  evidence::SnpTcb out{.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = microcode};
  if (product == evidence::SnpProduct::turin) out.fmc = 1;
  return out;
}

/// Keys of 2048 bits, made once for all tests of a program.
inline const Authority& authority() {
  static const auto made = Authority::create(crypto::Secret<32>{ByteArray<32>{7}}, AuthorityKeys::generate(2048), kCreated);
  return made;
}

struct Machine {
  explicit Machine(const PlatformOptions& options = PlatformOptions::at(evidence::SnpProduct::milan, tcb_of(evidence::SnpProduct::milan)),
                   std::size_t pages = 64)
      : memory{pages}, firmware{Firmware::start(authority(), memory, random, options).value()}, host{memory, firmware} {}
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Memory memory;
  test::SeededRandom random{1};
  Firmware firmware;
  Host host;
};

}  // namespace cloister::lab_snp
