#include "cloister/lab_snp/tcb_secret.hpp"

#include <algorithm>
#include <string>

#include "cloister/crypto/hash.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::string_view kLinkDomain = "cloister/lab/1/SNP TCB";
constexpr std::string_view kUseDomain = "cloister/lab/1/SNP ";
constexpr unsigned kNewest = 255;

crypto::Secret<32> down(const crypto::Secret<32>& link, unsigned steps) {
  auto out = link.clone();
  for (; steps > 0; --steps) out = crypto::Secret<32>{crypto::sha256({as_bytes(kLinkDomain), out.reveal()})};
  return out;
}

}  // namespace

TcbSecret TcbSecret::at(const crypto::Secret<32>& root, const evidence::SnpTcbVersion& tcb) {
  Links links;
  for (std::size_t i = 0; i < kComponents; ++i) {
    const auto newest = crypto::hkdf32({}, root.reveal(), as_bytes(std::string{kUseDomain} + "component " + std::to_string(i)));
    links.push_back(down(newest, kNewest - tcb[i]));
  }
  return {tcb, std::move(links)};
}

Result<TcbSecret> TcbSecret::lower(const evidence::SnpTcbVersion& tcb) const {
  Links links;
  for (std::size_t i = 0; i < kComponents; ++i) {
    if (tcb[i] > tcb_[i]) {
      return Error{Errc::permission_denied, "the secret of TCB component " + std::to_string(i) + " at " +
                                                std::to_string(tcb[i]) + " is not to be had from the one at " + std::to_string(tcb_[i])};
    }
    links.push_back(down(links_[i], static_cast<unsigned>(tcb_[i] - tcb[i])));
  }
  return TcbSecret{tcb, std::move(links)};
}

crypto::SecretBytes TcbSecret::joined() const {
  crypto::SecretBytes out{kComponents * 32};
  for (std::size_t i = 0; i < kComponents; ++i) std::ranges::copy(links_[i].reveal(), out.writable().begin() + static_cast<std::ptrdiff_t>(32 * i));
  return out;
}

crypto::EcPrivateKey TcbSecret::signing_key(std::string_view use) const {
  return crypto::EcPrivateKey::derive(crypto::Curve::p384, joined().reveal(), as_bytes(std::string{kUseDomain} + std::string{use}));
}

crypto::Secret<32> TcbSecret::secret(std::string_view use) const {
  return crypto::hkdf32({}, joined().reveal(), as_bytes(std::string{kUseDomain} + std::string{use}));
}

}  // namespace cloister::lab_snp
