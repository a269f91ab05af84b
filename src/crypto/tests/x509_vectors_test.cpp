// The X.509 reader beside OpenSSL's, on every certificate and CRL among the public vectors, and on mutants of them.
#include <gtest/gtest.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <map>
#include <set>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/x509.hpp"
#include "openssl.hpp"
#include "support/support.hpp"

namespace cloister::crypto::x509 {
namespace {

using X509Ptr = std::unique_ptr<X509, ossl::Releaser<X509_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, ossl::Releaser<X509_CRL_free>>;
using BnHandle = ossl::BnPtr;

template <auto Decode>
auto decode(ByteView der, bool whole) {
  const auto* cursor = der.data();
  auto* object = Decode(nullptr, &cursor, static_cast<long>(der.size()));
  const bool all = object != nullptr && cursor == der.data() + der.size();
  ERR_clear_error();
  return std::pair{object, all || !whole};
}

X509Ptr openssl_certificate(ByteView der) {
  auto [object, good] = decode<d2i_X509>(der, true);
  X509Ptr out{object};
  return good ? std::move(out) : nullptr;
}

CrlPtr openssl_crl(ByteView der) {
  auto [object, good] = decode<d2i_X509_CRL>(der, true);
  CrlPtr out{object};
  return good ? std::move(out) : nullptr;
}

template <class T>
Bytes encoded(const T* object, int (*encode)(const T*, unsigned char**)) {
  unsigned char* out = nullptr;
  const auto size = encode(object, &out);
  const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { OPENSSL_free(p); })> owner{out};
  return size < 0 ? Bytes{} : Bytes(out, out + size);
}

Bytes octets(const ASN1_STRING* string) {
  if (string == nullptr) return {};
  const auto* first = ASN1_STRING_get0_data(string);
  return Bytes(first, first + ASN1_STRING_length(string));
}

/// INTEGER contents: the encoding without its two octets of head (serial numbers are short).
Bytes integer_contents(const ASN1_INTEGER* number) {
  const auto der = encoded(number, i2d_ASN1_INTEGER);
  return der.size() < 2 ? Bytes{} : Bytes(der.begin() + 2, der.end());
}

std::int64_t seconds(const ASN1_TIME* time) {
  std::tm parts{};
  EXPECT_EQ(ASN1_TIME_to_tm(time, &parts), 1);
  return timegm(&parts);
}

std::int64_t seconds(UnixTime time) { return to_micros(time) / 1'000'000; }

void compare_key(const Certificate& ours, X509* theirs) {
  const auto* key = X509_get0_pubkey(theirs);
  ERR_clear_error();
  if (const auto* ec = std::get_if<EcPublicKey>(&ours.key)) {
    ASSERT_NE(key, nullptr);
    Bytes point(1 + 2 * field_size(ec->curve()));
    std::size_t size = 0;
    ASSERT_EQ(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size), 1);
    EXPECT_TRUE(same_bytes(ec->xy(), ByteView{point}.subspan(1)));
  } else if (const auto* rsa = std::get_if<RsaPublicKey>(&ours.key)) {
    ASSERT_NE(key, nullptr);
    for (const auto& [name, digits] : {std::pair{OSSL_PKEY_PARAM_RSA_N, rsa->modulus},
                                       std::pair{OSSL_PKEY_PARAM_RSA_E, rsa->exponent}}) {
      BIGNUM* number = nullptr;
      ASSERT_EQ(EVP_PKEY_get_bn_param(key, name, &number), 1);
      const BnHandle owner{number};
      Bytes theirs_digits(static_cast<std::size_t>(BN_num_bytes(number)));
      BN_bn2bin(number, theirs_digits.data());
      EXPECT_EQ(theirs_digits, digits);
    }
  }
}

void compare_extensions(const Certificate& ours, X509* theirs) {
  ASSERT_EQ(ours.extensions.size(), static_cast<std::size_t>(X509_get_ext_count(theirs)));
  for (std::size_t i = 0; i < ours.extensions.size(); ++i) {
    auto* extension = X509_get_ext(theirs, static_cast<int>(i));
    const auto* type = X509_EXTENSION_get_object(extension);
    EXPECT_TRUE(same_bytes(ours.extensions[i].oid, ByteView{OBJ_get0_data(type), OBJ_length(type)}));
    EXPECT_EQ(ours.extensions[i].critical, X509_EXTENSION_get_critical(extension) == 1);
    EXPECT_EQ(ours.extensions[i].value, octets(X509_EXTENSION_get_data(extension)));
  }
  const auto flags = X509_get_extension_flags(theirs);
  EXPECT_EQ(ours.is_ca.has_value(), (flags & EXFLAG_BCONS) != 0);
  EXPECT_EQ(ours.is_ca.value_or(false), (flags & EXFLAG_CA) != 0);
  const auto length = X509_get_pathlen(theirs);
  EXPECT_EQ(ours.path_length.has_value(), length >= 0);
  EXPECT_EQ(ours.path_length.value_or(0), static_cast<std::uint64_t>(std::max(length, 0L)));
  ASSERT_EQ(ours.key_usage.has_value(), (flags & EXFLAG_KUSAGE) != 0);
  if (ours.key_usage) {
    const auto usage = X509_get_key_usage(theirs);  // first octet low, second high
    EXPECT_EQ(*ours.key_usage, (usage & 0xFFU) << 8U | usage >> 8U);
  }
  EXPECT_EQ(ours.subject_key_id, octets(X509_get0_subject_key_id(theirs)));
  EXPECT_EQ(ours.authority_key_id, octets(X509_get0_authority_key_id(theirs)));
}

void compare(const Certificate& ours, X509* theirs) {
  EXPECT_EQ(ours.subject, encoded<X509_NAME>(X509_get_subject_name(theirs), i2d_X509_NAME));
  EXPECT_EQ(ours.issuer, encoded<X509_NAME>(X509_get_issuer_name(theirs), i2d_X509_NAME));
  EXPECT_EQ(ours.serial, integer_contents(X509_get0_serialNumber(theirs)));
  EXPECT_EQ(seconds(ours.not_before), seconds(X509_get0_notBefore(theirs)));
  EXPECT_EQ(seconds(ours.not_after), seconds(X509_get0_notAfter(theirs)));
  EXPECT_EQ(ours.public_key_info, encoded<X509_PUBKEY>(X509_get_X509_PUBKEY(theirs), i2d_X509_PUBKEY));
  const ASN1_BIT_STRING* signature = nullptr;
  X509_get0_signature(&signature, nullptr, theirs);
  EXPECT_EQ(ours.signature, octets(signature));
  compare_key(ours, theirs);
  compare_extensions(ours, theirs);
}

void compare(const Crl& ours, X509_CRL* theirs) {
  EXPECT_EQ(ours.issuer, encoded<X509_NAME>(X509_CRL_get_issuer(theirs), i2d_X509_NAME));
  EXPECT_EQ(seconds(ours.this_update), seconds(X509_CRL_get0_lastUpdate(theirs)));
  const auto* next = X509_CRL_get0_nextUpdate(theirs);
  ASSERT_EQ(ours.next_update.has_value(), next != nullptr);
  EXPECT_EQ(ours.next_update ? seconds(*ours.next_update) : 0, next != nullptr ? seconds(next) : 0);
  auto* entries = X509_CRL_get_REVOKED(theirs);
  ASSERT_EQ(ours.revoked.size(), static_cast<std::size_t>(std::max(0, sk_X509_REVOKED_num(entries))));
  std::multiset<Bytes> serials;
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    serials.insert(integer_contents(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i))));
  }
  for (const auto& entry : ours.revoked) EXPECT_TRUE(serials.contains(entry.serial));
}

/// Every distinct certificate and CRL that OpenSSL finds anywhere in a file: DER at any place, PEM also with its line
/// ends escaped, hex.
struct Corpus {
  std::map<Bytes, std::string> certificates;  // DER to the file it was first seen in
  std::map<Bytes, std::string> crls;

  void add_der(ByteView bytes, const std::string& file) {
    for (std::size_t at = 0; at + 4 < bytes.size(); ++at) {
      if (bytes[at] != 0x30 || bytes[at + 1] != 0x82) continue;
      const std::size_t size = 4 + (std::size_t{bytes[at + 2]} << 8U | bytes[at + 3]);
      if (size > bytes.size() - at) continue;
      const auto one = bytes.subspan(at, size);
      if (openssl_certificate(one)) {
        certificates.emplace(to_bytes(one), file);
      } else if (openssl_crl(one)) {
        crls.emplace(to_bytes(one), file);
      } else {
        continue;
      }
      at += size - 1;
    }
  }

  void add_pem(std::string text, const std::string& file) {
    for (auto at = text.find("\\n"); at != std::string::npos; at = text.find("\\n", at)) text.replace(at, 2, "\n");
    static constexpr std::string_view kBegin = "-----BEGIN ";
    for (auto at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, at + 1)) {
      const auto end = text.find("-----END ", at);
      if (end == std::string::npos) return;
      const auto stop = text.find("-----", end + 9);
      if (stop == std::string::npos) return;
      const auto blocks = codec::parse_pem(text.substr(at, stop + 5 - at) + "\n");
      if (blocks.ok()) {
        for (const auto& block : *blocks) add_der(block.der, file);
      }
    }
  }

  void add_hex(std::string_view text, const std::string& file) {
    static constexpr std::string_view kDigits = "0123456789abcdefABCDEF";
    for (auto at = text.find("3082"); at != std::string_view::npos; at = text.find("3082", at + 4)) {
      auto run = text.substr(at, text.find_first_not_of(kDigits, at) - at);
      if (run.size() < 512) continue;
      run.remove_suffix(run.size() % 2);
      add_der(codec::from_hex(run).value(), file);
      at += run.size() - 4;
    }
  }
};

const Corpus& corpus(const std::filesystem::path& folder) {
  static const auto all = [&] {
    Corpus out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{folder / "attestation"}) {
      if (!entry.is_regular_file() || entry.file_size() > 1U << 20) continue;
      const auto name = std::filesystem::relative(entry.path(), folder).string();
      const auto bytes = test::read_file(entry.path());
      out.add_der(bytes, name);
      out.add_pem(std::string{as_text(bytes)}, name);
      out.add_hex(as_text(bytes), name);
    }
    return out;
  }();
  return all;
}

/// What is refused, and why.
const std::set<std::pair<std::string, std::string>> kRefused{
    {"attestation/sgx/openenclave-negative/sgx_cert_rsa_bad.der",
     "certificate: tbsCertificate: subjectPublicKeyInfo: P-256: the point is not on the curve"},
    {"attestation/sgx/openenclave-negative/sgx_cert_ec_bad.der",
     "certificate: 1.2.840.10045.4.3.2: parameters that do not belong to it"},
    // A version 1 certificate of a firmware's, inside its event log.
    {"attestation/tdx/eventlog-trustee/CCEL_data_grub",
     "certificate: tbsCertificate: DER: tag 0xa0 expected, got 0x02"},
};

TEST(X509Vectors, CertificatesReadAsOpensslReadsThem) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  EXPECT_GT(corpus(folder).certificates.size(), 100U);
  std::set<std::pair<std::string, std::string>> refused;
  for (const auto& [der, file] : corpus(folder).certificates) {
    SCOPED_TRACE(file);
    const auto ours = parse_certificate(der);
    if (ours.ok()) {
      compare(**ours, openssl_certificate(der).get());
      continue;
    }
    EXPECT_EQ(ours.error().code(), Errc::certificate_malformed);
    refused.emplace(file, ours.error().detail());
  }
  EXPECT_EQ(refused, kRefused);
}

TEST(X509Vectors, CrlsReadAsOpensslReadsThem) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  EXPECT_GT(corpus(folder).crls.size(), 15U);
  for (const auto& [der, file] : corpus(folder).crls) {
    SCOPED_TRACE(file);
    const auto ours = parse_crl(der);
    ASSERT_TRUE(ours.ok()) << ours.error().text();
    compare(*ours, openssl_crl(der).get());
  }
}

/// Up to `count` copies of `der` with one bit changed each, evenly spread.
void for_mutants(ByteView der, std::size_t count, const std::function<void(ByteView)>& use) {
  const auto bits = der.size() * 8;
  const auto step = std::max<std::size_t>(1, bits / count) | 1U;  // odd, so that every bit of a byte has its turn
  auto mutant = to_bytes(der);
  for (std::size_t bit = 0; bit < bits; bit += step) {
    mutant[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    use(mutant);
    mutant[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
}

constexpr std::size_t kMutants = 100;

TEST(X509Vectors, CertificateMutantsAreNeverReadMorePermissively) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto netscape_type = codec::der::oid("2.16.840.1.113730.1.1");  // OpenSSL reads it still, we do not
  std::size_t read = 0;
  for (const auto& [der, file] : corpus(folder).certificates) {
    SCOPED_TRACE(file);
    for_mutants(der, kMutants, [&](ByteView mutant) {
      const auto ours = parse_certificate(mutant);
      if (!ours.ok()) return;
      // A key of a kind that is not supported can do nothing; OpenSSL refuses some of them earlier.
      if (std::holds_alternative<std::monostate>((*ours)->key)) return;
      if ((*ours)->find(netscape_type) != nullptr) return;
      ++read;
      const auto theirs = openssl_certificate(mutant);
      ASSERT_NE(theirs, nullptr) << codec::to_hex(mutant);
      ASSERT_EQ(X509_get_extension_flags(theirs.get()) & EXFLAG_INVALID, 0U) << codec::to_hex(mutant);
      compare(**ours, theirs.get());
    });
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(read, 500U);
}

TEST(X509Vectors, CrlMutantsAreNeverReadMorePermissively) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  std::size_t read = 0;
  for (const auto& [der, file] : corpus(folder).crls) {
    SCOPED_TRACE(file);
    for_mutants(der, kMutants, [&](ByteView mutant) {
      const auto ours = parse_crl(mutant);
      if (!ours.ok()) return;
      ++read;
      const auto theirs = openssl_crl(mutant);
      ASSERT_NE(theirs, nullptr) << codec::to_hex(mutant);
      compare(*ours, theirs.get());
    });
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(read, 500U);
}

/// Every byte changed in three ways, left away, doubled, and with a zero before it; every length below the whole.
void for_all_changes(ByteView der, const std::function<void(ByteView)>& use) {
  auto changed = to_bytes(der);
  for (std::size_t at = 0; at < der.size(); ++at) {
    for (const std::uint8_t flip : {std::uint8_t{0x01}, std::uint8_t{0x80}, std::uint8_t{0xFF}}) {
      changed[at] = static_cast<std::uint8_t>(der[at] ^ flip);
      use(changed);
    }
    changed[at] = der[at];
    const auto place = static_cast<std::ptrdiff_t>(at);
    for (const std::uint8_t extra : {der[at], std::uint8_t{0}}) {
      auto longer = to_bytes(der);
      longer.insert(longer.begin() + place, extra);
      use(longer);
    }
    auto shorter = to_bytes(der);
    shorter.erase(shorter.begin() + place);
    use(shorter);
    use(der.first(at));
  }
}

/// One certificate of each kind that signs quotes, reports and collateral: by the names of subject and issuer.
std::map<std::pair<std::string, std::string>, CertificatePtr> one_of_each_kind(const Corpus& all) {
  std::map<std::pair<std::string, std::string>, CertificatePtr> out;
  for (const auto& [der, file] : all.certificates) {
    const auto of = [&](std::string_view folder) { return file.starts_with("attestation/" + std::string{folder}); };
    if (!of("sgx/") && !of("tdx/") && !of("dcap-cases/") && !of("snp/")) continue;
    if (const auto one = parse_certificate(der)) out.emplace(std::pair{(*one)->subject_common_name, (*one)->issuer_common_name}, *one);
  }
  return out;
}

/// The two readers agree on whatever ours takes, and so do the verifiers of its signature.
template <class Parsed, class Theirs, class Parse, class Decode, class Verify>
std::size_t compare_changes(ByteView der, const Certificate* issuer, const Parse& parse, const Decode& read, const Verify& verify) {
  const auto issuer_there = issuer == nullptr ? nullptr : openssl_certificate(issuer->der);
  const auto original = parse(der);
  if (!original.ok()) return 0;
  std::size_t taken = 0;
  for_all_changes(der, [&](ByteView changed) {
    const auto ours = parse(changed);
    if (!ours.ok()) return;
    ++taken;
    const Theirs theirs = read(changed);
    ASSERT_NE(theirs, nullptr) << codec::to_hex(changed);
    // Only where what was signed stands as it was can a signature hold.
    if (issuer == nullptr || !same_bytes(ours->tbs, original->tbs)) return;
    if (!verify_signature(static_cast<const Parsed&>(*ours), *issuer).ok()) return;
    EXPECT_EQ(verify(theirs.get(), X509_get0_pubkey(issuer_there.get())), 1) << codec::to_hex(changed);
    EXPECT_TRUE(same_bytes(changed, der)) << codec::to_hex(changed);
  });
  return taken;
}

TEST(X509Vectors, NoChangedCertificateIsReadOrTrustedMorePermissively) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto kinds = one_of_each_kind(corpus(folder));
  EXPECT_GE(kinds.size(), 12U);
  std::size_t taken = 0;
  const auto parse = [](ByteView der) -> Result<Certificate> {
    CLOISTER_TRY(one, parse_certificate(der));
    // A key of a kind that is not supported can do nothing; OpenSSL refuses some of them earlier.
    if (std::holds_alternative<std::monostate>(one->key)) return Error{Errc::unsupported, "key"};
    return *one;
  };
  for (const auto& [names, one] : kinds) {
    SCOPED_TRACE(names.first);
    const auto issuer = std::ranges::find_if(kinds, [&](const auto& kind) {
      return kind.second->subject == one->issuer && verify_signature(*one, *kind.second).ok();
    });
    taken += compare_changes<Certificate, X509Ptr>(one->der, issuer == kinds.end() ? nullptr : issuer->second.get(), parse,
                                                   openssl_certificate, X509_verify);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(taken, 1'000U);
}

TEST(X509Vectors, NoChangedCrlIsReadOrTrustedMorePermissively) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto kinds = one_of_each_kind(corpus(folder));
  constexpr std::size_t kLongest = 1'000;  // longer ones repeat entries that are all alike
  std::size_t taken = 0;
  for (const auto& [der, file] : corpus(folder).crls) {
    if (der.size() > kLongest) continue;
    SCOPED_TRACE(file);
    const auto list = parse_crl(der);
    const auto issuer = std::ranges::find_if(kinds, [&](const auto& kind) {
      return kind.second->subject == list->issuer && verify_signature(*list, *kind.second).ok();
    });
    taken += compare_changes<Crl, CrlPtr>(der, issuer == kinds.end() ? nullptr : issuer->second.get(), parse_crl, openssl_crl,
                                          X509_CRL_verify);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(taken, 500U);
}

}  // namespace
}  // namespace cloister::crypto::x509
