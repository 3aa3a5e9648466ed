/*
 * A fork of ours is privileged until setresuid() and holds our descriptors until execve(). Nothing
 * of the job runs beside it then, and it reads nothing of the job's but the strings of the frames.
 * The order in become_job() is the argument; do not reorder it without reading every line.
 */
#include "guest.h"

#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { MANY_FDS = 4096 };

/* Shared with the fork, which is how it tells us; execve() takes it from the job's program. A new
 * one each step, zero: no step is told of what became of another. */
static struct failure *failure;

static _Noreturn void fail(enum stage stage) {
  *failure = (struct failure){ stage, errno };
  _exit(127);
}

static void setup(int result) {
  if (result < 0)
    fail(STAGE_SETUP);
}

/* Both limits, so that the job cannot raise its own again; never above what the container has. One
 * that is so already is not set: gVisor refuses to set some that it keeps. */
static void limit(int resource, uint64_t most) {
  struct rlimit limit;
  setup(getrlimit(resource, &limit));
  if (limit.rlim_cur == limit.rlim_max && limit.rlim_max <= most)
    return;
  limit.rlim_cur = limit.rlim_max = least(most, limit.rlim_max);
  setup(setrlimit(resource, &limit));
}

/* When the cgroup is full the kernel should take the job and not its only witness. A job may take
 * this back, down to the container's own score: the worker then learns of the end from the engine. */
static int volunteer_for_oom(void) {
  files_act_as(0); /* our /proc entry is root's alone, since we are not dumpable */
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, "1000", 4) == 4 ? 0 : -1;
}

/* An ignored signal stays ignored over execve: writing would never raise SIGPIPE in the job. These
 * two are all that we ignore, and main() took back what was ignored before us. */
static void reset_signals(void) {
  static const sigset_t none;
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * A descriptor of ours in the job would be a way to forge frames; one the container runtime forgot
 * could be a folder of the host. Ours are close-on-exec, which is not a reason to rely on it.
 */
static void wire_descriptors(const int fds[3]) {
  for (int fd = 0; fd < 3; fd++)
    setup(dup2(fds[fd], fd));
  if (syscall(SYS_close_range, 3, ~0U, 0) < 0) /* before Linux 5.9: one by one */
    for (int fd = 3; fd < MANY_FDS; fd++)
      close(fd);
}

/* Groups first: without its uid 0 the process could not give them up any more. All three ids, so
 * that no saved one is left to return to; with them go all capabilities. */
static void drop_privileges(uid_t uid) {
  setup(setgroups(0, NULL));
  setup(setresgid(uid, uid, uid));
  setup(setresuid(uid, uid, uid));
  setup(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); /* no setuid file gives anything back */
}

/* As execvp, but a file of no known format is an error and not a shell script in any C library. */
static void execute(char *argv[], char *env[]) {
  environ = env;
  const char *path = getenv("PATH");
  int answer = ENOENT;
  if (strchr(argv[0], '/') || !argv[0][0]) {
    execve(argv[0], argv, env);
    return;
  }
  for (const char *folder = path ? path : "/usr/local/bin:/usr/bin:/bin"; folder;) {
    char program[PATH_MAX];
    int length = (int)strcspn(folder, ":");
    const char *slash = length ? "/" : "./";
    int put = snprintf(program, sizeof program, "%.*s%s%s", length, folder, slash, argv[0]);
    folder = folder[length] ? folder + length + 1 : NULL;
    if (put >= PATH_MAX)
      continue;
    execve(program, argv, env);
    if (errno == EACCES)
      answer = EACCES;
    else if (errno != ENOENT && errno != ENOTDIR)
      return;
  }
  errno = answer;
}

static _Noreturn void become_job(const struct job *job, const struct step *step, const int fds[3]) {
  setup(setsid()); /* no terminal, and no signal to a group of ours */
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, job->limits.file_bytes);
  limit(RLIMIT_NOFILE, job->limits.open_files);
  limit(RLIMIT_NPROC, job->limits.processes); /* of the uid: each sandbox has its own */
  limit(RLIMIT_MSGQUEUE, 0); /* POSIX message queues outlive whoever made them */
  setup(volunteer_for_oom());
  reset_signals();
  wire_descriptors(fds);
  umask(022);
  drop_privileges(job->uid);
  /* As the job: a folder that an earlier step closed or replaced is that job's own trouble. */
  int folder = files_open(job->cwd, O_PATH | O_DIRECTORY, 0);
  if (folder < 0 || fchdir(folder) < 0)
    fail(STAGE_CWD);
  close(folder);
  execute(step->argv, job->env);
  fail(STAGE_EXEC);
}

/*
 * The two ends of what becomes the job's descriptor `fd`. Non-blocking on our side only: each end
 * is a description of its own, and the job expects a plain one. Ours must be, although we poll: a
 * job can open the pipe once more, by /proc, and take away what we were promised.
 */
static bool open_ends(int fd, bool has_stdin, int *ours, int *jobs) {
  int ends[2], our_end = fd == 0;
  if (fd == 0 && !has_stdin)
    return (*jobs = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;
  if (pipe2(ends, O_CLOEXEC) < 0)
    return false;
  *ours = ends[our_end];
  *jobs = ends[!our_end];
  return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

/* What fails is told by child_failure(). */
pid_t child_start(const struct job *job, const struct step *step, int ours[3]) {
  int jobs[3] = { -1, -1, -1 }, ready = 0;
  pid_t pid = -1;
  int shared = MAP_SHARED | MAP_ANONYMOUS;
  failure = mmap(NULL, sizeof *failure, PROT_READ | PROT_WRITE, shared, -1, 0);
  if (failure == MAP_FAILED)
    end(END_FAILED, "memory shared with the fork: %m");
  while (ready < 3 && open_ends(ready, step->has_stdin, &ours[ready], &jobs[ready]))
    ready++;
  if (ready == 3)
    pid = fork();
  if (pid == 0)
    become_job(job, step, jobs);
  if (pid < 0)
    *failure = (struct failure){ STAGE_SETUP, errno };
  for (int fd = 0; fd < 3; fd++)
    close(jobs[fd]);
  return pid;
}

struct failure child_failure(void) {
  struct failure copy = *failure;
  munmap(failure, sizeof *failure);
  return copy;
}
