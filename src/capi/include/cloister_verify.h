/* The verifier of Cloister for C: what `cloister verify --json` says of evidence, from libcloister_verify.so.
 *
 * Nothing here reads a file, a clock, the network or the environment: all that a verdict depends on is in the request.
 * Every function may be called from any number of threads at once; no call leaves anything behind for another, except
 * in a cache that the caller made. No exception leaves the library. docs/c-api.md explains it, examples/verify-c uses it. */
#ifndef CLOISTER_VERIFY_H
#define CLOISTER_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. It changes only when a program that was compiled before would no longer work; what is
 * added to the request goes to its end, and is known by its size. */
#define CLOISTER_VERIFY_ABI_VERSION 1u

/* What cloister_verify_evidence returns; 0 to 2 are the exit codes of `cloister verify`. */
#define CLOISTER_VERIFY_ACCEPTED 0    /* authentic, bound where that was asked, and allowed by the policy */
#define CLOISTER_VERIFY_USAGE_ERROR 1 /* the request cannot be carried out: nothing is said of the evidence */
#define CLOISTER_VERIFY_REJECTED 2    /* the verdict says why */
#define CLOISTER_VERIFY_FAILED 3      /* the library's own failure, as lack of memory: nothing is said of the evidence */

/* Limits; whatever is beyond them is a usage error, except evidence, which is rejected. In bytes, and in numbers. */
#define CLOISTER_VERIFY_MAX_EVIDENCE 1048576u
#define CLOISTER_VERIFY_MAX_DOCUMENT 12582912u    /* one document of collateral */
#define CLOISTER_VERIFY_MAX_COLLATERAL 67108864u  /* all documents together */
#define CLOISTER_VERIFY_MAX_DOCUMENTS 1024u
#define CLOISTER_VERIFY_MAX_CERTIFICATES 64u      /* elements of each list of certificates and roots */
#define CLOISTER_VERIFY_MAX_CERTIFICATE 524288u   /* one element, which may be a chain */
#define CLOISTER_VERIFY_MAX_POLICY 262144u
#define CLOISTER_VERIFY_MAX_TIME 253402300799     /* 9999-12-31T23:59:59Z */

/* Bytes of the caller's, only read, and only during the call. Absent: {NULL, 0}. */
typedef struct cloister_verify_bytes {
  const uint8_t *data;
  size_t size;
} cloister_verify_bytes;

/* One document of collateral. `name` is for error texts alone, and may be NULL. */
typedef struct cloister_verify_document {
  const char *name;
  cloister_verify_bytes content;
} cloister_verify_document;

/* What calls need not do again; docs/c-api.md says what that is, and what it may take. The caller's, for any number of
 * calls at once. */
typedef struct cloister_verify_cache cloister_verify_cache;

/* Set it to zeros, then `struct_size`, then what there is; a zero member is one that was not given. */
typedef struct cloister_verify_request {
  /* sizeof(struct cloister_verify_request) */
  size_t struct_size;

  /* Required. Raw, hex, base64, or JSON that has it in some member. */
  cloister_verify_bytes evidence;
  /* Kind that is expected: "sgx", "tdx" or "snp"; NULL: whatever it is. */
  const char *tee;

  /* One QuoteCollateralV3 JSON object; or several documents as the vendor's service gives them: TCB info and QE identity
   * (whole answers), CRLs, certificates, in any order, also of other platforms. */
  const cloister_verify_document *collateral;
  size_t collateral_count;

  /* Certificates for evidence that carries none, leaf first; each element PEM (one or more) or one in DER. */
  const cloister_verify_bytes *certificates;
  size_t certificate_count;

  /* Roots that are trusted instead of the vendors', PEM or DER. None: the vendors' roots that are built in. A lab's root
   * among them vouches for nothing. */
  const cloister_verify_bytes *roots;
  size_t root_count;
  /* Roots of labs, whose evidence is SIMULATED, trusted beside the others. The verdict then says "lab": true. */
  const cloister_verify_bytes *lab_roots;
  size_t lab_root_count;

  /* Seconds since 1970-01-01T00:00:00Z at which everything must be valid. */
  int64_t time;

  /* Report data that is expected, exactly 64 bytes; or a nonce of 1 to 64 bytes, which stands for itself and zeros after
   * it. Not both. Absent: the binding is not checked, and the verdict says "bound": false. */
  cloister_verify_bytes report_data;
  cloister_verify_bytes nonce;

  /* Appraisal policy as JSON. Absent: the default, which demands UpToDate and no debug. */
  cloister_verify_bytes policy;

  /* NULL, or a cache that outlives the call. It changes no verdict, only how long it takes. Whoever has it may have
   * other roots, collateral, policy and time in each call. */
  cloister_verify_cache *cache;
} cloister_verify_request;

/* CLOISTER_VERIFY_ABI_VERSION of the library that is loaded. A program goes on only when it is its own. */
uint32_t cloister_verify_abi_version(void);

/* Judges evidence. `*result` becomes a JSON text that ends with a zero byte, and the caller's to release with
 * cloister_verify_free: the verdict for ACCEPTED and REJECTED, {"error":{"code":…,"detail":…}} for USAGE_ERROR and
 * FAILED; NULL when there is no memory for it. `result` may be NULL where the return value is enough. */
int32_t cloister_verify_evidence(const cloister_verify_request *request, char **result);

/* Releases a result; NULL is nothing. */
void cloister_verify_free(char *result);

/* An empty cache; NULL without memory. It remembers, within bounds: signatures that were found valid under a root that
 * the call trusted, certificate chains of quotes that were verified so, and what collateral, certificates, roots and
 * policies parse to, found again by all of their bytes. It remembers no verdict and no refusal: names, dates, revocation,
 * TCB, binding and policy are judged in every call, and so are the signatures of quotes and reports. */
cloister_verify_cache *cloister_verify_cache_new(void);

/* Releases a cache that no call uses any more; NULL is nothing. */
void cloister_verify_cache_free(cloister_verify_cache *cache);

#ifdef __cplusplus
}
#endif

#endif
