/* PID 1 of a sandbox: one job, then the end. README.md is the theory of operation. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "artifacts.h"
#include "channel.h"
#include "counters.h"
#include "end.h"
#include "files.h"
#include "job.h"
#include "run.h"

static _Noreturn void refuse_to_start(const char *why)
{
  (void)!write(2, why, strlen(why));
  _exit(2);
}

/* A uid of 0 would give the job everything we have; an idle time of 0 would be no deadline. */
static unsigned long positive_argument(const char *text)
{
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno || *end || *text < '0' || *text > '9' || value == 0 || value > 0x7fffffff)
    refuse_to_start("usage: guest UID IDLE_SECONDS\n");
  return value;
}

/* What the job could reach us by, or make us die of. */
static void guard_self(void)
{
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) /* no ptrace, no /proc/1/fd, no /proc/1/mem, no core */
    end_failed("dumpable");
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  umask(0); /* modes are said in full */
}

static void send_refused(const struct job *job)
{
  channel_send(FROM_REFUSED, INTS(job->refused, (uint64_t)job->refused_errno), NULL, 0);
}

static void send_done(uint64_t cpu_before_us)
{
  channel_send(FROM_DONE,
               INTS(counters_cpu_us() - cpu_before_us, counters_peak_memory_bytes(), counters_peak_processes(),
                    counters_oom_kills(), counters_forks_refused()),
               NULL, 0);
  channel_flush();
}

/* What the worker said before it had read DONE may still arrive. */
static _Noreturn void await_exit(void)
{
  for (;;) {
    struct frame frame = channel_receive();
    if (frame.type == TO_EXIT) {
      frame_end(&frame);
      end_quietly();
    }
    if (frame.type != TO_STDIN && frame.type != TO_STDIN_END && frame.type != TO_KILL)
      end_broken("frame %u after the job", frame.type);
  }
}

int main(int argc, char *argv[])
{
  if (getpid() != 1)
    refuse_to_start("guest: must be process 1 of its own pid namespace\n");
  if (argc != 3)
    refuse_to_start("usage: guest UID IDLE_SECONDS\n");
  static struct job job;
  job.uid = (uid_t)positive_argument(argv[1]);
  end_after(positive_argument(argv[2]) * 1000);
  guard_self();
  counters_open();
  channel_open();
  files_act_as(job.uid);

  channel_send(FROM_HELLO, INTS(PROTOCOL_VERSION), NULL, 0);
  channel_flush();
  job_receive(&job);
  uint64_t cpu_before_us = counters_cpu_us();
  if (job.refused)
    send_refused(&job);
  else if (run_steps(&job))
    artifacts_send(&job);
  send_done(cpu_before_us);
  await_exit();
}
