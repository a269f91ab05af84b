#pragma once

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/lab_workload/workload.hpp"

namespace cloister::lab_workload::test {

/// An enclave without a CPU around it, for what workloads compute: its tokens hide nothing.
class PlainEnclave final : public Enclave {
 public:
  Result<std::string> seal(std::string_view identity, ByteView plaintext) override {
    return codec::to_base64url(to_bytes(std::string{identity} + '\n' + std::string{as_text(plaintext)}));
  }
  Result<crypto::SecretBytes> unseal(std::string_view identity, std::string_view token) override {
    CLOISTER_TRY(bytes, codec::from_base64url(token));
    if (!as_text(bytes).starts_with(std::string{identity} + '\n'))
      return Error{Errc::decryption_failed, "another identity's"};
    return crypto::SecretBytes::copy_of(ByteView{bytes}.subspan(identity.size() + 1));
  }
  Result<Digest32> mac(std::string_view purpose, ByteView message) override {
    return crypto::hmac_sha256(as_bytes(purpose), message);
  }
  Result<codec::json::Value> ocall(std::string_view name, codec::json::Value payload) override {
    return codec::json::Value{codec::json::Object{{"ocall", name}, {"payload", std::move(payload)}}};
  }
};

}  // namespace cloister::lab_workload::test
