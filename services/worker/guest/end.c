#include "guest.h"

#include <stdarg.h>
#include <sys/time.h>

/*
 * Also runs in a signal handler, then without a text. main() made sure that we are PID 1: anywhere
 * else -1 would be the whole machine. The kernel kills what is left when PID 1 is gone.
 */
_Noreturn void end(enum end_code code, const char *why, ...) {
  int error = errno; /* for a %m in the text */
  kill(-1, SIGKILL);
  if (why) {
    va_list details;
    va_start(details, why);
    dprintf(2, "guest: ");
    errno = error;
    vdprintf(2, why, details);
    dprintf(2, "\n");
    va_end(details);
  }
  _exit(code);
}

static void on_last_deadline(int signal_number) {
  (void)signal_number;
  end(END_LAST_DEADLINE, NULL);
}

/*
 * The dead man's switch: worker and daemon may both be gone with our stdin still open somewhere. A
 * signal, not a check in a loop, because a wait for a process or a write may block; real time,
 * because sleep counts as well.
 */
void end_after(uint64_t ms) {
  struct sigaction action = { .sa_handler = on_last_deadline };
  struct itimerval timer = { .it_value = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) } };
  if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0)
    end(END_FAILED, "last deadline: %m");
}
