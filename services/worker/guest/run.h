/* The steps of a job, one after another. */
#ifndef RUN_H
#define RUN_H

#include "job.h"

/* False when the job was killed: nothing more is owed than DONE. */
bool run_steps(const struct job *job);

/* While nothing of the job runs: late stdin and late kills are no errors. */
bool run_was_killed(void);

#endif
