/* The files the job left and the caller asked for. */
#ifndef ARTIFACTS_H
#define ARTIFACTS_H

#include "job.h"

void artifacts_send(const struct job *job);

#endif
