#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/crypto/jwk.hpp"

/// Signs what the tests have verified, with keys and algorithms of which the product only verifies.
namespace cloister::token {

class Signer {
 public:
  /// A fresh key; RSA keys of 2048 bits.
  explicit Signer(crypto::jose::Algorithm algorithm, std::string key_id = "key-1");
  ~Signer();
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;
  [[nodiscard]] const crypto::jose::Jwk& jwk() const noexcept { return jwk_; }
  [[nodiscard]] std::string sign(const codec::json::Value& header, const codec::json::Value& payload) const;
  /// With a header of alg, typ and kid.
  [[nodiscard]] std::string sign(const codec::json::Value& payload) const;

 private:
  struct Key;
  std::unique_ptr<const Key> key_;
  crypto::jose::Jwk jwk_;
};

}  // namespace cloister::token
