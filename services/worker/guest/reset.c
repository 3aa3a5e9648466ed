/*
 * Between two jobs of one owner. Whatever the first left is removed with the job's own rights, then
 * it is looked whether anything is there, and then this program is executed anew: nothing that we
 * ourselves remember can go over. What cannot be removed or proven gone ends the sandbox.
 */
#include "guest.h"

#include <sys/socket.h>

/* The kernel may let go of what dead processes held a moment after they were reaped. */
enum { SETTLE_US = 200000, LOOK_AGAIN_US = 1000 };

/* A connection can outlive both its ends, and keeps its port for a minute. */
static bool no_sockets(void) {
  char text[1024];
  int fd = open("/proc/net/sockstat", O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (got < 0)
    end(END_FAILED, "/proc/net/sockstat: %m");
  close(fd);
  text[got] = 0;
  return strncmp(text, "sockets: used 0\n", 16) == 0 && strstr(text, " tw 0 ");
}

/* Files and sockets can be on their way in messages that nobody will receive, held by one another.
 * The kernel looks for such rings only when some socket of this family is closed. */
static void collect_messages(void) {
  close(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void require_nothing_left(void) {
  uint64_t until_us = now_us() + SETTLE_US;
  while (!places_are_empty() || !no_sockets()) {
    if (now_us() > until_us)
      end(END_FAILED, "something of the job is left: a file that is held, or a connection");
    collect_messages();
    nanosleep(&(struct timespec){ 0, LOOK_AGAIN_US * 1000 }, NULL);
  }
}

_Noreturn void reset(const struct frame *frame, uid_t uid, char *argv[]) {
  channel_hand_over(frame);
  if (kill(-1, 0) == 0 || errno != ESRCH)
    end(END_FAILED, "a process of the job is left");
  places_empty(uid);
  require_nothing_left();
  ipc_remove(uid);
  execve(argv[0], argv, (char *[]){ NULL });
  end(END_FAILED, "starting anew: %m");
}
