#pragma once

#include <p11-kit/pkcs11.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cloister/kms/pkcs11_uri.hpp"
#include "support/support.hpp"

namespace cloister::test {

/// SoftHSM's module of this machine; nothing where it is not installed.
[[nodiscard]] std::optional<std::filesystem::path> softhsm_module();

/// A SoftHSM of its own in a temporary directory, with one token whose PIN lies in a file. Sets SOFTHSM2_CONF of this
/// process, which the module reads when it is initialised: one at a time.
class SoftHsm {
 public:
  /// `module`: what is loaded (SoftHSM's own, or one that calls it).
  explicit SoftHsm(const std::filesystem::path& module);
  SoftHsm(const SoftHsm&) = delete;
  SoftHsm& operator=(const SoftHsm&) = delete;
  ~SoftHsm();

  /// One more token; fails the running test when it cannot be made.
  void add_token(const std::string& label) const;
  [[nodiscard]] kms::Pkcs11Uri uri() const;
  void write_pin(const std::string& pin) const;
  /// The HSM is unplugged: its tokens are not where they were. And plugged in again.
  void unplug() const;
  void plug_in() const;

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return dir_.path(); }

 private:
  TempDir dir_;
  std::filesystem::path module_;
};

/// A second user of the token in the same process: what an administrator's tool does to it.
class Administrator {
 public:
  explicit Administrator(const kms::Pkcs11Uri& uri);
  Administrator(const Administrator&) = delete;
  Administrator& operator=(const Administrator&) = delete;
  ~Administrator();

  [[nodiscard]] std::vector<CK_OBJECT_HANDLE> objects(const std::string& label) const;
  void destroy(const std::string& label) const;
  /// CKR_OK, or what the token says to a wish for the bytes of a key.
  [[nodiscard]] CK_RV read_value(const std::string& label) const;
  /// The same for a wish to wrap it under another key of the token.
  [[nodiscard]] CK_RV wrap_out(const std::string& label) const;
  [[nodiscard]] Bytes hmac(const std::string& label, ByteView data) const;
  /// A 32-byte secret key from outside.
  void import(const std::string& label, bool sensitive, bool extractable) const;
  /// One made inside.
  void generate(const std::string& label, CK_MECHANISM_TYPE mechanism, CK_ULONG size, bool extractable, bool needs_pin = true,
                bool derives = false) const;
  /// An Ed25519 pair under these labels.
  void generate_pair(const std::string& label) const;
  void close_all_sessions();
  /// A login is the whole process's, and so is its end.
  void log_everybody_out() const;

 private:
  const CK_FUNCTION_LIST* calls_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
  bool alone_ = false;  // nobody else had initialised the module
};

}  // namespace cloister::test

/// Skips the running test, visibly, where SoftHSM is not installed; else binds its path to `name`.
#define CLOISTER_SOFTHSM_OR_SKIP(name)                                                                       \
  const auto name##_found = ::cloister::test::softhsm_module();                                      \
  if (!name##_found) GTEST_SKIP() << "SoftHSM is not installed (Debian package softhsm2)";                   \
  const auto& name = *name##_found
