/*
 * The cgroup counts the whole tree, dead or alive, whoever its parent is; sums over processes miss
 * who came and went between two looks and stand in only where there is no cgroup to read. The
 * descriptors are opened once, before the job exists.
 */
#include "guest.h"

#include <dirent.h>
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

/* Where the kernel shows no cgroup (gVisor): the dead, by wait(), and the living, by /proc. */
struct processes {
  uint64_t count, cpu_us, memory;
};

static void add_process(struct processes *sum, const char *number) {
  char path[64], text[1024];
  unsigned long long user, system, childrens_user, childrens_system;
  long long pages;
  snprintf(path, sizeof path, "/proc/%.16s/stat", number);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0)
    close(fd);
  text[got > 0 ? got : 0] = 0;
  const char *rest = strrchr(text, ')'); /* before it is a name, which can be anything */
  if (!rest || sscanf(rest, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %llu %llu"
                            " %*s %*s %*s %*s %*s %*s %lld",
                      &user, &system, &childrens_user, &childrens_system, &pages) < 5)
    return;
  sum->count++;
  sum->cpu_us += (user + system + childrens_user + childrens_system) * 1000000 /
                 (uint64_t)sysconf(_SC_CLK_TCK);
  sum->memory += (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct processes living(void) {
  struct processes sum = { 0 };
  DIR *entries = opendir("/proc");
  for (struct dirent *entry; entries && (entry = readdir(entries));)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strcmp(entry->d_name, "1") != 0)
      add_process(&sum, entry->d_name);
  if (entries)
    closedir(entries);
  return sum;
}

static uint64_t by_process(enum counter counter) {
  struct rusage dead;
  switch (counter) {
  case CPU_US:
    getrusage(RUSAGE_CHILDREN, &dead);
    return living().cpu_us +
           (uint64_t)(dead.ru_utime.tv_sec + dead.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(dead.ru_utime.tv_usec + dead.ru_stime.tv_usec);
  case MEMORY_NOW:
    return living().memory;
  case PIDS_NOW:
    return living().count + 1; /* with us */
  default:
    return 0;
  }
}

uint64_t counter_read(enum counter counter) {
  char text[4096];
  if (counters[counter].fd < 0)
    return by_process(counter);
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
