/*
 * What the fuzz targets share. The guest's own sources are compiled into them with read, write,
 * ppoll and open by other names (scripts/fuzz-guest), so that its descriptors are the input's bytes
 * and /work is a folder of the fuzzer's; what else is replaced is the way it ends.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <setjmp.h>

#include "../../../services/worker/guest/guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ends.c: end() comes back here, with its code and a 1 more: a guest that ended is no finding. */
extern jmp_buf fuzz_end;
enum { FUZZ_RAN_ON = 0 };

/* A finding of our own, in the manner of the sanitizers. */
#define FUZZ_REQUIRE(condition) \
  do \
    if (!(condition)) { \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      __builtin_trap(); \
    } \
  while (0)

/* The input, taken from its front. */
struct input {
  const uint8_t *bytes;
  size_t left;
};
static inline uint8_t input_byte(struct input *input) {
  if (input->left == 0)
    return 0;
  input->left--;
  return *input->bytes++;
}

#endif
