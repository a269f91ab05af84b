#include "cloister/evidence/sgx_sigstruct.hpp"

#include <algorithm>
#include <string>

#include "fields.hpp"

namespace cloister::evidence {
namespace {

constexpr ByteArray<16> kHeader{0x06, 0, 0, 0, 0xE1, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0};
constexpr ByteArray<16> kHeader2{0x01, 0x01, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 0x01, 0, 0, 0};
constexpr std::uint32_t kExponent = 3;
constexpr std::uint32_t kVendorIntel = 0x8086;

/// What is the same in every structure.
struct Fixed {
  ByteArray<16> header{};
  ByteArray<16> header2{};
  ByteArray<84> reserved1{};
  std::uint32_t exponent = 0;
  ByteArray<2> reserved2{};
  ByteArray<16> reserved3{};
  ByteArray<12> reserved4{};
};

template <class Io, class S, class F>
void layout(Io& io, S& s, F& fixed) {
  io(fixed.header);
  io(s.vendor);
  io(s.date);
  io(fixed.header2);
  io(s.sw_defined);
  io(fixed.reserved1);
  io(s.modulus);
  io(fixed.exponent);
  io(s.signature);
  io(s.misc_select);
  io(s.misc_mask);
  io(s.cet_attributes);
  io(s.cet_attributes_mask);
  io(fixed.reserved2);
  io(s.isv_family_id);
  io(s.attributes);
  io(s.attributes_mask);
  io(s.enclave_hash);
  io(fixed.reserved3);
  io(s.isv_ext_prod_id);
  io(s.isv_prod_id);
  io(s.isv_svn);
  io(fixed.reserved4);
  io(s.q1);
  io(s.q2);
}

Error bad(std::string detail) { return Error{Errc::evidence_malformed, "SIGSTRUCT: " + std::move(detail)}; }

}  // namespace

Result<Sigstruct> parse_sigstruct(ByteView bytes) {
  if (bytes.size() != kSigstructSize) {
    return bad(std::to_string(kSigstructSize) + " bytes expected, got " + std::to_string(bytes.size()));
  }
  Sigstruct out;
  Fixed fixed;
  FieldReader in{bytes};
  layout(in, out, fixed);
  CLOISTER_ASSERT(in.at_end());
  if (fixed.header != kHeader || fixed.header2 != kHeader2) return bad("not its headers");
  if (out.vendor != 0 && out.vendor != kVendorIntel) return bad("vendor 0 or 0x8086 expected, got " + std::to_string(out.vendor));
  if (fixed.exponent != kExponent) return bad("exponent 3 expected, got " + std::to_string(fixed.exponent));
  if (!all_zero(fixed.reserved1) || !all_zero(fixed.reserved2) || !all_zero(fixed.reserved3) || !all_zero(fixed.reserved4)) {
    return bad("reserved bytes that are not zero");
  }
  return out;
}

ByteArray<kSigstructSize> encode_sigstruct(const Sigstruct& sigstruct) {
  const Fixed fixed{.header = kHeader, .header2 = kHeader2, .reserved1 = {}, .exponent = kExponent, .reserved2 = {},
                    .reserved3 = {}, .reserved4 = {}};
  FieldWriter out;
  layout(out, sigstruct, fixed);
  return to_array<kSigstructSize>(std::move(out).take());
}

ByteArray<256> signed_part(const Sigstruct& sigstruct) {
  const auto bytes = encode_sigstruct(sigstruct);
  ByteArray<256> out;
  std::copy_n(bytes.begin(), 128, out.begin());
  std::copy_n(bytes.begin() + 900, 128, out.begin() + 128);
  return out;
}

}  // namespace cloister::evidence
