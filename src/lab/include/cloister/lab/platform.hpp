#pragma once

#include <memory>
#include <optional>
#include <span>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/sgx_report.hpp"
#include "cloister/lab/tcb.hpp"
#include "cloister/lab/tdx.hpp"

namespace cloister::lab {

/// Whose names the certificates carry. `lab`: "LAB ONLY - NOT HARDWARE SGX Root CA" and so on. `vendor`: Intel's, to
/// show a lab's evidence to verifiers of others that accept no other names; our own accepts such a root under no anchor.
/// The lab's marker extension is in every certificate either way.
enum class Names { lab, vendor };

enum class QuoteFormat {
  v4,          // body TD report 1.0
  v5,          // body type 3, TD report 1.5
  v5_td10,     // body type 2, TD report 1.0
  v5_td15_ex,  // body type 4, TD report 1.5 extended: what a TDREPORT does not say is zero
};

/// LAB ONLY - NOT HARDWARE. A machine with TDX, and the authorities that vouch for it: root CA, PCK platform CA, PCK
/// certificate, TCB signer, all of them under keys that HKDF derives from one seed. The same seed and creation time
/// give the same keys, identities and signed contents; ECDSA signatures differ, so keep the root certificate (`root`)
/// with the seed: a trust file names it.
/// Thread-safe: immutable after construction.
class Platform {
 public:
  struct Options {
    Names names = Names::lab;
    std::optional<TcbState> tcb{};  // nothing: TcbState::current(created)
    std::vector<crypto::x509::RevokedEntry> revoked_pcks{};  // entries of the PCK CA's CRL
    std::vector<crypto::x509::RevokedEntry> revoked_cas{};   // entries of the root's CRL
  };

  /// A new platform. `created` (whole seconds are kept) begins the certificates' validity: 30 years the root's, 15 the
  /// intermediate's, 7 the leaves'.
  [[nodiscard]] static Platform create(crypto::Secret<32> seed, UnixTime created, Options options);
  [[nodiscard]] static Platform create(crypto::Secret<32> seed, UnixTime created) { return create(std::move(seed), created, {}); }
  /// The platform that `create` made, again, with the same root certificate. `key_invalid` when the certificate is not
  /// this seed's, `certificate_malformed` when it is none.
  [[nodiscard]] static Result<Platform> open(crypto::Secret<32> seed, ByteView root_certificate, Options options);
  [[nodiscard]] static Result<Platform> open(crypto::Secret<32> seed, ByteView root_certificate) {
    return open(std::move(seed), root_certificate, {});
  }
  Platform(Platform&&) noexcept;
  Platform& operator=(Platform&&) noexcept;
  ~Platform();

  /// The same machine and authorities in another state: what is published by now, or the machine after an update. It has
  /// keys of its own copy: TDs of this platform stay this platform's.
  [[nodiscard]] Platform with(Options options) const;

  /// The root certificate, DER: the trust anchor of everything below.
  [[nodiscard]] const Bytes& root() const noexcept;
  /// When the root certificate begins to be valid.
  [[nodiscard]] UnixTime created() const noexcept;
  /// PCK leaf, platform CA, root; PEM, as the quotes carry it.
  [[nodiscard]] const std::string& pck_chain() const noexcept;
  /// Another one, with another key, for every TCB of the machine.
  [[nodiscard]] const crypto::x509::CertificatePtr& pck_certificate() const noexcept;
  [[nodiscard]] const ByteArray<6>& fmspc() const noexcept;

  /// Everything that a verifier fetches for this platform's quotes, issued at `now` and due again after 30 days
  /// (root CRL: a year). Freshly signed at each call; keep it while it is valid.
  [[nodiscard]] evidence::QuoteCollateral collateral(UnixTime now) const;

  /// The machine's module, started, without a TD. It refers to the machine's keys, so the platform must outlive it
  /// (moving the platform is allowed). Reports of TDs verify on every start of the same platform.
  [[nodiscard]] std::shared_ptr<tdx::Machine> start() const;
  /// A TD of the image that runs, alone on a start of its own. Errors: as `tdx::launch`.
  [[nodiscard]] Result<tdx::Td> launch(const tdx::TdParams& params, std::span<const measure::TdFile> files) const;
  [[nodiscard]] const tdx::ModuleInfo& module() const noexcept;
  [[nodiscard]] const tdx::ReportKey& report_key() const noexcept;

  /// What the TD quoting enclave does: verifies the report's MAC, and signs a quote over it. `permission_denied` for a
  /// report that was not made on this machine, or was changed.
  [[nodiscard]] Result<Bytes> quote(ByteView td_report, QuoteFormat format = QuoteFormat::v4) const;

  /// For a simulated CPU with SGX on this machine (module lab_sgx): the root of its keys, and what the machine runs.
  [[nodiscard]] crypto::Secret<32> sgx_root() const;
  [[nodiscard]] const MachineTcb& machine() const noexcept;
  /// What the provisioning certification enclave does: the PCK key's signature (r || s) over a quoting enclave's report.
  [[nodiscard]] ByteArray<64> certify(const evidence::SgxReport& qe_report) const;
  /// As `collateral`, for SGX quotes of the quoting enclave with this identity (dates and levels are set here).
  [[nodiscard]] evidence::QuoteCollateral sgx_collateral(UnixTime now, evidence::QeIdentity qe) const;

 private:
  struct State;
  explicit Platform(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace cloister::lab
