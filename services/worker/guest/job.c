/* LIMITS (FILE FILE_DATA*)* CWD? ENV* (STEP ARG+)+ COLLECT* RUN, and nothing else. */
#include "guest.h"

static struct texts texts;
static int file = -1; /* the one being laid out */

/* Every item takes a byte more than its length, so the two numbers tell where the next goes. */
char *texts_add(struct texts *to, const char *text, size_t length) {
  char *at = to->bytes + to->length + to->count;
  to->length += length;
  to->items[to->count++] = at;
  at[length] = 0;
  return memcpy(at, text, length);
}

/* In the order they come, each list ended by a NULL: so they are ready for execve(). Bounded in
 * sum: our memory is the job's cgroup, and who fills it is whoever wrote the job. */
static char *keep(const struct frame *frame) {
  channel_require(frame, texts.count < MAX_TEXTS, "fewer texts");
  channel_require(frame, texts.length + frame->length <= MAX_TEXT_BYTES, "less text");
  return texts_add(&texts, frame->rest, frame->length);
}

/* Where the next list begins, once the one before it is ended. */
static char **next_list(void) {
  texts.items[texts.count++] = NULL;
  return texts.items + texts.count;
}

/* What cannot be laid out is a result for the worker, told at RUN; the rest is then in vain. */
static void lay_out(struct job *job, enum stage stage, int result) {
  if (result >= 0 || job->refused)
    return;
  job->refused = stage;
  job->refused_errno = errno;
}

static int append(const char *bytes, size_t length) {
  ssize_t put = 0;
  for (; length > 0 && put >= 0; bytes += put, length -= (size_t)put)
    put = write(file, bytes, length);
  return put < 0 ? -1 : 0;
}

static void parse_limits(struct job *job, const struct frame *frame) {
  struct limits *limits = &job->limits;
  _Static_assert(sizeof *limits == sizeof frame->ints, "the fields are those of the frame");
  memcpy(limits, frame->ints, sizeof *limits);
  channel_require(frame, limits->truncate <= TRUNCATE_BOTH, "a known way to truncate");
  /* No deadline, no timer and no pace would be the meaning of 0, never "none allowed". */
  channel_require(frame, limits->wall_ms && limits->cpu_ms && limits->cpu_milli && limits->life_ms,
                  "times of at least 1");
  end_after(limits->life_ms);
}

static void parse_step(struct job *job, const struct frame *frame) {
  channel_require(frame, job->step_count < MAX_STEPS, "fewer steps");
  channel_require(frame, frame->ints[0] > 0 && frame->ints[1] <= 1, "a timeout, and 0 or 1");
  job->steps[job->step_count++] =
      (struct step){ .timeout_ms = frame->ints[0], .has_stdin = frame->ints[1], next_list() };
}

static void parse(struct job *job, const struct frame *frame) {
  switch (frame->type) {
  case TO_LIMITS: parse_limits(job, frame); break;
  case TO_FILE:
    channel_require(frame, frame->ints[0] <= 1, "0 or 1");
    file = files_open(frame->rest, O_WRONLY | O_CREAT | O_EXCL, frame->ints[0] ? 0755 : 0644);
    lay_out(job, STAGE_FILES, file);
    break;
  case TO_FILE_DATA: lay_out(job, STAGE_FILES, append(frame->rest, frame->length)); break;
  case TO_CWD:
    job->cwd = keep(frame);
    job->env = texts.items + texts.count;
    file = files_open(job->cwd, O_PATH | O_DIRECTORY | O_CREAT, 0);
    lay_out(job, STAGE_CWD, file);
    break;
  case TO_ENV:
    channel_require(frame, frame->rest[0] != '=' && strchr(frame->rest, '='), "NAME=VALUE");
    keep(frame);
    break;
  case TO_STEP: parse_step(job, frame); break;
  case TO_ARG:
  case TO_COLLECT: keep(frame); break;
  default: break; /* RUN */
  }
}

/* Which types may follow which; a row is the last frame, a bit what may come after it. */
static bool in_order(uint8_t last, uint8_t next) {
  enum { STEPS = 1 << TO_STEP, ENVS = 1 << TO_ENV | STEPS, CWDS = 1 << TO_CWD | ENVS };
  enum { FILES = 1 << TO_FILE | CWDS, DATA = 1 << TO_FILE_DATA };
  enum { ENDS = 1 << TO_COLLECT | 1 << TO_RUN };
  static const uint16_t may_follow[TO_RUN] = {
    [0] = 1 << TO_LIMITS, [TO_LIMITS] = FILES, [TO_FILE] = FILES | DATA,
    [TO_FILE_DATA] = FILES | DATA, [TO_CWD] = ENVS, [TO_ENV] = ENVS, [TO_STEP] = 1 << TO_ARG,
    [TO_ARG] = STEPS | 1 << TO_ARG | ENDS, [TO_COLLECT] = ENDS,
  };
  return may_follow[last] >> next & 1;
}

void job_receive(struct job *job) {
  job->env = texts.items;
  for (uint8_t last = 0; last != TO_RUN;) {
    struct frame frame = channel_receive();
    channel_require(&frame, in_order(last, frame.type), "another type here");
    if (frame.type != TO_FILE_DATA && file >= 0) {
      close(file); /* in any case before the first step: what is open for writing cannot be run */
      file = -1;
    }
    if (last == TO_ARG && (frame.type == TO_COLLECT || frame.type == TO_RUN))
      job->globs = next_list();
    parse(job, &frame);
    last = frame.type;
  }
  next_list();
}
