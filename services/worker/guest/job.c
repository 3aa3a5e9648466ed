/* LIMITS (FILE FILE_DATA*)* CWD? ENV* (STEP ARG+)+ COLLECT* RUN, and nothing else. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "end.h"
#include "files.h"

static size_t text_bytes, text_count;

/* Bounded in sum: our memory is the job's cgroup, and who fills it is whoever wrote the job. */
static void push(struct texts *texts, char *text)
{
  text_bytes += text ? strlen(text) : 0;
  if (text_bytes > MAX_TEXT_BYTES || ++text_count > MAX_TEXTS)
    end_broken("more texts than a job may have");
  if (texts->count == texts->room) {
    texts->room = texts->room ? texts->room * 2 : 16;
    texts->items = realloc(texts->items, texts->room * sizeof *texts->items);
    if (!texts->items)
      end_failed("no memory");
  }
  texts->items[texts->count++] = text;
}

/* None of these may be 0: no deadline, no timer and no pace would be the meaning, never "none allowed". */
static uint64_t positive(struct frame *frame)
{
  uint64_t value = frame_int(frame);
  if (value == 0)
    end_broken("frame %u has a limit of 0", frame->type);
  return value;
}

static uint64_t at_most(struct frame *frame, uint64_t most)
{
  uint64_t value = frame_int(frame);
  if (value > most)
    end_broken("frame %u has %llu where at most %llu may be", frame->type, (unsigned long long)value,
               (unsigned long long)most);
  return value;
}

static void parse_limits(struct limits *limits, struct frame *frame)
{
  limits->wall_ms = positive(frame);
  limits->cpu_ms = positive(frame);
  limits->cpu_milli = positive(frame);
  limits->open_files = frame_int(frame);
  limits->processes = frame_int(frame);
  limits->file_bytes = frame_int(frame);
  limits->stdout_bytes = frame_int(frame);
  limits->stderr_bytes = frame_int(frame);
  limits->stream_bytes = frame_int(frame);
  limits->truncate = at_most(frame, TRUNCATE_BOTH);
  limits->artifact_bytes = frame_int(frame);
  limits->artifact_count = frame_int(frame);
  limits->life_ms = positive(frame);
}

/* What cannot be laid out is a result for the worker, told at RUN; the rest of the frames is then only parsed. */
static void refuse(struct job *job, enum stage stage)
{
  if (job->refused)
    return;
  job->refused = stage;
  job->refused_errno = errno;
}

static void parse_file(struct job *job, struct frame *frame)
{
  bool executable = at_most(frame, 1);
  char *path = frame_text(frame);
  if (!job->refused && files_create(path, executable) < 0)
    refuse(job, STAGE_FILES);
  free(path);
}

static void parse_file_data(struct job *job, struct frame *frame)
{
  if (!job->refused && files_append(frame->payload, frame->length) < 0)
    refuse(job, STAGE_FILES);
  frame->length = 0;
}

static void parse_cwd(struct job *job, struct frame *frame)
{
  job->cwd = frame_text(frame);
  if (!job->refused && files_create_folder(job->cwd) < 0)
    refuse(job, STAGE_CWD);
}

static void parse_env(struct job *job, struct frame *frame)
{
  char *variable = frame_text(frame);
  if (strcspn(variable, "=") == 0 || !strchr(variable, '='))
    end_broken("a variable without a name");
  push(&job->env, variable);
}

static void parse_step(struct job *job, struct frame *frame)
{
  if (job->step_count == MAX_STEPS)
    end_broken("more than %d steps", MAX_STEPS);
  struct step *step = &job->steps[job->step_count++];
  step->timeout_ms = positive(frame);
  step->has_stdin = at_most(frame, 1);
  if (job->args.count > 0)
    push(&job->args, NULL);
  step->first_arg = job->args.count;
}

/* Which types may follow which; a row is the last frame, a bit what may come after it. */
static bool in_order(uint8_t last, uint8_t next)
{
  enum { STEPS = 1 << TO_STEP, ENVS = 1 << TO_ENV | STEPS, CWDS = 1 << TO_CWD | ENVS, FILES = 1 << TO_FILE | CWDS };
  static const uint16_t may_follow[TO_RUN] = {
    [0] = 1 << TO_LIMITS,
    [TO_LIMITS] = FILES,
    [TO_FILE] = FILES | 1 << TO_FILE_DATA,
    [TO_FILE_DATA] = FILES | 1 << TO_FILE_DATA,
    [TO_CWD] = ENVS,
    [TO_ENV] = ENVS,
    [TO_STEP] = 1 << TO_ARG,
    [TO_ARG] = STEPS | 1 << TO_ARG | 1 << TO_COLLECT | 1 << TO_RUN,
    [TO_COLLECT] = 1 << TO_COLLECT | 1 << TO_RUN,
  };
  return may_follow[last] >> next & 1;
}

static void parse(struct job *job, struct frame *frame)
{
  if (frame->type != TO_FILE_DATA)
    files_close(); /* before the first step: a program still open for writing cannot be executed */
  switch (frame->type) {
  case TO_LIMITS:
    parse_limits(&job->limits, frame);
    end_after(job->limits.life_ms);
    break;
  case TO_FILE: parse_file(job, frame); break;
  case TO_FILE_DATA: parse_file_data(job, frame); break;
  case TO_CWD: parse_cwd(job, frame); break;
  case TO_ENV: parse_env(job, frame); break;
  case TO_STEP: parse_step(job, frame); break;
  case TO_ARG: push(&job->args, frame_text(frame)); break;
  case TO_COLLECT: push(&job->globs, frame_text(frame)); break;
  default: break; /* RUN */
  }
  frame_end(frame);
}

void job_receive(struct job *job)
{
  uint8_t last = 0;
  while (last != TO_RUN) {
    struct frame frame = channel_receive();
    if (!in_order(last, frame.type))
      end_broken("frame %u after frame %u", frame.type, last);
    last = frame.type;
    parse(job, &frame);
  }
  push(&job->args, NULL);
  push(&job->env, NULL);
}
