/*
 * Theory: a step ends when its main process does, or at the first cause. From then on nothing is
 * decided any more: everything is killed, everything is reaped, what the pipes hold is read, and
 * the numbers are told. While the job lives nothing here may block, or a slow worker would move the
 * deadlines; once it is dead waiting harms nobody.
 */
#include "guest.h"

#include <sys/wait.h>

enum { CPU_LOOK_FLOOR_US = 5000, CPU_LOOK_CEILING_US = 60000000 };
enum { SAMPLE_FLOOR_US = 2000, SAMPLE_CEILING_US = 100000 };
enum { HOLD_US = 2000 }; /* a step that is over by then is told of at once, from STARTED on */

struct running {
  const struct limits *limits;
  pid_t pid;
  struct stream streams[2];
  bool ended, reaped; /* the main process; anyone in this turn */
  int status;
  uint64_t started_us, deadline_us, cpu_look_us, sample_us, release_us;
};

/* The one place where causes meet: the first is kept. */
static enum cause cause;
bool run_killed, run_reset;

uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now); /* the wall clock can be set, if not by the job */
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void end_for(enum cause first) {
  if (cause == CAUSE_NONE)
    cause = first;
}

/* Frames that may come at any time after RUN. */
static void on_frame(const struct frame *frame) {
  if (frame->type == TO_STDIN || frame->type == TO_STDIN_END) {
    input_accept(frame);
    return;
  }
  if (frame->type == TO_RESET) {
    run_reset = true;
    return;
  }
  channel_require(frame, frame->type == TO_KILL, "another type while a job runs");
  enum cause why = (enum cause)least(frame->ints[0], CAUSE_ABORTED + 1);
  channel_require(frame, why != CAUSE_NONE && why <= CAUSE_ABORTED, "a cause");
  run_killed = true;
  end_for(why);
}

/* Also clones that chose another signal than SIGCHLD to tell of their end (__WALL). */
static bool reap(struct running *running, int options) {
  int status;
  pid_t pid = waitpid(-1, &status, options | __WALL);
  /* a traced process is reported when it stops, and its number may be another's once it has ended */
  if (pid > 0 && pid == running->pid && !running->ended && !WIFSTOPPED(status)) {
    running->ended = true;
    running->status = status;
  }
  return pid > 0;
}

static void check_output(const struct running *running) {
  for (int i = 0; i < 2; i++)
    if (running->streams[i].total > running->limits->stream_bytes)
      end_for(CAUSE_OUTPUT);
}

/* The cpu counter is read no sooner than the quota lets the job use what is left of its time. */
static bool within_limits(struct running *running) {
  uint64_t now = now_us();
  if (now >= running->deadline_us)
    end_for(CAUSE_WALL);
  check_output(running);
  if (now < running->cpu_look_us)
    return cause == CAUSE_NONE;
  uint64_t most = running->limits->cpu_ms * 1000, left = most - least(counter_since(CPU_US), most);
  if (left == 0)
    end_for(CAUSE_CPU);
  uint64_t earliest_us = least(left, CPU_LOOK_CEILING_US) * 1000 / running->limits->cpu_milli;
  running->cpu_look_us = now + (earliest_us > CPU_LOOK_FLOOR_US ? earliest_us : CPU_LOOK_FLOOR_US);
  return cause == CAUSE_NONE;
}

/* One dead process a turn, and no wait while there may be more: a storm of them delays no check. */
static struct timespec time_to_wait(const struct running *running) {
  uint64_t now = now_us(), next = least(running->deadline_us, running->cpu_look_us);
  next = least(least(next, running->sample_us), running->release_us);
  uint64_t us = running->reaped || next <= now ? 0 : next - now;
  return (struct timespec){ (time_t)(us / 1000000), (long)(us % 1000000 * 1000) };
}

/* Memory and processes tell nobody when they grow. We look whenever we wake, and after as long
 * again as the step has run: a short one is seen closely, a long one costs next to nothing. */
static void sample(struct running *running) {
  uint64_t now = now_us(), age = now - running->started_us;
  counters_sample();
  running->sample_us =
      now + (age < SAMPLE_FLOOR_US ? SAMPLE_FLOOR_US : least(age, SAMPLE_CEILING_US));
}

/* While a frame waits for the worker the job's pipes are left full: the job waits, and nothing is
 * buffered for it. */
static void serve(struct running *running) {
  enum { STDIN = CHANNEL_FDS, STREAMS, COUNT = STREAMS + 2 };
  struct pollfd fds[COUNT];
  struct timespec timeout = time_to_wait(running);
  if (!channel_pending())
    input_want();
  fds[STDIN] = input_poll();
  for (int i = 0; i < 2; i++) {
    int fd = channel_pending() ? -1 : running->streams[i].fd;
    fds[STREAMS + i] = (struct pollfd){ fd, POLLIN, 0 };
  }
  channel_wait(fds, COUNT, &timeout);
  if (now_us() >= running->release_us) {
    running->release_us = UINT64_MAX;
    channel_release();
  }
  sample(running);
  running->reaped = reap(running, WNOHANG);
  input_serve(fds[STDIN].revents);
  for (int i = 0; i < 2; i++)
    if (fds[STREAMS + i].revents && !channel_pending())
      stream_pump(&running->streams[i]);
}

/*
 * One signal to everyone leaves no gap to fork through: who has it pending cannot fork. Repeated
 * all the same, until the kernel says that nobody is left: then no process of the job exists,
 * whatever its session, group or parent.
 */
static void end_everyone(struct running *running) {
  do
    kill(-1, SIGKILL);
  while (reap(running, 0));
}

/* No writer is left, so what can be read now is all there will ever be. */
static void drain(struct stream *stream) {
  while (stream->fd >= 0 && stream_pump(stream))
    ;
}

/* What was counted since the step before was told of. */
static uint64_t share_of(enum counter counter) {
  static uint64_t told[COUNTERS];
  uint64_t now = counter_since(counter), share = now - least(now, told[counter]);
  told[counter] = now;
  return share;
}

/* True when the next step may run. */
static bool report(uint64_t index, const struct running *running, uint64_t wall_us) {
  struct failure failure = child_failure();
  bool signaled = WIFSIGNALED(running->status);
  int code = signaled ? WTERMSIG(running->status) : WEXITSTATUS(running->status);
  enum kind kind = signaled ? KIND_SIGNALED : KIND_EXITED;
  if (failure.stage != STAGE_NONE) {
    code = failure.error;
    kind = KIND_COULD_NOT_START;
  }
  channel_send(FROM_STEP_END,
               INTS(index, cause, kind, (uint64_t)code, failure.stage, running->streams[0].total,
                    running->streams[1].total, wall_us, share_of(CPU_US), share_of(OOM_KILLS)),
               NO_BYTES);
  return !run_killed && cause == CAUSE_NONE && kind == KIND_EXITED && code == 0;
}

static bool run_step(const struct job *job, uint64_t index, uint64_t job_deadline_us) {
  const struct limits *limits = &job->limits;
  const struct step *step = &job->steps[index];
  struct running running = { .limits = limits, .started_us = now_us() };
  int fds[3] = { -1, -1, -1 };

  running.release_us = running.started_us + HOLD_US;
  channel_hold();
  running.deadline_us = least(job_deadline_us, running.started_us + step->timeout_ms * 1000);
  channel_send(FROM_STARTED, INTS(index), NO_BYTES);
  running.pid = child_start(job, step, fds);
  running.ended = running.pid < 0;
  running.streams[0] = stream_open(fds[1], FROM_STDOUT, limits->stdout_bytes, limits->truncate);
  running.streams[1] = stream_open(fds[2], FROM_STDERR, limits->stderr_bytes, limits->truncate);
  input_open(index, fds[0]);
  sample(&running);

  while (!running.ended && within_limits(&running))
    serve(&running);

  uint64_t wall_us = now_us() - running.started_us;
  end_everyone(&running);
  input_close();
  for (int i = 0; i < 2; i++)
    drain(&running.streams[i]);
  /* Here too: whether a program is quicker than we are shall not decide how its step ended. */
  check_output(&running);
  for (int i = 0; i < 2; i++)
    stream_close(&running.streams[i]);
  return report(index, &running, wall_us);
}

static void on_child(int signal_number) {
  (void)signal_number; /* there only to wake channel_wait() */
}

static void watch_children(void) {
  struct sigaction action = { .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP };
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0 || sigaction(SIGCHLD, &action, NULL) < 0)
    end(END_FAILED, "watching children: %m");
}

/* Also a job that was killed by now has a first step, which ends as it starts: every job is told of
 * in one way. */
void run_steps(const struct job *job) {
  uint64_t deadline_us = now_us() + job->limits.wall_ms * 1000, index = 0;
  watch_children();
  channel_listen(on_frame);
  while (run_step(job, index, deadline_us) && ++index < job->step_count)
    ;
}
