#include "cloister/kms/pkcs11.hpp"

#include <map>
#include <mutex>

#include "cloister/codec/cbor.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/crypto/aead.hpp"
#include "pkcs11_token.hpp"
#include "private_file.hpp"

namespace cloister::kms {
namespace {

constexpr std::string_view kDomain = "cloister/kms/hsm/1";
constexpr std::string_view kWrap = "wrap";
constexpr std::string_view kSeal = "seal";
constexpr std::string_view kProbe = "cloister/kms/probe/1";  // no CBOR array, so nobody else's info
constexpr std::size_t kKeySize = 32;
constexpr std::size_t kMaxPin = 255;

using Iv = ByteArray<12>;

/// What the HSM binds a wrapped key to.
Bytes bound_to(std::string_view use, ByteView associated) {
  return codec::cbor::Writer{}.array(3).text(kDomain).text(use).bytes(associated).take();
}

Result<crypto::SecretBytes> read_pin(const std::filesystem::path& file) {
  auto pin = read_private_file(file, "PIN", 1, kMaxPin + 1);
  if (!pin && pin.error().code() == Errc::not_found) return Error{Errc::configuration_invalid, pin.error().detail()};
  if (!pin) return pin;
  const auto line = pin->reveal();
  const auto length = line.back() == '\n' ? line.size() - 1 : line.size();
  if (length == 0 || length > kMaxPin) {
    return Error{Errc::configuration_invalid, "PIN " + file.string() + ": 1 to 255 bytes expected"};
  }
  return crypto::SecretBytes::copy_of(line.first(length));
}

}  // namespace

class Pkcs11Kms::Impl {
 public:
  Impl(std::unique_ptr<Token> token, std::string object, Random& random)
      : token_{std::move(token)}, root_{object + "/root"}, wrap_{object + "/wrap"}, sign_{object + "/sign/"}, random_{random} {}

  /// Finds or makes both keys. A root without its wrapping key is a first start that was cut short, or a key that
  /// somebody removed: only where keys may be made is the other one added.
  Result<void> prepare(bool make) {
    for (const auto kind : {KeyKind::root, KeyKind::wrapping}) {
      const auto& label = kind == KeyKind::root ? root_ : wrap_;
      CLOISTER_CHECK(token_->run([&](Session& session) -> Result<void> {
        const auto found = session.key(kind, label);
        if (found) return {};
        if (found.error().code() != Errc::hsm_key_missing || session.code() != CKR_OK || !make) return found.error();
        return session.make_key(kind, label);
      }));
    }
    return {};
  }

  Result<crypto::Secret<32>> derive(ByteView info) {
    // RFC 5869, section 2.3, for 32 bytes: T(1) = HMAC(PRK, info || 0x01).
    auto input = codec::cbor::Writer{}.array(3).text(kDomain).text("derive").bytes(info).take();
    input.push_back(1);
    std::optional<crypto::Secret<32>> out;
    CLOISTER_CHECK(token_->run([&](Session& session) -> Result<void> {
      CLOISTER_TRY(root, session.key(KeyKind::root, root_));
      CLOISTER_TRY(block, session.hmac(root, input));
      out.emplace(std::move(block));
      return {};
    }));
    return *std::move(out);
  }

  Result<Bytes> encrypt(const Iv& iv, ByteView associated, ByteView key) {
    Bytes out;
    CLOISTER_CHECK(token_->run([&](Session& session) -> Result<void> {
      CLOISTER_TRY(wrapping, session.key(KeyKind::wrapping, wrap_));
      CLOISTER_TRY(ciphertext, session.encrypt(wrapping, iv, associated, key));
      out = std::move(ciphertext);
      return {};
    }));
    return out;
  }

  Result<crypto::Secret<32>> decrypt(const Iv& iv, ByteView associated, ByteView ciphertext) {
    crypto::SecretBytes out;
    CLOISTER_CHECK(token_->run([&](Session& session) -> Result<void> {
      CLOISTER_TRY(wrapping, session.key(KeyKind::wrapping, wrap_));
      CLOISTER_TRY(key, session.decrypt(wrapping, iv, associated, ciphertext, random_));
      out = std::move(key);
      return {};
    }));
    if (out.size() != kKeySize) return Error{Errc::decryption_failed, "a wrapped key of 32 bytes expected"};
    return crypto::Secret<32>::copy_of(out.reveal());
  }

  /// The public half, which is read once: a key by that name that another process put there later is not ours.
  Result<crypto::Ed25519Public> public_key(std::string_view name) {
    if (!valid_id(name)) return Error{Errc::invalid_argument, "name of a signing key: an id expected"};
    const std::lock_guard held{names_mutex_};  // one of our threads makes it
    if (const auto known = names_.find(name); known != names_.end()) return known->second;
    crypto::Ed25519Public out{};
    const auto label = sign_ + std::string{name};
    const auto find_or_make = [&](Session& session) -> Result<void> {
      const auto found = session.key(KeyKind::signing_private, label);
      if (!found) {
        if (found.error().code() != Errc::hsm_key_missing || session.code() != CKR_OK) return found.error();
        CLOISTER_CHECK(session.make_signing_key(label));
      }
      CLOISTER_TRY(half, session.key(KeyKind::signing_public, label));
      CLOISTER_TRY(value, session.public_value(half));
      out = value;
      return {};
    };
    CLOISTER_CHECK(token_->run(find_or_make));
    CLOISTER_CHECK(crypto::check_ed25519_key(out));
    names_.emplace(name, out);
    return out;
  }

  Result<crypto::Ed25519Signature> sign(std::string_view name, ByteView message) {
    CLOISTER_TRY(key, public_key(name));
    const auto label = sign_ + std::string{name};
    crypto::Ed25519Signature out{};
    CLOISTER_CHECK(token_->run([&](Session& session) -> Result<void> {
      CLOISTER_TRY(half, session.key(KeyKind::signing_private, label));
      CLOISTER_TRY(signature, session.sign(half, message));
      out = signature;
      return {};
    }));
    // A fault while signing can give the private half away (and a swapped key gives a signature nobody can check).
    if (!crypto::ed25519_verify(key, message, out)) {
      return Error{Errc::hsm_key_unfit, "HSM: the key labelled '" + label + "' signs, but not for its public half"};
    }
    return out;
  }

  [[nodiscard]] Random& random() noexcept { return random_; }

 private:
  std::unique_ptr<Token> token_;
  std::string root_;
  std::string wrap_;
  std::string sign_;
  Random& random_;
  std::mutex names_mutex_;
  std::map<std::string, crypto::Ed25519Public, std::less<>> names_;
};

Pkcs11Kms::Pkcs11Kms(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Pkcs11Kms::~Pkcs11Kms() = default;

Result<std::unique_ptr<Pkcs11Kms>> Pkcs11Kms::open(const Pkcs11Uri& uri, const Options& options, Random& random) {
  CLOISTER_TRY(pin, read_pin(uri.pin_file));
  CLOISTER_TRY(token, Token::open(uri, std::move(pin), {options.sessions, options.wait, options.pause}));
  auto impl = std::make_unique<Impl>(std::move(token), uri.object, random);
  CLOISTER_CHECK(impl->prepare(options.make_keys));
  return std::unique_ptr<Pkcs11Kms>{new Pkcs11Kms{std::move(impl)}};
}

Result<crypto::Secret<32>> Pkcs11Kms::derive(ByteView info) const { return impl_->derive(info); }

Result<Bytes> Pkcs11Kms::wrap(const crypto::Secret<32>& key, ByteView associated) const {
  const auto iv = impl_->random().array<12>();
  CLOISTER_TRY(ciphertext, impl_->encrypt(iv, bound_to(kWrap, associated), key.reveal()));
  return codec::cbor::Writer{}.array(4).text(kDomain).text(kWrap).bytes(iv).bytes(ciphertext).take();
}

Result<crypto::Secret<32>> Pkcs11Kms::unwrap(ByteView wrapped, ByteView associated) const {
  codec::cbor::Reader in{wrapped};
  in.array(4);
  in.domain(kDomain);
  in.domain(kWrap);
  const auto iv = in.bytes<12>();
  const auto ciphertext = in.bytes();
  if (const auto read = in.finish(); !read) return Error{Errc::decryption_failed, read.error().text()};
  return impl_->decrypt(iv, bound_to(kWrap, associated), ciphertext);
}

Result<Bytes> Pkcs11Kms::seal(ByteView associated, ByteView plaintext) const {
  if (plaintext.size() > kMaxSealed) {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(kMaxSealed) + " bytes can be sealed by the Kms"};
  }
  const auto iv = impl_->random().array<12>();
  const auto bound = bound_to(kSeal, associated);
  const auto key = crypto::Secret<32>::random(impl_->random());
  CLOISTER_TRY(wrapped, impl_->encrypt(iv, bound, key.reveal()));
  const auto ciphertext = crypto::chacha20poly1305_seal(key.reveal(), crypto::Nonce{}, bound, plaintext);
  return codec::cbor::Writer{}.array(5).text(kDomain).text(kSeal).bytes(iv).bytes(wrapped).bytes(ciphertext).take();
}

Result<crypto::SecretBytes> Pkcs11Kms::open(ByteView associated, ByteView sealed) const {
  codec::cbor::Reader in{sealed};
  in.array(5);
  in.domain(kDomain);
  in.domain(kSeal);
  const auto iv = in.bytes<12>();
  const auto wrapped = in.bytes();
  const auto ciphertext = in.bytes();
  if (const auto read = in.finish(); !read) return Error{Errc::decryption_failed, read.error().text()};
  const auto bound = bound_to(kSeal, associated);
  CLOISTER_TRY(key, impl_->decrypt(iv, bound, wrapped));
  return crypto::chacha20poly1305_open(key.reveal(), crypto::Nonce{}, bound, ciphertext);
}

Result<crypto::Ed25519Public> Pkcs11Kms::public_key(std::string_view name) const { return impl_->public_key(name); }

Result<crypto::Ed25519Signature> Pkcs11Kms::sign(std::string_view name, ByteView message) const {
  return impl_->sign(name, message);
}

Result<void> Pkcs11Kms::probe() const {
  const auto used = impl_->derive(as_bytes(kProbe));
  return used ? Result<void>{} : Result<void>{used.error()};
}

}  // namespace cloister::kms
