// A PKCS#11 module that calls the one of CLOISTER_FAULTY_PKCS11 for everything, and fails where a test tells it to:
// what SoftHSM never does by itself (a locked PIN, a device that is pulled out between two calls).
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace {

CK_FUNCTION_LIST real;

struct Fault {
  std::atomic<CK_RV> code{CKR_OK};
  std::atomic<int> times{0};  // -1: calls wait until it is another number
  std::atomic<int> calls{0};

  CK_RV next() {
    ++calls;
    while (times == -1) times.wait(-1);
    int left = times;
    while (left > 0 && !times.compare_exchange_weak(left, left - 1)) {
    }
    return left > 0 ? code.load() : CKR_OK;
  }
};

template <auto Member, class Function>
struct Hook;
template <auto Member, class... A>
struct Hook<Member, CK_RV (*)(A...)> {
  static inline Fault fault;
  static CK_RV call(A... arguments) {
    if (const auto code = fault.next(); code != CKR_OK) return code;
    return (real.*Member)(arguments...);
  }
};

#define HOOKED(X) \
  X(C_GetSlotList) X(C_GetMechanismInfo) X(C_OpenSession) X(C_Login) X(C_FindObjectsInit) X(C_GenerateKey) \
  X(C_GenerateKeyPair) X(C_SignInit) X(C_Sign) X(C_EncryptInit) X(C_Encrypt) X(C_DecryptInit) X(C_Decrypt)
#define HOOK(name) Hook<&CK_FUNCTION_LIST::name, decltype(CK_FUNCTION_LIST::name)>

Fault* find(const char* function) {
#define X(name) \
  if (std::strcmp(function, #name) == 0) return &HOOK(name)::fault;
  HOOKED(X)
#undef X
  return nullptr;
}

}  // namespace

extern "C" {

CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  static CK_FUNCTION_LIST ours;
  const char* const module = std::getenv("CLOISTER_FAULTY_PKCS11");
  void* const library = module == nullptr ? nullptr : ::dlopen(module, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return CKR_GENERAL_ERROR;
  CK_FUNCTION_LIST* found = nullptr;
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  if (const auto code = get(&found); code != CKR_OK) return code;
  real = *found;
  ours = real;
#define X(name) ours.name = &HOOK(name)::call;
  HOOKED(X)
#undef X
  *list = &ours;
  return CKR_OK;
}

/// The next `times` calls of a function return `code` (-1: wait until told otherwise). How often it was called so far.
int cloister_fault(const char* function, CK_RV code, int times) {
  auto* const fault = find(function);
  if (fault == nullptr) std::abort();
  fault->code = code;
  fault->times = times;
  fault->times.notify_all();
  return fault->calls;
}

}  // extern "C"
