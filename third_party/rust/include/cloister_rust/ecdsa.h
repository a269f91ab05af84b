#pragma once

#include "cloister_rust/base.h"

/* Verification of ECDSA signatures: P-256 with SHA-256, P-384 with SHA-384. */
#ifdef __cplusplus
extern "C" {
#endif

/* A public key, ready to verify. Immutable: any number of threads may verify with one at once. */
typedef struct cr_ecdsa_key cr_ecdsa_key;

/* `curve` is 256 or 384; `point` is 04 || x || y. Null when it is anything else, or not on the curve. The caller's, to be
 * released by cr_ecdsa_key_free. */
cr_ecdsa_key* cr_ecdsa_key_new(uint32_t curve, cr_view point);
void cr_ecdsa_key_free(cr_ecdsa_key* key); /* null is allowed */

/* 1 when `signature` (a DER ECDSA-Sig-Value) is the key's over the message with this digest, of the curve's hash; else 0,
 * whatever the reason. */
int32_t cr_ecdsa_verify(const cr_ecdsa_key* key, cr_view digest, cr_view signature);

#ifdef __cplusplus
}
#endif
