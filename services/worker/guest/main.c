/* PID 1 of a sandbox: one job, then the end or a new start. README.md has the theory. */
#include "guest.h"

#include <sys/prctl.h>
#include <sys/utsname.h>

/* Not by end(): it kills everyone, and we may be anywhere yet. */
static _Noreturn void refuse_to_start(const char *why) {
  dprintf(2, "guest: %s\n", why);
  _exit(END_BROKEN);
}

/* A uid of 0 would give the job everything we have; an idle time of 0 would be no deadline. */
static uint64_t positive_argument(const char *text) {
  char *rest;
  errno = 0;
  unsigned long value = strtoul(text, &rest, 10);
  if (errno || *rest || *text < '0' || *text > '9' || value == 0 || value > INT_MAX)
    refuse_to_start("usage: guest UID IDLE_SECONDS");
  return value;
}

/* What the job could reach us by, or make us die of. */
static void guard_self(void) {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) /* no ptrace, /proc/1/fd, /proc/1/mem, core */
    end(END_FAILED, "dumpable: %m");
  for (int number = 1; number < NSIG; number++)
    if (number != SIGALRM) /* end_after()'s */
      signal(number, SIG_DFL); /* fails for KILL, STOP and the library's own: they need none */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  umask(0); /* modes are said in full */
}

static void run(const struct job *job) {
  if (job->refused) {
    channel_send(FROM_REFUSED, INTS(job->refused, (uint64_t)job->refused_errno), NO_BYTES);
    return;
  }
  run_steps(job);
  if (!run_killed)
    artifacts_send(job);
}

static void send_done(void) {
  channel_send(FROM_DONE,
               INTS(counter_since(CPU_US), counters_peak_memory(), counters_peak_processes(),
                    counter_since(OOM_KILLS), counter_since(FORKS_REFUSED)),
               NO_BYTES);
  channel_flush();
}

/* What the worker said before it had read DONE may still arrive. */
static struct frame await_verdict(void) {
  channel_listen(NULL);
  if (run_reset)
    return (struct frame){ .type = TO_RESET };
  for (;;) {
    struct frame frame = channel_receive();
    if (frame.type == TO_EXIT || frame.type == TO_RESET)
      return frame;
    channel_require(&frame, frame.type >= TO_STDIN, "EXIT or RESET after the job");
  }
}

/* A job's program, and no guest: the worker's proof of the runtime, in any image. A runtime that
 * has no use for our list of system calls is told by the mode, which is 2 under a filter. */
static int tell_kernel(void) {
  struct utsname kernel;
  if (uname(&kernel) < 0)
    return END_FAILED;
  printf("%s %s seccomp %d\n", kernel.release, kernel.version, prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
  return END_DONE;
}

int main(int argc, char *argv[]) {
  static struct job job;
  if (argc == 2 && strcmp(argv[1], "kernel") == 0)
    return tell_kernel();
  if (getpid() != 1)
    refuse_to_start("must be process 1 of its own pid namespace");
  if (argc != 3)
    refuse_to_start("usage: guest UID IDLE_SECONDS");
  job.uid = (uid_t)positive_argument(argv[1]);
  end_after(positive_argument(argv[2]) * 1000);
  counters_open();
  channel_open();
  files_act_as(job.uid);
  places_close();
  guard_self(); /* after it: a change of the filesystem uid makes a process dumpable again */

  channel_send(FROM_HELLO, INTS(PROTOCOL_VERSION), NO_BYTES);
  channel_flush();
  job_receive(&job);
  counters_begin();
  run(&job);
  send_done();
  struct frame verdict = await_verdict();
  if (verdict.type == TO_RESET)
    reset(&verdict, job.uid, argv);
  end(END_DONE, NULL);
}
