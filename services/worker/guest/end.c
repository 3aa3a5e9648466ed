#include "end.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { CODE_DONE = 0, CODE_FAILED = 1, CODE_BROKEN = 2, CODE_LAST_DEADLINE = 3 };

/* Also runs in a signal handler. main() made sure that we are PID 1: anywhere else -1 would be the whole machine. */
static _Noreturn void end(int code)
{
  kill(-1, SIGKILL);
  _exit(code);
}

_Noreturn void end_quietly(void)
{
  end(CODE_DONE);
}

_Noreturn void end_broken(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  dprintf(2, "guest: broken frame: ");
  vdprintf(2, format, arguments);
  dprintf(2, "\n");
  va_end(arguments);
  end(CODE_BROKEN);
}

_Noreturn void end_failed(const char *what)
{
  dprintf(2, "guest: %s: %s\n", what, strerror(errno));
  end(CODE_FAILED);
}

static void on_last_deadline(int signal_number)
{
  (void)signal_number;
  end(CODE_LAST_DEADLINE);
}

/*
 * The dead man's switch: worker and daemon may both be gone with our stdin still open somewhere. A signal, not a
 * check in a loop, because a wait for a process or a write may block; real time, because sleep counts as well.
 */
void end_after(uint64_t ms)
{
  struct sigaction action = { .sa_handler = on_last_deadline };
  struct itimerval timer = { .it_value = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) } };
  if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0)
    end_failed("last deadline");
}
