#include "support/softhsm.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>

// SoftHSM 2.6 forgets the ASN.1 string of an Edwards curve at each use of a key; nothing of its own is on the stack that
// the leak checker sees. For programs that use this file alone.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\nleak:ASN1_STRING_set\n"; }

namespace cloister::test {
namespace {

constexpr std::string_view kOfficer = "87654321";
constexpr std::string_view kPin = "1234-correct";

const CK_FUNCTION_LIST* load(const std::filesystem::path& module) {
  void* const library = ::dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  EXPECT_NE(library, nullptr) << ::dlerror();
  const auto list = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* calls = nullptr;
  EXPECT_EQ(list(&calls), CKR_OK);
  return calls;
}

CK_UTF8CHAR_PTR utf8(std::string_view text) {
  return const_cast<CK_UTF8CHAR_PTR>(reinterpret_cast<const CK_UTF8CHAR*>(text.data()));
}

std::vector<CK_SLOT_ID> slots(const CK_FUNCTION_LIST& calls) {
  CK_ULONG count = 0;
  EXPECT_EQ(calls.C_GetSlotList(CK_TRUE, nullptr, &count), CKR_OK);
  std::vector<CK_SLOT_ID> out(count);
  EXPECT_EQ(calls.C_GetSlotList(CK_TRUE, out.data(), &count), CKR_OK);
  out.resize(count);
  return out;
}

std::string label_of(const CK_FUNCTION_LIST& calls, CK_SLOT_ID slot) {
  CK_TOKEN_INFO info{};
  EXPECT_EQ(calls.C_GetTokenInfo(slot, &info), CKR_OK);
  if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) return "";
  std::string label{reinterpret_cast<const char*>(info.label), sizeof info.label};
  while (label.ends_with(' ')) label.pop_back();
  return label;
}

std::optional<CK_SLOT_ID> slot_of(const CK_FUNCTION_LIST& calls, const std::string& label) {
  for (const auto slot : slots(calls)) {
    if (label_of(calls, slot) == label) return slot;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::filesystem::path> softhsm_module() {
  for (const auto* path : {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"}) {
    if (std::filesystem::exists(path)) return path;
  }
  return std::nullopt;
}

SoftHsm::SoftHsm(const std::filesystem::path& module) : module_{module} {
  std::filesystem::create_directory(dir_.path() / "tokens");
  std::ofstream{dir_.path() / "softhsm2.conf"} << "directories.tokendir = " << (dir_.path() / "tokens").string()
                                               << "\nobjectstore.backend = file\nlog.level = ERROR\n";
  ::setenv("SOFTHSM2_CONF", (dir_.path() / "softhsm2.conf").c_str(), 1);
  write_pin(std::string{kPin});
  add_token("cloister");
}

SoftHsm::~SoftHsm() { ::unsetenv("SOFTHSM2_CONF"); }

void SoftHsm::add_token(const std::string& label) const {
  const auto* const calls = load(module_);
  const auto begun = calls->C_Initialize(nullptr);
  ASSERT_TRUE(begun == CKR_OK || begun == CKR_CRYPTOKI_ALREADY_INITIALIZED);
  const auto padded = label + std::string(32 - label.size(), ' ');
  const auto blank = slot_of(*calls, "");
  ASSERT_TRUE(blank);
  ASSERT_EQ(calls->C_InitToken(*blank, utf8(kOfficer), kOfficer.size(), utf8(padded)), CKR_OK);
  const auto made = slot_of(*calls, label);
  ASSERT_TRUE(made);
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  ASSERT_EQ(calls->C_OpenSession(*made, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session), CKR_OK);
  ASSERT_EQ(calls->C_Login(session, CKU_SO, utf8(kOfficer), kOfficer.size()), CKR_OK);
  ASSERT_EQ(calls->C_InitPIN(session, utf8(kPin), kPin.size()), CKR_OK);
  ASSERT_EQ(calls->C_CloseSession(session), CKR_OK);
  if (begun == CKR_OK) {
    ASSERT_EQ(calls->C_Finalize(nullptr), CKR_OK);
  }
}

kms::Pkcs11Uri SoftHsm::uri() const {
  kms::Pkcs11Uri uri;
  uri.module = module_;
  uri.pin_file = dir_.path() / "pin";
  uri.token = "cloister";
  return uri;
}

void SoftHsm::write_pin(const std::string& pin) const {
  const auto file = dir_.path() / "pin";
  std::ofstream{file, std::ios::binary | std::ios::trunc} << pin << "\n";
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
}

void SoftHsm::unplug() const {
  std::filesystem::rename(dir_.path() / "tokens", dir_.path() / "unplugged");
  std::filesystem::create_directory(dir_.path() / "tokens");
}

void SoftHsm::plug_in() const {
  std::filesystem::remove_all(dir_.path() / "tokens");
  std::filesystem::rename(dir_.path() / "unplugged", dir_.path() / "tokens");
}

Administrator::Administrator(const kms::Pkcs11Uri& uri) : calls_{load(uri.module)} {
  const auto begun = calls_->C_Initialize(nullptr);
  EXPECT_TRUE(begun == CKR_OK || begun == CKR_CRYPTOKI_ALREADY_INITIALIZED);
  alone_ = begun == CKR_OK;
  slot_ = slot_of(*calls_, *uri.token).value_or(0);
  EXPECT_EQ(calls_->C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session_), CKR_OK);
  const auto login = calls_->C_Login(session_, CKU_USER, utf8(kPin), kPin.size());
  EXPECT_TRUE(login == CKR_OK || login == CKR_USER_ALREADY_LOGGED_IN) << login;
}

Administrator::~Administrator() {
  if (session_ != CK_INVALID_HANDLE) calls_->C_CloseSession(session_);
  if (alone_) calls_->C_Finalize(nullptr);
}

std::vector<CK_OBJECT_HANDLE> Administrator::objects(const std::string& label) const {
  CK_ATTRIBUTE query{CKA_LABEL, utf8(label), label.size()};
  EXPECT_EQ(calls_->C_FindObjectsInit(session_, &query, 1), CKR_OK);
  std::vector<CK_OBJECT_HANDLE> found(16);
  CK_ULONG count = 0;
  EXPECT_EQ(calls_->C_FindObjects(session_, found.data(), found.size(), &count), CKR_OK);
  EXPECT_EQ(calls_->C_FindObjectsFinal(session_), CKR_OK);
  found.resize(count);
  return found;
}

void Administrator::destroy(const std::string& label) const {
  for (const auto object : objects(label)) EXPECT_EQ(calls_->C_DestroyObject(session_, object), CKR_OK);
}

CK_RV Administrator::read_value(const std::string& label) const {
  std::array<CK_BYTE, 64> value{};
  CK_ATTRIBUTE attribute{CKA_VALUE, value.data(), value.size()};
  const auto found = objects(label);
  EXPECT_FALSE(found.empty()) << label;
  CK_RV worst = CKR_ATTRIBUTE_SENSITIVE;
  for (const auto object : found) {
    const auto code = calls_->C_GetAttributeValue(session_, object, &attribute, 1);
    if (code == CKR_OK) worst = code;
  }
  return worst;
}

CK_RV Administrator::wrap_out(const std::string& label) const {
  CK_BBOOL yes = CK_TRUE;
  CK_ULONG size = 32;
  std::array template_{CK_ATTRIBUTE{CKA_WRAP, &yes, sizeof yes}, CK_ATTRIBUTE{CKA_VALUE_LEN, &size, sizeof size}};
  CK_MECHANISM make{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE under = CK_INVALID_HANDLE;
  EXPECT_EQ(calls_->C_GenerateKey(session_, &make, template_.data(), template_.size(), &under), CKR_OK);
  std::array<CK_BYTE, 256> out{};
  CK_ULONG length = out.size();
  CK_MECHANISM mechanism{CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  const auto found = objects(label);
  EXPECT_FALSE(found.empty()) << label;
  return calls_->C_WrapKey(session_, &mechanism, under, found.at(0), out.data(), &length);
}

Bytes Administrator::hmac(const std::string& label, ByteView data) const {
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  EXPECT_EQ(calls_->C_SignInit(session_, &mechanism, objects(label).at(0)), CKR_OK);
  Bytes out(32);
  CK_ULONG size = out.size();
  EXPECT_EQ(calls_->C_Sign(session_, const_cast<CK_BYTE_PTR>(data.data()), data.size(), out.data(), &size), CKR_OK);
  return out;
}

void Administrator::import(const std::string& label, bool sensitive, bool extractable) const {
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL hidden = sensitive ? CK_TRUE : CK_FALSE;
  CK_BBOOL out = extractable ? CK_TRUE : CK_FALSE;
  std::array<CK_BYTE, 32> value{};
  std::array template_{
      CK_ATTRIBUTE{CKA_CLASS, &kind, sizeof kind},       CK_ATTRIBUTE{CKA_KEY_TYPE, &type, sizeof type},
      CK_ATTRIBUTE{CKA_TOKEN, &yes, sizeof yes},         CK_ATTRIBUTE{CKA_PRIVATE, &yes, sizeof yes},
      CK_ATTRIBUTE{CKA_SENSITIVE, &hidden, sizeof hidden}, CK_ATTRIBUTE{CKA_EXTRACTABLE, &out, sizeof out},
      CK_ATTRIBUTE{CKA_SIGN, &yes, sizeof yes},          CK_ATTRIBUTE{CKA_LABEL, utf8(label), label.size()},
      CK_ATTRIBUTE{CKA_VALUE, value.data(), value.size()}};
  CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
  EXPECT_EQ(calls_->C_CreateObject(session_, template_.data(), template_.size(), &made), CKR_OK);
}

void Administrator::generate(const std::string& label, CK_MECHANISM_TYPE mechanism, CK_ULONG size, bool extractable,
                             bool needs_pin, bool derives) const {
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL out = extractable ? CK_TRUE : CK_FALSE;
  CK_BBOOL hidden = needs_pin ? CK_TRUE : CK_FALSE;
  CK_BBOOL derive = derives ? CK_TRUE : CK_FALSE;
  std::array template_{
      CK_ATTRIBUTE{CKA_TOKEN, &yes, sizeof yes},     CK_ATTRIBUTE{CKA_PRIVATE, &hidden, sizeof hidden}, CK_ATTRIBUTE{CKA_DERIVE, &derive, sizeof derive},
      CK_ATTRIBUTE{CKA_SENSITIVE, &yes, sizeof yes}, CK_ATTRIBUTE{CKA_EXTRACTABLE, &out, sizeof out},
      CK_ATTRIBUTE{CKA_SIGN, &yes, sizeof yes},      CK_ATTRIBUTE{CKA_LABEL, utf8(label), label.size()},
      CK_ATTRIBUTE{CKA_VALUE_LEN, &size, sizeof size}};
  CK_MECHANISM make{mechanism, nullptr, 0};
  CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
  EXPECT_EQ(calls_->C_GenerateKey(session_, &make, template_.data(), template_.size(), &made), CKR_OK);
}

void Administrator::generate_pair(const std::string& label) const {
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  std::array<CK_BYTE, 5> curve{0x06, 0x03, 0x2b, 0x65, 0x70};
  std::array open{CK_ATTRIBUTE{CKA_TOKEN, &yes, sizeof yes}, CK_ATTRIBUTE{CKA_LABEL, utf8(label), label.size()},
                  CK_ATTRIBUTE{CKA_EC_PARAMS, curve.data(), curve.size()}};
  std::array secret{CK_ATTRIBUTE{CKA_TOKEN, &yes, sizeof yes},     CK_ATTRIBUTE{CKA_PRIVATE, &yes, sizeof yes},
                    CK_ATTRIBUTE{CKA_SENSITIVE, &yes, sizeof yes}, CK_ATTRIBUTE{CKA_EXTRACTABLE, &no, sizeof no},
                    CK_ATTRIBUTE{CKA_SIGN, &yes, sizeof yes},      CK_ATTRIBUTE{CKA_LABEL, utf8(label), label.size()}};
  CK_MECHANISM make{CKM_EC_EDWARDS_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE a = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE b = CK_INVALID_HANDLE;
  EXPECT_EQ(calls_->C_GenerateKeyPair(session_, &make, open.data(), open.size(), secret.data(), secret.size(), &a, &b), CKR_OK);
}

void Administrator::close_all_sessions() {
  EXPECT_EQ(calls_->C_CloseAllSessions(slot_), CKR_OK);
  session_ = CK_INVALID_HANDLE;
}

void Administrator::log_everybody_out() const { EXPECT_EQ(calls_->C_Logout(session_), CKR_OK); }

}  // namespace cloister::test
