/* What the sandbox's cgroup has counted; version 1 and 2. */
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdint.h>

void counters_open(void);
uint64_t counters_cpu_us(void);
uint64_t counters_peak_memory_bytes(void);
uint64_t counters_peak_processes(void);
uint64_t counters_oom_kills(void);
uint64_t counters_forks_refused(void);

#endif
