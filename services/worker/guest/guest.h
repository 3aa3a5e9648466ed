/*
 * The parts of the guest, lower ones first: a part calls only those above it on this page.
 * README.md is the theory of operation.
 */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

static inline uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* end.c: the ways the guest ends. Each kills the job first. */
enum end_code { END_DONE = 0, END_FAILED = 1, END_BROKEN = 2, END_LAST_DEADLINE = 3 };
_Noreturn void end(enum end_code code, const char *why, ...)
    __attribute__((format(printf, 2, 3)));
void end_after(uint64_t ms);

/* channel.c: frames over our own stdin and stdout, through one bounded buffer each way. */
enum { MAX_INTS = 13, CHANNEL_FDS = 2 };
struct frame {
  uint8_t type;
  uint64_t ints[MAX_INTS];
  char *rest; /* what follows the ints, and a NUL; in place until the next wait */
  size_t length;
};
#define INTS(...) (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8
#define NO_INTS NULL, 0
#define NO_BYTES NULL, 0
void channel_open(void);
void channel_hand_over(const struct frame *last);
void channel_listen(void (*handler)(const struct frame *frame));
struct frame channel_receive(void);
void channel_require(const struct frame *frame, bool ok, const char *expected);
void channel_send(uint8_t type, const uint64_t *ints, size_t count, const void *bytes, size_t size);
bool channel_pending(void);
void channel_hold(void);
void channel_release(void);
void channel_flush(void);
void channel_wait(struct pollfd fds[], nfds_t count, const struct timespec *timeout);

/* files.c: the only roads into /work. Each returns -1 with errno. */
void files_act_as(uid_t uid);
int files_open(const char *path, int flags, mode_t mode);
int files_open_beneath(int folder, const char *name, int flags, mode_t mode);

/* job.c: a job as the frames before RUN describe it. */
enum { MAX_STEPS = 64, MAX_TEXTS = 65536, MAX_TEXT_BYTES = 8 << 20, MAX_VISITED = 100000 };

/* Strings in one piece of memory, of which only the pages written exist. Whoever adds bounds it. */
struct texts {
  char *items[MAX_VISITED + 1], bytes[MAX_TEXT_BYTES + MAX_VISITED + 1];
  size_t count, length; /* the length without the NULs */
};
char *texts_add(struct texts *texts, const char *text, size_t length);

/* In the order of the LIMITS frame. */
struct limits {
  uint64_t wall_ms, cpu_ms, cpu_milli, open_files, processes, file_bytes;
  uint64_t stdout_bytes, stderr_bytes, stream_bytes, truncate;
  uint64_t artifact_bytes, artifact_count, life_ms;
};
struct step {
  uint64_t timeout_ms, has_stdin;
  char **argv;
};
struct job {
  uid_t uid;
  struct limits limits;
  char *cwd;           /* NULL: the work folder itself */
  char **env, **globs; /* as argv, up to a NULL */
  struct step steps[MAX_STEPS];
  size_t step_count;
  enum stage refused; /* the first thing that could not be laid out */
  int refused_errno;
};
void job_receive(struct job *job);

/* counters.c: what the sandbox's cgroup has counted; version 1 and 2. */
enum counter {
  CPU_US, MEMORY_PEAK, MEMORY_NOW, OOM_KILLS, FORKS_REFUSED, PIDS_PEAK, PIDS_NOW, COUNTERS,
};
void counters_open(void);
void counters_begin(void);
uint64_t counter_read(enum counter counter);
uint64_t counter_since(enum counter counter);
void counters_sample(void);
uint64_t counters_peak_memory(void);
uint64_t counters_peak_processes(void);

/* child.c: from a fork of ours to the job's program. */
struct failure {
  enum stage stage; /* STAGE_NONE: the program was executed */
  int error;
};
/* -1: not even forked. `ours` are our ends of its pipes, non-blocking, -1 where there is none. */
pid_t child_start(const struct job *job, const struct step *step, int ours[3]);
struct failure child_failure(void);

/* output.c: one stream of a step: what is kept of it, and how much there was. */
struct stream {
  int fd; /* our end of the job's pipe; -1 after its end of file */
  uint8_t head_type, tail_type;
  uint64_t head_bytes, tail_bytes; /* how many of the first and of the last bytes are kept */
  uint64_t total, past_head;
  unsigned char *ring;
};
struct stream stream_open(int fd, uint8_t head_type, uint64_t cap, uint64_t truncate);
bool stream_pump(struct stream *stream);
void stream_close(struct stream *stream);

/* input.c: the running step's stdin: asked for by WANT, held in one buffer, written as it reads. */
void input_open(uint64_t step, int fd);
void input_close(void);
void input_accept(const struct frame *frame);
void input_want(void);
struct pollfd input_poll(void);
void input_serve(short events);

/* run.c: the steps of a job, one after another. */
uint64_t now_us(void);  /* by the monotonic clock */
extern bool run_killed; /* nothing more is owed than DONE */
extern bool run_reset;  /* what is to follow it was said already */
void run_steps(const struct job *job);

/* glob.c: path patterns as README.md defines them, over UTF-8. */
bool glob_matches(const char *pattern, const char *path);
bool utf8_valid(const char *text);

/* artifacts.c: the files the job left and the caller asked for. */
void artifacts_send(const struct job *job);

/* ipc.c: what System V IPC keeps though nobody uses it. */
void ipc_remove(uid_t uid);

/* places.c: the places a job can write in. */
void places_close(void);
void places_empty(uid_t uid);
bool places_are_empty(void);

/* reset.c: from a sandbox that has run a job to one that seems never to have. */
_Noreturn void reset(const struct frame *frame, uid_t uid, char *argv[]);

#endif
