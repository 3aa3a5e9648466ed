/* From a fork of ours to the job's program. */
#ifndef CHILD_H
#define CHILD_H

#include "job.h"

struct child {
  pid_t pid;
  int in, out, err; /* our ends of its pipes, non-blocking; in is -1 for a step without stdin */
  int failure;      /* end of file: the program was executed; else a struct failure */
};

struct failure {
  int32_t stage, error;
};

int child_start(struct child *child, const struct job *job, const struct step *step);
struct failure child_failure(const struct child *child);

#endif
