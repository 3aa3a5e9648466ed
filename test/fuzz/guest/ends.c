/* The guest's ends (end.c) as a way back to the fuzzer. That it "failed" is never the input's doing. */
#include "fuzz.h"

#include <stdarg.h>

jmp_buf fuzz_end;

_Noreturn void end(enum end_code code, const char *why, ...) {
  if (code == END_FAILED) {
    va_list details;
    va_start(details, why);
    vfprintf(stderr, why ? why : "failed", details);
    va_end(details);
    __builtin_trap();
  }
  longjmp(fuzz_end, code + 1);
}

void end_after(uint64_t ms) {
  FUZZ_REQUIRE(ms > 0);
}
