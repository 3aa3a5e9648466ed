/* A job as the frames before RUN describe it. */
#ifndef JOB_H
#define JOB_H

#include <stdbool.h>
#include <sys/types.h>

#include "frame.h"

enum { MAX_STEPS = 64, MAX_TEXTS = 65536, MAX_TEXT_BYTES = 8 << 20 };

/* In the order of the LIMITS frame. */
struct limits {
  uint64_t wall_ms, cpu_ms, cpu_milli, open_files, processes, file_bytes;
  uint64_t stdout_bytes, stderr_bytes, stream_bytes, truncate;
  uint64_t artifact_bytes, artifact_count, life_ms;
};

struct step {
  uint64_t timeout_ms;
  bool has_stdin;
  size_t first_arg; /* index into args; a NULL ends the step's own */
};

struct texts {
  char **items;
  size_t count, room;
};

struct job {
  uid_t uid;
  struct limits limits;
  char *cwd; /* NULL: the work folder itself */
  struct texts env, args, globs;
  struct step steps[MAX_STEPS];
  size_t step_count;
  enum stage refused; /* the first thing that could not be laid out */
  int refused_errno;
};

void job_receive(struct job *job);

#endif
