/* The ways the guest ends. Each kills the job first; the kernel kills what is left when PID 1 is gone. */
#ifndef END_H
#define END_H

#include <stdint.h>

_Noreturn void end_quietly(void);
_Noreturn void end_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void end_failed(const char *what);
void end_after(uint64_t ms);

#endif
