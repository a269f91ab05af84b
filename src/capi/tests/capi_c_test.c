/* The header and the library from C: what a caller can get wrong, and the life of a result. Exit 0 when all holds. */
#include "cloister_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int holds, int line, const char *what) {
  if (holds) return;
  fprintf(stderr, "line %d: %s\n", line, what);
  ++failures;
}
#define EXPECT(condition) expect((condition) ? 1 : 0, __LINE__, #condition)

static cloister_verify_request request_for(const char *evidence) {
  cloister_verify_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.evidence.data = (const uint8_t *)evidence;
  request.evidence.size = strlen(evidence);
  return request;
}

/* Whether the call returns `code` and a text with `part` in it. */
static int answers(const cloister_verify_request *request, int32_t code, const char *part) {
  char *result = NULL;
  int32_t got = cloister_verify_evidence(request, &result);
  int holds = got == code && result != NULL && strstr(result, part) != NULL;
  if (!holds) fprintf(stderr, "%d: %s\n", (int)got, result != NULL ? result : "(none)");
  cloister_verify_free(result);
  return holds;
}

int main(void) {
  EXPECT(cloister_verify_abi_version() == CLOISTER_VERIFY_ABI_VERSION);
  cloister_verify_free(NULL);

  EXPECT(answers(NULL, CLOISTER_VERIFY_USAGE_ERROR, "\"invalid_argument\""));
  EXPECT(cloister_verify_evidence(NULL, NULL) == CLOISTER_VERIFY_USAGE_ERROR);

  cloister_verify_request request = request_for("nothing");
  EXPECT(answers(&request, CLOISTER_VERIFY_REJECTED, "\"evidence_malformed\""));
  EXPECT(cloister_verify_evidence(&request, NULL) == CLOISTER_VERIFY_REJECTED);

  /* A request of the first version, which had no cache: what stands behind it is not read. */
  request.struct_size = offsetof(cloister_verify_request, cache);
  request.cache = (cloister_verify_cache *)(uintptr_t)1;
  EXPECT(answers(&request, CLOISTER_VERIFY_REJECTED, "\"evidence_malformed\""));

  cloister_verify_cache *cache = cloister_verify_cache_new();
  EXPECT(cache != NULL);
  request = request_for("nothing");
  request.cache = cache;
  EXPECT(answers(&request, CLOISTER_VERIFY_REJECTED, "\"evidence_malformed\""));
  cloister_verify_cache_free(cache);

  /* A request of a later version: of more members, none of them given, or one. */
  union {
    cloister_verify_request request;
    uint8_t bytes[sizeof(cloister_verify_request) + 16];
  } later;
  memset(&later, 0, sizeof later);
  later.request = request_for("nothing");
  later.request.struct_size = sizeof later;
  EXPECT(answers(&later.request, CLOISTER_VERIFY_REJECTED, "\"evidence_malformed\""));
  later.bytes[sizeof later - 1] = 1;
  EXPECT(answers(&later.request, CLOISTER_VERIFY_USAGE_ERROR, "does not know"));

  if (failures == 0) puts("ok");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
