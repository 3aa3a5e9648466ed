/*
 * The cgroup counts the whole tree, dead or alive, whoever its parent is; the sums of wait() miss what still runs
 * and stand in only where there is no cgroup to read. The descriptors are opened once, before the job exists.
 */
#include "counters.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum counter { CPU_NS, CPU_US, MEMORY_PEAK, OOM_KILLS, PIDS_PEAK, PIDS_NOW, FORKS_REFUSED, COUNTERS };

#define CGROUP "/sys/fs/cgroup/"

/* A key is the start of a line, with its space, so that oom_kill is not taken for oom_kill_disable. */
static const struct source {
  const char *path, *key;
} sources[COUNTERS][2] = {
  [CPU_NS] = { { CGROUP "cpuacct/cpuacct.usage", "" } },
  [CPU_US] = { { CGROUP "cpu.stat", "usage_usec " } },
  [MEMORY_PEAK] = { { CGROUP "memory/memory.max_usage_in_bytes", "" }, { CGROUP "memory.peak", "" } },
  [OOM_KILLS] = { { CGROUP "memory/memory.oom_control", "oom_kill " }, { CGROUP "memory.events", "oom_kill " } },
  [PIDS_PEAK] = { { CGROUP "pids/pids.peak", "" }, { CGROUP "pids.peak", "" } },
  [PIDS_NOW] = { { CGROUP "pids/pids.current", "" }, { CGROUP "pids.current", "" } },
  [FORKS_REFUSED] = { { CGROUP "pids/pids.events", "max " }, { CGROUP "pids.events", "max " } },
};

static struct {
  int fd;
  const char *key;
} opened[COUNTERS];
static uint64_t oom_kills_before, forks_refused_before, most_processes;

/* False where this kernel or container has no such counter. */
static int read_counter(enum counter counter, uint64_t *value)
{
  char text[4096];
  ssize_t got = opened[counter].fd < 0 ? -1 : pread(opened[counter].fd, text, sizeof text - 1, 0);
  if (got <= 0)
    return 0;
  text[got] = 0;
  size_t key = strlen(opened[counter].key);
  for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL)
    if (strncmp(line, opened[counter].key, key) == 0) {
      *value = strtoull(line + key, NULL, 10);
      return 1;
    }
  return 0;
}

static uint64_t value_or_0(enum counter counter)
{
  uint64_t value = 0;
  read_counter(counter, &value);
  return value;
}

void counters_open(void)
{
  for (int i = 0; i < COUNTERS; i++) {
    opened[i].fd = -1;
    for (int version = 0; version < 2 && opened[i].fd < 0 && sources[i][version].path; version++) {
      opened[i].fd = open(sources[i][version].path, O_RDONLY | O_CLOEXEC);
      opened[i].key = sources[i][version].key;
    }
  }
  oom_kills_before = value_or_0(OOM_KILLS);
  forks_refused_before = value_or_0(FORKS_REFUSED);
}

/* Also the moment to look at the number of processes, where the kernel keeps no peak of it. */
uint64_t counters_cpu_us(void)
{
  uint64_t processes = value_or_0(PIDS_NOW);
  most_processes = processes > most_processes ? processes : most_processes;
  uint64_t value;
  if (read_counter(CPU_NS, &value))
    return value / 1000;
  if (read_counter(CPU_US, &value))
    return value;
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
         (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

uint64_t counters_peak_memory_bytes(void)
{
  uint64_t value;
  if (read_counter(MEMORY_PEAK, &value))
    return value;
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  return (uint64_t)usage.ru_maxrss * 1024;
}

uint64_t counters_peak_processes(void)
{
  uint64_t value = most_processes;
  read_counter(PIDS_PEAK, &value);
  return value > 0 ? value - 1 : 0; /* without ourselves */
}

uint64_t counters_oom_kills(void)
{
  return value_or_0(OOM_KILLS) - oom_kills_before;
}

uint64_t counters_forks_refused(void)
{
  return value_or_0(FORKS_REFUSED) - forks_refused_before;
}
