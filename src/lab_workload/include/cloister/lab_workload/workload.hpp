#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// LAB ONLY - NOT HARDWARE. Workloads: the code that the lab's enclaves run.
namespace cloister::lab_workload {

/// What an enclave offers to the code inside it. Used by one call at a time.
class Enclave {
 public:
  virtual ~Enclave() = default;
  Enclave(const Enclave&) = delete;
  Enclave& operator=(const Enclave&) = delete;
  /// A token (base64url) that this enclave's measurement opens again, for the same identity alone.
  [[nodiscard]] virtual Result<std::string> seal(std::string_view identity, ByteView plaintext) = 0;
  /// `malformed` for what is no token, `decryption_failed` for another enclave's or identity's or a changed one,
  /// `conflict` for one that a newer one replaced.
  [[nodiscard]] virtual Result<crypto::SecretBytes> unseal(std::string_view identity, std::string_view token) = 0;
  /// HMAC-SHA-256 under a key of this enclave's measurement, one for each purpose.
  [[nodiscard]] virtual Result<Digest32> mac(std::string_view purpose, ByteView message) = 0;
  /// Leaves the enclave, has the untrusted side answer, and comes back. What is given leaves in the clear.
  [[nodiscard]] virtual Result<codec::json::Value> ocall(std::string_view name, codec::json::Value payload) = 0;

 protected:
  Enclave() = default;
};

struct Output {
  codec::json::Value result;   // an object
  codec::json::Object logged;  // what a log may have of this call: numbers and digests, never what was given
};

/// One workload; its name is also that of its ECALL.
struct Workload {
  std::string_view name;
  std::string_view summary;         // one sentence without a full stop
  std::string_view payload_schema;  // JSON Schema 2020-12 of the payload
  /// `invalid_argument` for a payload that is not as it must be; the detail names the member.
  Result<Output> (*run)(const codec::json::Value& payload, Enclave& enclave);
};

/// Those in the folder `workloads`, by name. Defined by the build.
[[nodiscard]] std::vector<Workload> built_in_workloads();

}  // namespace cloister::lab_workload
