#include "cloister/measure/rtmr.hpp"

#include "cloister/crypto/hash.hpp"

namespace cloister::measure {

Digest48 rtmr_extend(const Digest48& rtmr, const Digest48& digest) { return crypto::sha384({rtmr, digest}); }

}  // namespace cloister::measure
