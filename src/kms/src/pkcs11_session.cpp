#include <algorithm>
#include <array>
#include <utility>

#include "pkcs11_token.hpp"

namespace cloister::kms {
namespace {

constexpr std::size_t kTag = 16;
constexpr CK_ULONG kSecretSize = 32;
// RFC 8410: id-Ed25519, 1.3.101.112, as CKA_EC_PARAMS has it.
constexpr std::array<CK_BYTE, 5> kEd25519{0x06, 0x03, 0x2b, 0x65, 0x70};

/// A template under construction: the values live as long as it does.
class Attributes {
 public:
  Attributes& flag(CK_ATTRIBUTE_TYPE type, bool value) { return bytes(type, {value ? CK_BYTE{1} : CK_BYTE{0}}); }
  Attributes& number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    std::vector<CK_BYTE> out(sizeof value);
    std::copy_n(reinterpret_cast<const CK_BYTE*>(&value), sizeof value, out.begin());
    return bytes(type, std::move(out));
  }
  Attributes& text(CK_ATTRIBUTE_TYPE type, std::string_view value) { return bytes(type, {value.begin(), value.end()}); }
  Attributes& bytes(CK_ATTRIBUTE_TYPE type, std::vector<CK_BYTE> value) {
    values_.emplace_back(type, std::move(value));
    return *this;
  }
  [[nodiscard]] std::vector<CK_ATTRIBUTE> view() {
    std::vector<CK_ATTRIBUTE> out;
    for (auto& [type, value] : values_) out.push_back({type, value.data(), value.size()});
    return out;
  }

 private:
  std::vector<std::pair<CK_ATTRIBUTE_TYPE, std::vector<CK_BYTE>>> values_;
};

CK_OBJECT_CLASS class_of(KeyKind kind) {
  switch (kind) {
    case KeyKind::root:
    case KeyKind::wrapping:
      return CKO_SECRET_KEY;
    case KeyKind::signing_private:
      return CKO_PRIVATE_KEY;
    case KeyKind::signing_public:
      return CKO_PUBLIC_KEY;
  }
  return CKO_VENDOR_DEFINED;
}

CK_KEY_TYPE type_of(KeyKind kind) {
  switch (kind) {
    case KeyKind::root:
      return CKK_GENERIC_SECRET;
    case KeyKind::wrapping:
      return CKK_AES;
    case KeyKind::signing_private:
    case KeyKind::signing_public:
      return CKK_EC_EDWARDS;
  }
  return CKK_VENDOR_DEFINED;
}

/// Keys that stay inside: neither readable nor wrappable, and used for one thing.
Attributes kept_inside(KeyKind kind, const std::string& label) {
  Attributes out;
  out.flag(CKA_TOKEN, true).flag(CKA_PRIVATE, true).flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, false);
  out.flag(CKA_MODIFIABLE, false).text(CKA_LABEL, label);
  out.flag(CKA_SIGN, kind != KeyKind::wrapping).flag(CKA_DECRYPT, kind == KeyKind::wrapping);
  out.flag(CKA_UNWRAP, false).flag(CKA_DERIVE, false);
  return out;
}

/// PKCS#11 has no const, and modules refuse a null pointer also to nothing.
CK_BYTE_PTR pointer(ByteView bytes) {
  static CK_BYTE nothing = 0;
  return bytes.empty() ? &nothing : const_cast<CK_BYTE_PTR>(bytes.data());
}

Error refused() { return Error{Errc::decryption_failed, "HSM: what was sealed was changed, or is another's"}; }

CK_GCM_PARAMS gcm(const ByteArray<12>& iv, ByteView associated) {
  CK_GCM_PARAMS out{};
  out.iv_ptr = pointer(iv);
  out.iv_len = iv.size();
  out.iv_bits = iv.size() * 8;
  out.aad_ptr = pointer(associated);
  out.aad_len = associated.size();
  out.tag_bits = kTag * 8;
  return out;
}

}  // namespace

Error Session::failed(std::string_view call, CK_RV code) {
  code_ = code;
  return failure(call, code);
}

Result<std::vector<CK_OBJECT_HANDLE>> Session::find(KeyKind kind, const std::string& label) {
  Attributes wanted;
  wanted.number(CKA_CLASS, class_of(kind)).flag(CKA_TOKEN, true).text(CKA_LABEL, label);
  auto query = wanted.view();
  if (const auto code = calls_.C_FindObjectsInit(handle_, query.data(), query.size()); code != CKR_OK) {
    return failed("C_FindObjectsInit", code);
  }
  std::vector<CK_OBJECT_HANDLE> found(3);
  CK_ULONG count = 0;
  const auto code = calls_.C_FindObjects(handle_, found.data(), found.size(), &count);
  const auto ended = calls_.C_FindObjectsFinal(handle_);
  if (code != CKR_OK) return failed("C_FindObjects", code);
  if (ended != CKR_OK) return failed("C_FindObjectsFinal", ended);
  found.resize(std::min<std::size_t>(count, found.size()));
  return found;
}

Result<CK_OBJECT_HANDLE> Session::key(KeyKind kind, const std::string& label) {
  const auto name = std::to_string(static_cast<int>(kind)) + label;
  if (const auto known = known_.find(name); known != known_.end()) return known->second;
  CLOISTER_TRY(found, find(kind, label));
  if (found.empty()) {
    // Without a login there are no private keys to be seen, which is not the same as none.
    CK_SESSION_INFO info{};
    if (const auto code = calls_.C_GetSessionInfo(handle_, &info); code != CKR_OK) return failed("C_GetSessionInfo", code);
    if (info.state != CKS_RW_USER_FUNCTIONS) return failed("C_FindObjects", CKR_USER_NOT_LOGGED_IN);
    return Error{Errc::hsm_key_missing, "HSM: no key labelled '" + label + "'"};
  }
  if (found.size() > 1) return Error{Errc::hsm_key_unfit, "HSM: more than one key labelled '" + label + "'"};
  CLOISTER_CHECK(check(kind, label, found[0]));
  known_.emplace(name, found[0]);
  return found[0];
}

/// PKCS#11 2.40, section 4.4 and table 27: what a key that never left the token has.
Result<void> Session::check(KeyKind kind, const std::string& label, CK_OBJECT_HANDLE key) {
  const auto unfit = [&](std::string_view why) {
    return Error{Errc::hsm_key_unfit, "HSM: the key labelled '" + label + "' " + std::string{why}};
  };
  CK_KEY_TYPE type = CKK_VENDOR_DEFINED;
  CK_ATTRIBUTE asked{CKA_KEY_TYPE, &type, sizeof type};
  if (const auto code = calls_.C_GetAttributeValue(handle_, key, &asked, 1); code != CKR_OK) {
    return failed("C_GetAttributeValue", code);
  }
  if (type != type_of(kind)) return unfit("is of another type");
  if (kind == KeyKind::signing_public) return {};

  struct Flag {
    CK_ATTRIBUTE_TYPE type;
    CK_BBOOL wanted;
    std::string_view why;
  };
  constexpr std::array kFlags{
      Flag{CKA_SENSITIVE, CK_TRUE, "can be read (not CKA_SENSITIVE)"},
      Flag{CKA_EXTRACTABLE, CK_FALSE, "can be taken out (CKA_EXTRACTABLE)"},
      Flag{CKA_LOCAL, CK_TRUE, "was not made in this HSM (not CKA_LOCAL)"},
      Flag{CKA_ALWAYS_SENSITIVE, CK_TRUE, "could be read once (not CKA_ALWAYS_SENSITIVE)"},
      Flag{CKA_NEVER_EXTRACTABLE, CK_TRUE, "could be taken out once (not CKA_NEVER_EXTRACTABLE)"},
      Flag{CKA_PRIVATE, CK_TRUE, "can be used without the PIN (not CKA_PRIVATE)"},
      Flag{CKA_DERIVE, CK_FALSE, "can be derived from (CKA_DERIVE)"},
  };
  for (const auto& flag : kFlags) {
    CK_BBOOL value = 2;
    CK_ATTRIBUTE attribute{flag.type, &value, sizeof value};
    if (const auto code = calls_.C_GetAttributeValue(handle_, key, &attribute, 1); code != CKR_OK) {
      return failed("C_GetAttributeValue", code);
    }
    if (value != flag.wanted) return unfit(flag.why);
  }
  if (kind == KeyKind::signing_private) return {};
  CK_ULONG size = 0;
  CK_ATTRIBUTE length{CKA_VALUE_LEN, &size, sizeof size};
  if (const auto code = calls_.C_GetAttributeValue(handle_, key, &length, 1); code != CKR_OK) {
    return failed("C_GetAttributeValue", code);
  }
  if (size != kSecretSize) return unfit("has not 32 bytes");
  return {};
}

Result<void> Session::keep_if_alone(KeyKind kind, const std::string& label, std::vector<CK_OBJECT_HANDLE> made) {
  const auto found = find(kind, label);
  if (found && found->size() == 1) return {};
  for (const auto object : made) calls_.C_DestroyObject(handle_, object);
  if (!found) return found.error();
  return Error{Errc::conflict, "HSM: another process made the key labelled '" + label + "' at the same time: try again"};
}

Result<void> Session::make_key(KeyKind kind, const std::string& label) {
  auto attributes = kept_inside(kind, label);
  attributes.number(CKA_VALUE_LEN, kSecretSize).flag(CKA_ENCRYPT, kind == KeyKind::wrapping).flag(CKA_VERIFY, false);
  attributes.flag(CKA_WRAP, false);
  auto view = attributes.view();
  CK_MECHANISM mechanism{kind == KeyKind::root ? CKM_GENERIC_SECRET_KEY_GEN : CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
  if (const auto code = calls_.C_GenerateKey(handle_, &mechanism, view.data(), view.size(), &made); code != CKR_OK) {
    return failed("C_GenerateKey", code);
  }
  return keep_if_alone(kind, label, {made});
}

Result<void> Session::make_signing_key(const std::string& label) {
  Attributes open;
  open.flag(CKA_TOKEN, true).flag(CKA_PRIVATE, false).flag(CKA_VERIFY, true).flag(CKA_MODIFIABLE, false);
  open.text(CKA_LABEL, label).bytes(CKA_EC_PARAMS, {kEd25519.begin(), kEd25519.end()});
  auto secret = kept_inside(KeyKind::signing_private, label);
  auto open_view = open.view();
  auto secret_view = secret.view();
  CK_MECHANISM mechanism{CKM_EC_EDWARDS_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_half = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_half = CK_INVALID_HANDLE;
  if (const auto code = calls_.C_GenerateKeyPair(handle_, &mechanism, open_view.data(), open_view.size(), secret_view.data(),
                                                 secret_view.size(), &public_half, &private_half);
      code != CKR_OK) {
    return failed("C_GenerateKeyPair", code);
  }
  return keep_if_alone(KeyKind::signing_private, label, {private_half, public_half});
}

Result<crypto::Secret<32>> Session::hmac(CK_OBJECT_HANDLE key, ByteView data) {
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  if (const auto code = calls_.C_SignInit(handle_, &mechanism, key); code != CKR_OK) return failed("C_SignInit", code);
  crypto::SecretBytes out{32};
  CK_ULONG size = out.size();
  const auto code = calls_.C_Sign(handle_, pointer(data), data.size(), out.writable().data(), &size);
  if (code != CKR_OK) return failed("C_Sign", code);
  if (size != out.size()) return failed("C_Sign: 32 bytes expected", CKR_DEVICE_ERROR);
  return crypto::Secret<32>::copy_of(out.reveal());
}

Result<Bytes> Session::encrypt(CK_OBJECT_HANDLE key, const ByteArray<12>& iv, ByteView associated, ByteView plaintext) {
  auto parameters = gcm(iv, associated);
  CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
  if (const auto code = calls_.C_EncryptInit(handle_, &mechanism, key); code != CKR_OK) return failed("C_EncryptInit", code);
  Bytes out(plaintext.size() + kTag);
  CK_ULONG size = out.size();
  const auto code = calls_.C_Encrypt(handle_, pointer(plaintext), plaintext.size(), out.data(), &size);
  if (code != CKR_OK) return failed("C_Encrypt", code);
  if (size != out.size()) return failed("C_Encrypt: ciphertext and tag expected", CKR_DEVICE_ERROR);
  return out;
}

Result<crypto::SecretBytes> Session::try_decrypt(CK_OBJECT_HANDLE key, const ByteArray<12>& iv, ByteView associated,
                                                 ByteView ciphertext, bool& vague) {
  auto parameters = gcm(iv, associated);
  CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
  if (const auto code = calls_.C_DecryptInit(handle_, &mechanism, key); code != CKR_OK) return failed("C_DecryptInit", code);
  // As large as the ciphertext, since a module may measure before it takes the tag off.
  crypto::SecretBytes out{ciphertext.size()};
  CK_ULONG size = out.size();
  const auto code = calls_.C_Decrypt(handle_, pointer(ciphertext), ciphertext.size(), out.writable().data(), &size);
  if (code == CKR_ENCRYPTED_DATA_INVALID || code == CKR_ENCRYPTED_DATA_LEN_RANGE) return refused();
  vague = code == CKR_GENERAL_ERROR || code == CKR_FUNCTION_FAILED;
  if (code != CKR_OK) return failed("C_Decrypt", code);
  if (size != ciphertext.size() - kTag) return failed("C_Decrypt: the plaintext's size expected", CKR_DEVICE_ERROR);
  return crypto::SecretBytes::copy_of(out.reveal().first(size));
}

Result<crypto::SecretBytes> Session::decrypt(CK_OBJECT_HANDLE key, const ByteArray<12>& iv, ByteView associated,
                                             ByteView ciphertext, Random& random) {
  if (ciphertext.size() < kTag) return refused();
  bool vague = false;
  auto opened = try_decrypt(key, iv, associated, ciphertext, vague);
  if (opened || !vague) return opened;
  // Some modules (SoftHSM 2.6) say of a wrong tag only that something failed. Where the same key opens what it just
  // sealed, and fails at this once more, the ciphertext is at fault.
  const auto fresh = random.array<12>();
  code_ = CKR_OK;
  CLOISTER_TRY(sealed, encrypt(key, fresh, {}, ByteArray<kTag>{}));
  CLOISTER_TRY(probe, try_decrypt(key, fresh, {}, sealed, vague));
  opened = try_decrypt(key, iv, associated, ciphertext, vague);
  if (opened || !vague) return opened;
  code_ = CKR_OK;
  return refused();
}

Result<ByteArray<64>> Session::sign(CK_OBJECT_HANDLE key, ByteView message) {
  CK_MECHANISM mechanism{CKM_EDDSA, nullptr, 0};
  if (const auto code = calls_.C_SignInit(handle_, &mechanism, key); code != CKR_OK) return failed("C_SignInit", code);
  ByteArray<64> out{};
  CK_ULONG size = out.size();
  const auto code = calls_.C_Sign(handle_, pointer(message), message.size(), out.data(), &size);
  if (code != CKR_OK) return failed("C_Sign", code);
  if (size != out.size()) return failed("C_Sign: 64 bytes expected", CKR_DEVICE_ERROR);
  return out;
}

Result<ByteArray<32>> Session::public_value(CK_OBJECT_HANDLE key) {
  std::array<CK_BYTE, 64> value{};
  CK_ATTRIBUTE attribute{CKA_EC_POINT, value.data(), value.size()};
  if (const auto code = calls_.C_GetAttributeValue(handle_, key, &attribute, 1); code != CKR_OK) {
    return failed("C_GetAttributeValue", code);
  }
  // An OCTET STRING (PKCS#11 2.40), or the 32 bytes themselves (3.0, where vendors differ).
  auto bytes = ByteView{value}.first(std::min<std::size_t>(attribute.ulValueLen, value.size()));
  if (bytes.size() == 34 && bytes[0] == 0x04 && bytes[1] == 32) bytes = bytes.subspan(2);
  if (bytes.size() != 32) return Error{Errc::hsm_key_unfit, "HSM: an Ed25519 point of 32 bytes expected"};
  return to_array<32>(bytes);
}

}  // namespace cloister::kms
