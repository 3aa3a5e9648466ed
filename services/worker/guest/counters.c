/*
 * The cgroup counts the whole tree, dead or alive, whoever its parent is; the sums of wait() miss
 * what still runs and stand in only where there is no cgroup to read. The descriptors are opened
 * once, before the job exists.
 */
#include "guest.h"

#include <sys/resource.h>

/* Version 1, else 2. A key is the start of a line, with its space, so that oom_kill is not taken
 * for oom_kill_disable. */
static const struct source {
  const char *path, *key;
  uint64_t divisor;
} sources[COUNTERS][2] = {
  [CPU_US] = { { "cpuacct/cpuacct.usage", "", 1000 }, { "cpu.stat", "usage_usec ", 1 } },
  [MEMORY_PEAK] = { { "memory/memory.max_usage_in_bytes", "", 1 }, { "memory.peak", "", 1 } },
  [MEMORY_NOW] = { { "memory/memory.usage_in_bytes", "", 1 }, { "memory.current", "", 1 } },
  [OOM_KILLS] = { { "memory/memory.oom_control", "oom_kill ", 1 },
                  { "memory.events", "oom_kill ", 1 } },
  [FORKS_REFUSED] = { { "pids/pids.events", "max ", 1 }, { "pids.events", "max ", 1 } },
  [PIDS_PEAK] = { { "pids/pids.peak", "", 1 }, { "pids.peak", "", 1 } },
  [PIDS_NOW] = { { "pids/pids.current", "", 1 }, { "pids.current", "", 1 } },
};

static struct {
  int fd; /* -1 where this kernel or container has no such counter */
  const struct source *source;
  uint64_t before, most; /* at RUN; of what was sampled */
} counters[COUNTERS];

void counters_open(void) {
  int folder = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < COUNTERS; i++)
    for (int version = 0; version < 2 && counters[i].fd <= 0; version++) {
      counters[i].source = &sources[i][version];
      counters[i].fd = openat(folder, sources[i][version].path, O_RDONLY | O_CLOEXEC);
    }
}

static uint64_t of_dead_children(enum counter counter) {
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  if (counter == CPU_US)
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  return counter == MEMORY_PEAK ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

uint64_t counter_read(enum counter counter) {
  char text[4096];
  if (counters[counter].fd < 0)
    return of_dead_children(counter);
  ssize_t got = pread(counters[counter].fd, text, sizeof text - 1, 0);
  text[got > 0 ? got : 0] = 0;
  const struct source *source = counters[counter].source;
  size_t key = strlen(source->key);
  for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL)
    if (strncmp(line, source->key, key) == 0)
      return strtoull(line + key, NULL, 10) / source->divisor;
  return 0;
}

void counters_begin(void) {
  for (int i = 0; i < COUNTERS; i++)
    counters[i].before = counter_read((enum counter)i);
}

/* Never below 0, whatever was read: a difference that wraps around would be a limit passed. */
uint64_t counter_since(enum counter counter) {
  uint64_t now = counter_read(counter);
  return now - least(now, counters[counter].before);
}

static void sample(enum counter counter) {
  uint64_t now = counter_read(counter);
  if (now > counters[counter].most)
    counters[counter].most = now;
}

void counters_sample(void) {
  sample(PIDS_NOW);
  sample(MEMORY_NOW);
}

/*
 * The kernel's peak began before the job: with the container runtime, or with the job before in
 * this sandbox. It is this job's only if the job went above it; else what was sampled stands in.
 */
static uint64_t peak(enum counter kernels, enum counter now) {
  return counter_since(kernels) > 0 ? counter_read(kernels) : counters[now].most;
}

uint64_t counters_peak_memory(void) {
  return peak(MEMORY_PEAK, MEMORY_NOW);
}

/* Without ourselves. */
uint64_t counters_peak_processes(void) {
  uint64_t most = peak(PIDS_PEAK, PIDS_NOW);
  return most > 1 ? most - 1 : most;
}
