#pragma once

#include <memory>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/time.hpp"

/// Other verifiers, measured in the same run: the library of bench/rivals, loaded when it is named. What they take is
/// never part of the project's programs.
namespace cloister::bench {

/// The library; throws std::runtime_error when it cannot be loaded. Objects of it live until the program ends.
class Rivals {
 public:
  explicit Rivals(const std::string& library);

  /// `dcap-qvl`, of one thread.
  class Dcap {
   public:
    /// From the bytes of quote and collateral.
    [[nodiscard]] bool cold(ByteView quote) const { return rivals_->dcap_cold(self_, quote.data(), quote.size()); }
    /// With collateral that was parsed before.
    [[nodiscard]] bool warm(ByteView quote) const { return rivals_->dcap_warm(self_, quote.data(), quote.size()); }

   private:
    friend class Rivals;
    Dcap(const Rivals& rivals, void* self) : rivals_{&rivals}, self_{self} {}
    const Rivals* rivals_;
    void* self_;
  };
  [[nodiscard]] Dcap dcap(ByteView root, ByteView collateral, UnixTime now) const;

  /// `sev` with OpenSSL, of one thread: the report's signature under a certificate that is known.
  class Snp {
   public:
    [[nodiscard]] bool warm(ByteView report) const { return rivals_->snp_warm(self_, report.data(), report.size()); }

   private:
    friend class Rivals;
    Snp(const Rivals& rivals, void* self) : rivals_{&rivals}, self_{self} {}
    const Rivals* rivals_;
    void* self_;
  };
  [[nodiscard]] Snp snp(ByteView vek) const;

 private:
  using Byte = std::uint8_t;
  void* (*dcap_new)(const Byte*, std::size_t, const Byte*, std::size_t, std::uint64_t) = nullptr;
  bool (*dcap_cold)(void*, const Byte*, std::size_t) = nullptr;
  bool (*dcap_warm)(void*, const Byte*, std::size_t) = nullptr;
  void* (*snp_new)(const Byte*, std::size_t) = nullptr;
  bool (*snp_warm)(void*, const Byte*, std::size_t) = nullptr;
};

}  // namespace cloister::bench
