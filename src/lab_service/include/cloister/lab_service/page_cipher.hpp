#pragma once

#include <cstdint>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// LAB ONLY - NOT HARDWARE. The encrypted pages of the lab's VMs: AES-256-GCM under a key of each page, then
/// HMAC-SHA-256 over everything, under another. Silicon encrypts by address without a MAC; the RMP is what guards
/// integrity there.
namespace cloister::lab_service {

/// Which page, and the how-many-th time that it is written: a page of another place or time does not open.
struct PageId {
  std::string_view vm;
  std::uint64_t page = 0;
  std::uint64_t version = 0;
};

struct SealedPage {
  ByteArray<12> iv{};
  Bytes ciphertext;  // with its tag
  Digest32 mac{};
};

/// The same key, id and contents give the same bytes; the nonce follows from version and contents, so that no key
/// encrypts two texts under one.
[[nodiscard]] SealedPage seal_page(const crypto::Secret<32>& key, const PageId& id, ByteView contents);
/// Checks the MAC first, and decrypts nothing where it does not hold: `decryption_failed`.
[[nodiscard]] Result<crypto::SecretBytes> open_page(const crypto::Secret<32>& key, const PageId& id,
                                                    const SealedPage& page);

}  // namespace cloister::lab_service
