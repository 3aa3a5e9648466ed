/*
 * The folder belongs to the job, so a name in it can be anything: a link to outside, a link planted by an earlier
 * step, a FIFO that waits for a writer for ever. Each component is opened from the descriptor of the one before,
 * without following, with the rights of the job and not ours.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "end.h"

/* From linux/openat2.h, which comes with the kernel's headers and not with every C library. */
struct how {
  uint64_t flags, mode, resolve;
};
enum { RESOLVE_NO_XDEV = 1, RESOLVE_NO_SYMLINKS = 4, RESOLVE_BENEATH = 8 };

/*
 * For the guest's whole life: setfsuid also takes CAP_DAC_OVERRIDE and its like from the effective set, so that no
 * path of ours, not even a wrong one, is opened with more rights than the job has.
 */
void files_act_as(uid_t uid)
{
  setfsgid(uid);
  setfsuid(uid);
  /* Both calls report nothing; asking with an impossible id returns the present one. */
  if ((uid_t)setfsgid((gid_t)-1) != uid || (uid_t)setfsuid((uid_t)-1) != uid) {
    errno = EPERM;
    end_failed("setfsuid");
  }
}

int files_open_work(int flags)
{
  return open(WORK, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* `name` is one component. */
int files_open_beneath(int folder, const char *name, int flags, mode_t mode)
{
  struct how how = {
    (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC), mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
  };
  int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
  /* Kernels before 5.6 and old seccomp profiles; for a single component O_NOFOLLOW says the same about links. */
  if (fd < 0 && (errno == ENOSYS || errno == EPERM))
    fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
  return fd;
}

/* The first component of *path, copied to `name`; *path moves behind it and its slash. False: refused, with errno. */
static bool next_component(const char **path, char name[NAME_MAX + 1])
{
  size_t length = strcspn(*path, "/");
  if (length > NAME_MAX) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(name, *path, length);
  name[length] = 0;
  *path += length;
  if (**path == '/' && *++*path == 0)
    length = 0; /* a slash at the end */
  errno = EINVAL;
  return length > 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Opens the folder that holds the last component of `path`, and copies that to `name`. */
static int open_parent(const char *path, char name[NAME_MAX + 1], bool create)
{
  int folder = files_open_work(O_PATH);
  while (folder >= 0) {
    int next = -1;
    if (next_component(&path, name)) {
      if (*path == 0)
        return folder;
      if (!create || mkdirat(folder, name, 0755) == 0 || errno == EEXIST)
        next = files_open_beneath(folder, name, O_PATH | O_DIRECTORY, 0);
    }
    int error = errno;
    close(folder);
    errno = error;
    folder = next;
  }
  return -1;
}

int files_open_parent(const char *path, char name[NAME_MAX + 1])
{
  return open_parent(path, name, false);
}

static int current = -1; /* the file being laid out */

int files_create(const char *path, bool executable)
{
  char name[NAME_MAX + 1];
  int folder = open_parent(path, name, true);
  if (folder < 0)
    return -1;
  current = files_open_beneath(folder, name, O_WRONLY | O_CREAT | O_EXCL, executable ? 0755 : 0644);
  int error = errno;
  close(folder);
  errno = error;
  return current;
}

int files_append(const void *bytes, size_t length)
{
  const char *at = bytes;
  while (length > 0) {
    ssize_t put = write(current, at, length);
    if (put < 0 && errno != EINTR)
      return -1;
    at += put > 0 ? put : 0;
    length -= put > 0 ? (size_t)put : 0;
  }
  return 0;
}

void files_close(void)
{
  if (current >= 0)
    close(current);
  current = -1;
}

static int open_folder(const char *path, bool create)
{
  char name[NAME_MAX + 1];
  int folder = open_parent(path, name, create);
  if (folder < 0)
    return -1;
  int found = -1;
  if (!create || mkdirat(folder, name, 0755) == 0 || errno == EEXIST)
    found = files_open_beneath(folder, name, O_PATH | O_DIRECTORY, 0);
  int error = errno;
  close(folder);
  errno = error;
  return found;
}

int files_create_folder(const char *path)
{
  int folder = open_folder(path, true);
  return folder < 0 ? -1 : close(folder);
}

int files_open_folder(const char *path)
{
  return path ? open_folder(path, false) : files_open_work(O_PATH);
}
