/*
 * A fork of ours is privileged until setresuid() and holds our descriptors until execve(). Nothing of the job runs
 * beside it then, and it reads nothing of the job's but the strings of the frames. The order in become_job() is the
 * argument; do not reorder it without reading every line.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"

enum { FAILURE_FD = 3, MANY_FDS = 4096 };

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static int failure_fd;

static _Noreturn void fail(enum stage stage)
{
  struct failure failure = { stage, errno };
  ssize_t put = write(failure_fd, &failure, sizeof failure);
  _exit(put == sizeof failure ? 127 : 126);
}

static void setup(int result)
{
  if (result < 0)
    fail(STAGE_SETUP);
}

/* Both limits, so that the job cannot raise its own again; never above what the container was given. */
static int limit(int resource, uint64_t most)
{
  struct rlimit limit;
  if (getrlimit(resource, &limit) < 0)
    return -1;
  limit.rlim_max = most < limit.rlim_max ? most : limit.rlim_max;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(resource, &limit);
}

static int limit_resources(const struct limits *limits)
{
  if (limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_FSIZE, limits->file_bytes) < 0 ||
      limit(RLIMIT_NOFILE, limits->open_files) < 0)
    return -1;
  return limit(RLIMIT_NPROC, limits->processes); /* counted per uid: right only because each sandbox has its own */
}

/* When the cgroup is full the kernel shall take the job and never its only witness. */
static int volunteer_for_oom(void)
{
  setfsuid(0); /* our /proc entry is root's alone, since we are not dumpable */
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "1000", 4) != 4)
    return -1;
  return close(fd);
}

/* An ignored signal stays ignored over execve: the job would meet a world in which writing never raises SIGPIPE. */
static void reset_signals(void)
{
  struct sigaction action = { .sa_handler = SIG_DFL };
  sigset_t none;
  for (int number = 1; number < NSIG; number++)
    sigaction(number, &action, NULL); /* fails for KILL, STOP and the library's own: they need none */
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * A descriptor of ours in the job would be a way to forge frames; one the container runtime forgot could be a folder
 * of the host. Ours are close-on-exec already, which is not a reason to rely on it.
 */
static int wire_descriptors(const int fds[3])
{
  for (int fd = 0; fd < 3; fd++)
    if (dup2(fds[fd], fd) < 0)
      return -1;
  if (failure_fd != FAILURE_FD && dup3(failure_fd, FAILURE_FD, O_CLOEXEC) < 0)
    return -1;
  failure_fd = FAILURE_FD;
  if (syscall(SYS_close_range, FAILURE_FD + 1, ~0U, 0) < 0) /* before Linux 5.9: one by one */
    for (int fd = FAILURE_FD + 1; fd < MANY_FDS; fd++)
      close(fd);
  return 0;
}

/* Groups first: without its uid 0 the process could not give them up any more. All three ids, so that no saved one is
 * left to return to; with them go the effective and permitted capabilities. */
static int drop_privileges(uid_t uid)
{
  if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
    return -1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* no setuid file gives anything back */
}

/* As the job: a folder that an earlier step closed to itself or replaced by a link is that job's own trouble. */
static int enter(const char *cwd)
{
  int folder = files_open_folder(cwd);
  if (folder < 0 || fchdir(folder) < 0)
    return -1;
  return close(folder);
}

static const char *search_path(char *const env[])
{
  for (; *env; env++)
    if (strncmp(*env, "PATH=", 5) == 0)
      return *env + 5;
  return DEFAULT_PATH;
}

/* As execvp, over the job's own PATH, but a file without a known format is an error and not a shell script. */
static void execute(char *const argv[], char *const env[])
{
  if (strchr(argv[0], '/')) {
    execve(argv[0], argv, env);
    return;
  }
  int answer = ENOENT;
  const char *folder = search_path(env);
  for (bool more = argv[0][0] != 0; more; folder++) {
    char program[PATH_MAX];
    int length = (int)strcspn(folder, ":");
    int put = snprintf(program, sizeof program, "%.*s%s%s", length, folder, length ? "/" : "./", argv[0]);
    if (put >= 0 && put < PATH_MAX) {
      execve(program, argv, env);
      if (errno == EACCES)
        answer = EACCES;
      else if (errno != ENOENT && errno != ENOTDIR)
        return;
    }
    folder += length;
    more = *folder == ':';
  }
  errno = answer;
}

static _Noreturn void become_job(const struct job *job, const struct step *step, const int fds[3])
{
  setup(setsid()); /* no terminal, and no signal to a group of ours */
  setup(limit_resources(&job->limits));
  setup(volunteer_for_oom());
  reset_signals();
  setup(wire_descriptors(fds));
  umask(022);
  setup(drop_privileges(job->uid));
  if (enter(job->cwd) < 0)
    fail(STAGE_CWD);
  execute(job->args.items + step->first_arg, job->env.items);
  fail(STAGE_EXEC);
}

/* Non-blocking on our side only: each end of a pipe is a description of its own, and the job expects a plain one. */
static int open_pipe(int fds[2], int ours)
{
  return pipe2(fds, O_CLOEXEC) < 0 ? -1 : fcntl(fds[ours], F_SETFL, O_NONBLOCK);
}

static void close_all(const int *fds, int count)
{
  for (int i = 0; i < count; i++)
    if (fds[i] >= 0)
      close(fds[i]);
}

/* Returns -1 with errno and everything closed. */
int child_start(struct child *child, const struct job *job, const struct step *step)
{
  enum { READ, WRITE };
  int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, failure[2] = { -1, -1 };
  int ready = step->has_stdin ? open_pipe(in, WRITE) : (in[READ] = open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (ready >= 0 && open_pipe(out, READ) >= 0 && open_pipe(err, READ) >= 0 && open_pipe(failure, READ) >= 0)
    child->pid = fork();
  else
    child->pid = -1;
  if (child->pid == 0) {
    failure_fd = failure[WRITE];
    become_job(job, step, (const int[]){ in[READ], out[WRITE], err[WRITE] });
  }
  int error = errno;
  close_all((const int[]){ in[READ], out[WRITE], err[WRITE], failure[WRITE] }, 4);
  if (child->pid < 0)
    close_all((const int[]){ in[WRITE], out[READ], err[READ], failure[READ] }, 4);
  child->in = in[WRITE];
  child->out = out[READ];
  child->err = err[READ];
  child->failure = failure[READ];
  errno = error;
  return child->pid < 0 ? -1 : 0;
}

/* After the process is gone: what it said of a set-up that failed, all zero when the program was executed. */
struct failure child_failure(const struct child *child)
{
  struct failure failure = { 0 };
  if (read(child->failure, &failure, sizeof failure) != sizeof failure)
    failure = (struct failure){ 0 };
  close(child->failure);
  return failure;
}
