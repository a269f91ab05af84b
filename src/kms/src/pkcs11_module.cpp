#include "pkcs11_module.hpp"

#include <dlfcn.h>

#include <array>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>

namespace cloister::kms {
namespace {

#define CODE(name) std::pair<CK_RV, std::string_view> { name, #name }
constexpr std::array kNames{
    CODE(CKR_HOST_MEMORY), CODE(CKR_SLOT_ID_INVALID), CODE(CKR_GENERAL_ERROR), CODE(CKR_FUNCTION_FAILED),
    CODE(CKR_ARGUMENTS_BAD), CODE(CKR_CANT_LOCK), CODE(CKR_ATTRIBUTE_READ_ONLY), CODE(CKR_ATTRIBUTE_SENSITIVE),
    CODE(CKR_ATTRIBUTE_TYPE_INVALID), CODE(CKR_ATTRIBUTE_VALUE_INVALID), CODE(CKR_DATA_INVALID),
    CODE(CKR_DATA_LEN_RANGE), CODE(CKR_DEVICE_ERROR), CODE(CKR_DEVICE_MEMORY), CODE(CKR_DEVICE_REMOVED),
    CODE(CKR_ENCRYPTED_DATA_INVALID), CODE(CKR_ENCRYPTED_DATA_LEN_RANGE), CODE(CKR_FUNCTION_CANCELED),
    CODE(CKR_FUNCTION_NOT_SUPPORTED), CODE(CKR_KEY_HANDLE_INVALID), CODE(CKR_KEY_SIZE_RANGE),
    CODE(CKR_KEY_TYPE_INCONSISTENT), CODE(CKR_KEY_FUNCTION_NOT_PERMITTED), CODE(CKR_MECHANISM_INVALID),
    CODE(CKR_MECHANISM_PARAM_INVALID), CODE(CKR_OBJECT_HANDLE_INVALID), CODE(CKR_OPERATION_ACTIVE),
    CODE(CKR_OPERATION_NOT_INITIALIZED), CODE(CKR_PIN_INCORRECT), CODE(CKR_PIN_INVALID), CODE(CKR_PIN_LEN_RANGE),
    CODE(CKR_PIN_EXPIRED), CODE(CKR_PIN_LOCKED), CODE(CKR_SESSION_CLOSED), CODE(CKR_SESSION_COUNT),
    CODE(CKR_SESSION_HANDLE_INVALID), CODE(CKR_SESSION_READ_ONLY), CODE(CKR_SIGNATURE_INVALID),
    CODE(CKR_TEMPLATE_INCOMPLETE), CODE(CKR_TEMPLATE_INCONSISTENT), CODE(CKR_TOKEN_NOT_PRESENT),
    CODE(CKR_TOKEN_NOT_RECOGNIZED), CODE(CKR_TOKEN_WRITE_PROTECTED), CODE(CKR_USER_NOT_LOGGED_IN),
    CODE(CKR_USER_PIN_NOT_INITIALIZED), CODE(CKR_USER_TYPE_INVALID), CODE(CKR_BUFFER_TOO_SMALL),
    CODE(CKR_CRYPTOKI_NOT_INITIALIZED), CODE(CKR_CRYPTOKI_ALREADY_INITIALIZED),
};
#undef CODE

/// The libraries of this process, by file.
struct Loaded {
  std::mutex mutex;
  std::map<std::filesystem::path, std::weak_ptr<Module>> modules;
};
Loaded& loaded() {
  static Loaded all;
  return all;
}

Errc meaning(CK_RV code) {
  switch (code) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_EXPIRED:
    case CKR_USER_PIN_NOT_INITIALIZED:
      return Errc::hsm_pin_refused;
    case CKR_PIN_LOCKED:
      return Errc::hsm_pin_locked;
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID:
      return Errc::hsm_key_missing;
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_KEY_SIZE_RANGE:
      return Errc::hsm_key_unfit;
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_FUNCTION_NOT_SUPPORTED:
      return Errc::unsupported;
    default:  // of an open set: a vendor has codes of its own
      return Errc::unavailable;
  }
}

}  // namespace

std::string name_of(CK_RV code) {
  for (const auto& [known, name] : kNames) {
    if (known == code) return std::string{name};
  }
  std::ostringstream out;
  out << "0x" << std::hex << code;
  return out.str();
}

Error failure(std::string_view call, CK_RV code) {
  return Error{meaning(code), "HSM: " + std::string{call} + ": " + name_of(code)};
}

Result<std::shared_ptr<Module>> Module::load(const std::filesystem::path& file) {
  const std::lock_guard held{loaded().mutex};
  auto& known = loaded().modules[file];
  if (auto module = known.lock()) return module;
  const auto refuse = [&](const std::string& why) {
    return Error{Errc::configuration_invalid, "PKCS#11 module " + file.string() + ": " + why};
  };
  void* const library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* const why = ::dlerror();
    return refuse(why != nullptr ? why : "cannot be loaded");
  }
  const auto list = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  if (list == nullptr) return refuse("it has no C_GetFunctionList");
  CK_FUNCTION_LIST* calls = nullptr;
  if (const auto code = list(&calls); code != CKR_OK || calls == nullptr) return refuse(name_of(code));
  if (calls->version.major < 2) return refuse("version 2 or newer expected");
  std::shared_ptr<Module> module{new Module{file, calls}};
  CLOISTER_CHECK(module->initialise());
  known = module;
  return module;
}

Result<void> Module::initialise() {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  const auto code = calls_->C_Initialize(&arguments);
  if (code != CKR_OK && code != CKR_CRYPTOKI_ALREADY_INITIALIZED) return failure("C_Initialize", code);
  initialised_ = true;
  return {};
}

Module::~Module() {
  if (!initialised_) return;
  const std::lock_guard held{loaded().mutex};
  // Whoever loaded it again between our last owner and this line goes on with the state that is there.
  if (loaded().modules[file_].expired()) calls_->C_Finalize(nullptr);
}

Result<void> Module::restart(std::uint64_t seen, std::chrono::milliseconds patience) {
  const std::unique_lock alone{gate_, patience};
  if (!alone) return Error{Errc::unavailable, "HSM: a call does not come back"};
  if (epoch_ != seen) return {};
  ++epoch_;
  calls_->C_Finalize(nullptr);
  initialised_ = false;
  return initialise();
}

}  // namespace cloister::kms
