/*
 * The folder belongs to the job, so a name in it can be anything: a link to outside, a link planted
 * by an earlier step, a FIFO that waits for a writer for ever. Each component is opened from the
 * descriptor of the one before, without following, with the rights of the job and not ours.
 */
#include "guest.h"

#include <sys/fsuid.h>
#include <sys/syscall.h>

/* From linux/openat2.h, which comes with the kernel's headers and not with every C library. */
struct how {
  uint64_t flags, mode, resolve;
};
enum { RESOLVE_NO_XDEV = 1, RESOLVE_NO_SYMLINKS = 4, RESOLVE_BENEATH = 8 };

/*
 * For the guest's whole life: setfsuid also takes CAP_DAC_OVERRIDE and its like from the effective
 * set, so that no path of ours, not even a wrong one, is opened with more rights than the job has.
 * A kernel without it (gVisor) gives the effective uid the same meaning; the real and the saved one
 * stay root's, so that the job may no more signal or read us than before.
 */
void files_act_as(uid_t uid) {
  setfsgid(uid);
  setfsuid(uid);
  /* Both calls report nothing; asking with an impossible id returns the present one. */
  if ((uid_t)setfsgid((gid_t)-1) == uid && (uid_t)setfsuid((uid_t)-1) == uid)
    return;
  if (setegid(uid) < 0 || seteuid(uid) < 0)
    end(END_FAILED, "becoming the job for files: %m");
}

/* `name` is one component. */
int files_open_beneath(int folder, const char *name, int flags, mode_t mode) {
  flags |= O_NOFOLLOW | O_CLOEXEC;
  struct how how = { (uint64_t)flags, mode,
                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
  int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
  /* Kernels before 5.6 and old seccomp profiles; for one component O_NOFOLLOW says the same. */
  if (fd < 0 && (errno == ENOSYS || errno == EPERM))
    fd = openat(folder, name, flags, mode);
  return fd;
}

static int open_component(int folder, const char *path, size_t length, int flags, mode_t mode) {
  char name[NAME_MAX + 1];
  errno = length > NAME_MAX ? ENAMETOOLONG : EINVAL;
  if (length == 0 || length > NAME_MAX)
    return -1;
  memcpy(name, path, length);
  name[length] = 0;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return -1;
  if (flags & O_CREAT && flags & O_DIRECTORY) {
    if (mkdirat(folder, name, 0755) < 0 && errno != EEXIST)
      return -1;
    flags &= ~O_CREAT;
    mode = 0; /* without O_CREAT there is none */
  }
  return files_open_beneath(folder, name, flags, mode);
}

/* As open(), beneath /work; O_CREAT also creates folders. Without a path, /work itself. */
int files_open(const char *path, int flags, mode_t mode) {
  int fd = open("/work", (path ? O_PATH : flags) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  for (bool more = path != NULL; more && fd >= 0;) {
    int folder = fd;
    size_t length = strcspn(path, "/");
    more = path[length] == '/';
    fd = open_component(folder, path, length,
                        more ? O_PATH | O_DIRECTORY | (flags & O_CREAT) : flags, mode);
    int error = errno;
    close(folder);
    errno = error;
    path += length + 1;
  }
  return fd;
}
