#pragma once

#include "cloister_rust/base.h"

/* Rego policies: compiled once, evaluated many times. */
#ifdef __cplusplus
extern "C" {
#endif

enum {
  CR_OK = 0,
  CR_INVALID_ARGUMENT = 1,   /* a null pointer, a length without bytes, text that is not UTF-8 */
  CR_POLICY_INVALID = 2,     /* does not parse or compile: see the error's position */
  CR_INPUT_INVALID = 3,      /* input, data or reference values are not JSON of the expected kind */
  CR_TIME_EXCEEDED = 4,
  CR_MEMORY_EXCEEDED = 5,    /* the library's memory limit, or a builtin's result beyond its limit */
  CR_RESULT_TOO_LARGE = 6,
  CR_EVALUATION_FAILED = 7,  /* e.g. two complete rules that disagree */
  CR_INTERNAL = 8            /* a defect: the engine panicked */
};

typedef struct cr_rego_module {
  cr_view name; /* for messages */
  cr_view text;
} cr_rego_module;

typedef struct cr_rego_error {
  cr_buffer message;    /* UTF-8, one line, without the position */
  cr_buffer module;     /* name of the module; empty when the error has no position */
  uint32_t line;        /* from 1; 0: no position */
  uint32_t column;      /* from 1; 0: no position */
} cr_rego_error;

/* Immutable after compilation: any number of threads may evaluate one policy at once. */
typedef struct cr_rego_policy cr_rego_policy;

/* Sets what the Rust side may hold in all, in bytes, for the process; evaluations beyond it answer CR_MEMORY_EXCEEDED.
 * Checked between steps of an evaluation. */
void cr_set_memory_limit(uint64_t bytes);

/* Compiles modules for rules such as "data.policy.allow" (rules that no module has are allowed, and undefined). A module
 * is read as Rego v1, else as v0. `*out` is the caller's, to be released by cr_rego_free, and set only when the answer is
 * CR_OK; `*error`, when not null, is set otherwise and released by cr_rego_error_free. */
int32_t cr_rego_compile(const cr_rego_module* modules, size_t module_count, const cr_view* entrypoints,
                        size_t entrypoint_count, cr_rego_policy** out, cr_rego_error* error);

/* A JSON value that is read once, for any number of evaluations at once. Counts as what the Rust side holds. */
typedef struct cr_rego_document cr_rego_document;
/* CR_INPUT_INVALID for what is no JSON. `*out` is the caller's, to be released by cr_rego_document_free. */
int32_t cr_rego_document_read(cr_view text, cr_rego_document** out, cr_rego_error* error);
void cr_rego_document_free(cr_rego_document* document); /* null is allowed */

/* Evaluates every entrypoint. The input is `known_input`, or where that is null what `input` says. `data` and `reference_values` are JSON objects, or empty for none;
 * query_reference_value(name) answers the member of that name or null. Beyond `time_limit_us` microseconds of wall clock
 * it stops, between steps: only of a plain policy does that bound it. `*out` becomes JSON of at most `max_result_size` bytes:
 *   {"results": {entrypoint: value, ...},            without those that are undefined
 *    "rules": [{"module": text, "rule": text, "line": number, "default": boolean}, ...],
 *    "unmet": [{"module": text, "rule": text, "line": number, "column": number, "text": text}, ...]}
 * `rules` and `unmet` only where `explain` is not 0 and it could be found out: the definitions of rules that held, and the
 * defaults of those of which none did; and of definitions that were looked at and did not hold the conditions that were
 * never met, at most 32. It costs a second evaluation. */
int32_t cr_rego_evaluate(const cr_rego_policy* policy, const cr_rego_document* known_input, cr_view input, cr_view data,
                         cr_view reference_values, uint64_t time_limit_us, int32_t explain, size_t max_result_size,
                         cr_buffer* out, cr_rego_error* error);

/* 1 when each step of its evaluations takes no longer than a walk through what it is given and what stands in it, so that
 * looking at the clock between steps bounds them; else 0. */
int32_t cr_rego_is_plain(const cr_rego_policy* policy);

void cr_rego_free(cr_rego_policy* policy); /* null is allowed */
void cr_rego_error_free(cr_rego_error* error);

#ifdef __cplusplus
}
#endif
