/*
 * Theory: a step ends when its main process does, or at the first cause. From then on nothing is decided any more:
 * everything is killed, everything is reaped, what the pipes hold is read, and the numbers are told. While the job
 * lives nothing here may block, or a slow worker would move the deadlines; once it is dead waiting harms nobody.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "child.h"
#include "counters.h"
#include "end.h"
#include "feed.h"
#include "output.h"

enum { CPU_LOOK_FLOOR_US = 5000, CPU_LOOK_CEILING_US = 60000000 };

struct running {
  struct child child;
  struct stream out, err;
  bool ended;
  int status;
  uint64_t started_us, deadline_us, ended_us;
  uint64_t cpu_before_us, cpu_limit_us, cpu_look_us; /* counter readings, and when to read it next */
};

/* The one place where causes meet: the first is kept. */
static enum cause cause;
static bool killed;
static int child_signals;

static uint64_t now_us(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now); /* the wall clock can be set, by the host if not by the job */
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t least(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static void end_for(enum cause first)
{
  if (cause == CAUSE_NONE)
    cause = first;
}

/* Frames that may come at any time after RUN. */
static void on_frame(struct frame *frame)
{
  if (frame->type == TO_STDIN || frame->type == TO_STDIN_END) {
    feed_accept(frame);
    return;
  }
  if (frame->type != TO_KILL)
    end_broken("frame %u while a job runs", frame->type);
  uint64_t why = frame_int(frame);
  frame_end(frame);
  if (why == CAUSE_NONE || why > CAUSE_ABORTED)
    end_broken("kill for cause %llu", (unsigned long long)why);
  killed = true;
  end_for((enum cause)why);
}

/* Also clones that chose another signal than SIGCHLD to tell of their end (__WALL). False when no child is left. */
static bool reap(struct running *running, int options)
{
  int status;
  pid_t pid = waitpid(-1, &status, options | __WALL);
  if (pid == running->child.pid) {
    running->ended = true;
    running->status = status;
  }
  return pid > 0 || (pid < 0 && errno == EINTR);
}

static void on_child_signals(struct running *running)
{
  struct signalfd_siginfo info;
  while (read(child_signals, &info, sizeof info) > 0)
    ;
  while (!running->ended && reap(running, WNOHANG))
    ;
}

/* A step may use no more than was left of the job's time. The counter is read as late as the quota allows. */
static void check_limits(struct running *running, const struct limits *limits)
{
  uint64_t now = now_us();
  if (now >= running->deadline_us)
    end_for(CAUSE_WALL);
  if (running->out.total > running->out.hard_bytes || running->err.total > running->err.hard_bytes)
    end_for(CAUSE_OUTPUT);
  if (now < running->cpu_look_us)
    return;
  uint64_t used = counters_cpu_us();
  if (used >= running->cpu_limit_us) {
    end_for(CAUSE_CPU);
    return;
  }
  uint64_t left = least(running->cpu_limit_us - used, CPU_LOOK_CEILING_US);
  uint64_t earliest = left * 1000 / limits->cpu_milli;
  running->cpu_look_us = now + (earliest > CPU_LOOK_FLOOR_US ? earliest : CPU_LOOK_FLOOR_US);
}

static int poll_timeout_ms(const struct running *running)
{
  uint64_t now = now_us();
  uint64_t next = least(running->deadline_us, running->cpu_look_us);
  return next <= now ? 0 : (int)least((next - now) / 1000 + 1, 60000);
}

/* While a frame waits for the worker the job's pipes are left full: the job waits, and nothing is buffered for it. */
static void serve_once(struct running *running)
{
  enum { CONTROL, FRAMES, SIGNALS, STDIN, STDOUT, STDERR, COUNT };
  bool pending = channel_pending();
  struct pollfd fds[COUNT] = {
    [CONTROL] = { 0, POLLIN, 0 },
    [FRAMES] = { pending ? 1 : -1, POLLOUT, 0 },
    [SIGNALS] = { child_signals, POLLIN, 0 },
    [STDIN] = feed_poll(),
    [STDOUT] = { pending ? -1 : running->out.fd, POLLIN, 0 },
    [STDERR] = { pending ? -1 : running->err.fd, POLLIN, 0 },
  };
  if (poll(fds, COUNT, poll_timeout_ms(running)) < 0)
    return;
  if (fds[SIGNALS].revents)
    on_child_signals(running);
  if (fds[STDIN].revents)
    feed_serve(fds[STDIN].revents);
  if (fds[CONTROL].revents)
    channel_serve();
  if (fds[FRAMES].revents)
    channel_write();
  if (fds[STDOUT].revents && !channel_pending())
    stream_pump(&running->out);
  if (fds[STDERR].revents && !channel_pending())
    stream_pump(&running->err);
}

/*
 * One signal to everyone leaves no gap to fork through: who has it pending cannot fork. Repeated all the same, until
 * the kernel says that nobody is left: then no process of the job exists, whatever its session, group or parent.
 */
static void end_everyone(struct running *running)
{
  do
    kill(-1, SIGKILL);
  while (reap(running, 0));
}

/* No writer is left, so what can be read now is all there will ever be. It counts towards the hard limit: whether a
 * program is quicker than we are shall not decide how its step ended. */
static void drain(struct stream *stream)
{
  do
    channel_flush();
  while (stream->fd >= 0 && stream_pump(stream));
  if (stream->total > stream->hard_bytes)
    end_for(CAUSE_OUTPUT);
}

/* True when the next step may run. */
static bool report(uint64_t index, struct running *running)
{
  struct failure failure = child_failure(&running->child);
  bool signaled = WIFSIGNALED(running->status);
  uint64_t kind = failure.stage ? KIND_COULD_NOT_START : signaled ? KIND_SIGNALED : KIND_EXITED;
  uint64_t code = failure.stage ? (uint64_t)failure.error
                                : (uint64_t)(signaled ? WTERMSIG(running->status) : WEXITSTATUS(running->status));
  channel_send(FROM_STEP_END,
               INTS(index, cause, kind, code, (uint64_t)failure.stage, running->out.total, running->err.total,
                    running->ended_us - running->started_us, counters_cpu_us() - running->cpu_before_us),
               NULL, 0);
  channel_flush();
  return !killed && cause == CAUSE_NONE && kind == KIND_EXITED && code == 0;
}

static bool report_not_forked(uint64_t index)
{
  uint64_t error = (uint64_t)errno;
  feed_open(index, -1);
  channel_send(FROM_STEP_END, INTS(index, cause, KIND_COULD_NOT_START, error, STAGE_SETUP, 0, 0, 0, 0), NULL, 0);
  channel_flush();
  return false;
}

static bool run_step(const struct job *job, uint64_t index, uint64_t job_deadline_us, uint64_t cpu_limit_us)
{
  const struct step *step = &job->steps[index];
  const struct limits *limits = &job->limits;
  struct running running = { .started_us = now_us(), .cpu_before_us = counters_cpu_us() };
  running.deadline_us = least(job_deadline_us, running.started_us + step->timeout_ms * 1000);
  running.cpu_limit_us = cpu_limit_us;
  channel_send(FROM_STARTED, INTS(index), NULL, 0);
  if (child_start(&running.child, job, step) < 0)
    return report_not_forked(index);
  running.out = stream_open(running.child.out, FROM_STDOUT, limits->stdout_bytes, limits->truncate,
                            limits->stream_bytes);
  running.err = stream_open(running.child.err, FROM_STDERR, limits->stderr_bytes, limits->truncate,
                            limits->stream_bytes);
  feed_open(index, running.child.in);

  check_limits(&running, limits);
  while (!running.ended && cause == CAUSE_NONE) {
    if (!channel_pending())
      feed_want();
    serve_once(&running);
    if (!running.ended)
      check_limits(&running, limits);
  }

  running.ended_us = now_us();
  end_everyone(&running);
  feed_close();
  drain(&running.out);
  drain(&running.err);
  stream_close(&running.out);
  stream_close(&running.err);
  return report(index, &running);
}

static void watch_children(void)
{
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
    end_failed("signal mask");
  child_signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (child_signals < 0)
    end_failed("signalfd");
}

bool run_steps(const struct job *job)
{
  channel_listen(on_frame);
  watch_children();
  uint64_t deadline_us = now_us() + job->limits.wall_ms * 1000;
  uint64_t cpu_limit_us = counters_cpu_us() + job->limits.cpu_ms * 1000;
  /* Also a job that was killed by now has a first step, which ends as it starts: every job is told of in one way. */
  uint64_t index = 0;
  while (run_step(job, index, deadline_us, cpu_limit_us) && ++index < job->step_count)
    ;
  return !killed;
}

bool run_was_killed(void)
{
  return killed;
}
