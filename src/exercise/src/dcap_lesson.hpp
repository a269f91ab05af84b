#pragma once

#include <string>

#include "cloister/attestation/verify.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab_sgx/quoting.hpp"

/// The platform of the exercises, which vouches for their quotes, and the verifier that everybody uses.
namespace cloister::exercise::dcap {

[[nodiscard]] UnixTime created();
[[nodiscard]] UnixTime now();  // ten days later

/// Up to date in everything.
[[nodiscard]] const lab::Platform& platform();
[[nodiscard]] lab::Platform platform_with(const lab::TcbState& tcb);

/// The quoting enclave of that platform on this CPU, in pages 16 to 18, entered on processor 3. Both outlive it.
[[nodiscard]] lab_sgx::QuotingEnclave quoting_enclave(lab_sgx::Cpu& cpu, const lab::Platform& platform);
/// A quote over the enclave that is entered on processor 0.
[[nodiscard]] Bytes quote(const lab_sgx::Cpu& cpu, const lab_sgx::QuotingEnclave& qe, const Digest64& report_data);

/// Under the platform's root alone, with its collateral, at `now()`. `qe`: whose identity the collateral has.
[[nodiscard]] attestation::Outcome verify(const evidence::Quote& quote, const lab::Platform& platform, const evidence::QeIdentity& qe);
/// The names of the checks that failed, in their order: "quote_signature qe_report"; "none".
[[nodiscard]] std::string failed(const attestation::Report& report);

}  // namespace cloister::exercise::dcap
