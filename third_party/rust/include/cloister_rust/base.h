#pragma once

#include <stddef.h>
#include <stdint.h>

/* What every part of the Rust library's C ABI shares. The library panics into nobody: each function catches, and answers
 * CR_INTERNAL. All functions are thread-safe unless they say otherwise. */
#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes: the caller's, valid for the call. `data` may be null only when `size` is 0. */
typedef struct cr_view {
  const uint8_t* data;
  size_t size;
} cr_view;

/* Bytes that the library allocated: whoever received them releases them once, by cr_buffer_free. All zero: nothing. */
typedef struct cr_buffer {
  uint8_t* data;
  size_t size;
  size_t capacity;
} cr_buffer;

/* Releases and zeroes `*buffer`; null and all zero are allowed. Only for what this library filled in. */
void cr_buffer_free(cr_buffer* buffer);

#ifdef __cplusplus
}
#endif
