/* Verifies one file of evidence: verify_c_example EVIDENCE COLLATERAL UNIX-SECONDS [ROOT] */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloister_verify.h"

/* The whole file; {NULL, 0} when it cannot be read. The caller frees `data`. */
static cloister_verify_bytes read_whole(const char *path, size_t at_most) {
  cloister_verify_bytes none = {NULL, 0};
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return none;
  }
  uint8_t *data = malloc(at_most + 1);
  size_t size = data != NULL ? fread(data, 1, at_most + 1, file) : 0;
  int failed = data == NULL || ferror(file) != 0 || size > at_most;
  fclose(file);
  if (failed) {
    fprintf(stderr, "%s: cannot be read, or is too large\n", path);
    free(data);
    return none;
  }
  cloister_verify_bytes out = {data, size};
  return out;
}

static void release(cloister_verify_bytes bytes) { free((void *)(uintptr_t)bytes.data); }

/* What there is to say goes to standard output; 0 accepted, 1 failed, 2 rejected. */
static int verify(cloister_verify_bytes evidence, cloister_verify_bytes collateral, int64_t time,
                  cloister_verify_bytes root) {
  cloister_verify_document document = {"collateral", collateral};
  cloister_verify_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.evidence = evidence;
  request.collateral = &document;
  request.collateral_count = 1;
  request.time = time;
  if (root.data != NULL) {
    request.roots = &root;
    request.root_count = 1;
  }
  char *result = NULL;
  int32_t code = cloister_verify_evidence(&request, &result);
  if (result != NULL) puts(result);
  cloister_verify_free(result);
  if (code == CLOISTER_VERIFY_ACCEPTED) return 0;
  return code == CLOISTER_VERIFY_REJECTED ? 2 : 1;
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5) {
    fprintf(stderr, "usage: %s EVIDENCE COLLATERAL UNIX-SECONDS [ROOT]\n", argv[0]);
    return 1;
  }
  if (cloister_verify_abi_version() != CLOISTER_VERIFY_ABI_VERSION) {
    fprintf(stderr, "the library is version %" PRIu32 ", not %u\n", cloister_verify_abi_version(),
            CLOISTER_VERIFY_ABI_VERSION);
    return 1;
  }
  char *end = NULL;
  errno = 0;
  long long time = strtoll(argv[3], &end, 10);
  if (errno != 0 || end == argv[3] || *end != '\0') {
    fprintf(stderr, "%s: not a time\n", argv[3]);
    return 1;
  }
  cloister_verify_bytes evidence = read_whole(argv[1], CLOISTER_VERIFY_MAX_EVIDENCE);
  cloister_verify_bytes collateral = read_whole(argv[2], CLOISTER_VERIFY_MAX_DOCUMENT);
  cloister_verify_bytes root = {NULL, 0};
  if (argc == 5) root = read_whole(argv[4], CLOISTER_VERIFY_MAX_CERTIFICATE);
  int code = 1;
  if (evidence.data != NULL && collateral.data != NULL && (argc == 4 || root.data != NULL)) {
    code = verify(evidence, collateral, time, root);
  }
  release(evidence);
  release(collateral);
  release(root);
  return code;
}
