/*
 * The folders that a job can write in, made as the sandbox began with them. What is in them was
 * arranged by the job, so nothing recurses, no path is built and no link is followed: a folder that
 * is not empty hands its own folders up to the top, is then empty, and goes. Every entry is met
 * once, or twice if it is a folder; and all of it with the rights of the job (files_act_as) and no
 * process of it alive.
 */
#include "guest.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

/* As create-body.ts mounts them: file systems of their own, the first one the job's. */
static const char *const places[] = { "/work", "/tmp", "/dev/shm" };
enum { PLACES = sizeof places / sizeof places[0], WORK_MODE = 0700 };
enum { EMPTYING_US = 3000000, LIST_BYTES = 65536 /* the kernel has no longer one */ };

/* From linux/fs.h, which comes with the kernel's headers and not with every C library. */
#define GET_FLAGS _IOR('f', 1, long)
#define SET_FLAGS _IOW('f', 2, long)

static uint64_t empty_until_us;

static _Noreturn void give_up(const char *what) {
  end(END_FAILED, "%s what the job left: %m", what);
}

static const char *next_name(DIR *entries) {
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(entries);
    if (!entry && errno)
      give_up("reading");
    if (now_us() > empty_until_us)
      end(END_FAILED, "removing what the job left takes too long");
    if (!entry || (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0))
      return entry ? entry->d_name : NULL;
  }
}

/* False for a folder that is not empty. */
static bool removed(int folder, const char *name) {
  bool gone = unlinkat(folder, name, 0) == 0 ||
              (errno == EISDIR && unlinkat(folder, name, AT_REMOVEDIR) == 0);
  if (!gone && errno != ENOTEMPTY)
    give_up("removing");
  return gone;
}

/* The job may have closed it to itself. It is no link: removed() has just found a folder there. */
static void unlock(int folder, const char *name) {
  if (fchmodat(folder, name, WORK_MODE, 0) < 0)
    give_up("unlocking");
}

/* To any name that is free there, or that of an empty folder. */
static void move_up(int folder, const char *name, int top) {
  static uint64_t number;
  char new_name[32];
  unlock(folder, name); /* to move a folder is to write into it, where its parent is noted */
  int moved;
  do {
    snprintf(new_name, sizeof new_name, "%" PRIu64, number++);
    moved = renameat(folder, name, top, new_name);
  } while (moved < 0 && (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR));
  if (moved < 0)
    give_up("moving");
}

static void lift_folders(int top, const char *name) {
  unlock(top, name);
  int folder = files_open_beneath(top, name, O_RDONLY | O_DIRECTORY, 0);
  DIR *entries = folder < 0 ? NULL : fdopendir(folder);
  if (!entries)
    give_up("opening");
  for (const char *entry; (entry = next_name(entries));)
    if (!removed(folder, entry))
      move_up(folder, entry, top);
  closedir(entries);
}

static void empty(int top) {
  DIR *entries = fdopendir(fcntl(top, F_DUPFD_CLOEXEC, 0));
  if (!entries)
    give_up("reading");
  for (bool more = true; more; rewinddir(entries)) {
    more = false;
    for (const char *name; (name = next_name(entries)); more = true)
      while (!removed(top, name))
        lift_folders(top, name);
  }
  closedir(entries);
}

/* An inode in use beside the root's is a file with a name, one that somebody still holds without,
 * or the room that extended attributes took. Without a limit there is no count, and no proof. */
static bool is_empty(int place) {
  struct statvfs all;
  return fstatvfs(place, &all) == 0 && all.f_files > 0 && all.f_files - all.f_ffree == 1;
}

/* Access lists are extended attributes too. Those of the kernel's own modules no job can set. */
static void remove_attributes(int place) {
  static char names[LIST_BYTES];
  ssize_t length = flistxattr(place, names, sizeof names);
  if (length < 0 && errno != ENOTSUP)
    give_up("listing");
  for (const char *name = names; name < names + length; name += strlen(name) + 1)
    if (strncmp(name, "security.", 9) != 0 && fremovexattr(place, name) < 0)
      give_up("clearing");
}

/* Not every file system has flags; where they cannot be read, they cannot be set. */
static void clear_flags(int place) {
  int flags = 0;
  if (ioctl(place, GET_FLAGS, &flags) < 0 || flags == 0)
    return;
  flags = 0;
  if (ioctl(place, SET_FLAGS, &flags) < 0)
    give_up("clearing");
}

static int open_place(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    end(END_FAILED, "opening %s: %m", path);
  return fd;
}

/* Runc gives a mount the mode that the folder beneath it has in the image. */
void places_close(void) {
  if (chmod(places[0], WORK_MODE) < 0)
    end(END_FAILED, "%s must be a folder of the job: %m", places[0]);
}

/* What its owner can change of a folder, which in the others is not the job. */
static void restore_work(uid_t uid) {
  struct stat stat;
  places_close(); /* also opens it for us */
  int work = open_place(places[0]);
  remove_attributes(work);
  clear_flags(work);
  if (fstat(work, &stat) < 0 || stat.st_mode != (S_IFDIR | WORK_MODE) || stat.st_uid != uid ||
      stat.st_gid != uid)
    end(END_FAILED, "/work is not as it was");
  close(work);
}

void places_empty(uid_t uid) {
  empty_until_us = now_us() + EMPTYING_US;
  restore_work(uid);
  for (int i = 0; i < PLACES; i++) {
    int place = open_place(places[i]);
    if (!is_empty(place))
      empty(place);
    if (futimens(place, NULL) < 0) /* times can be set to say something */
      give_up("dating");
    close(place);
  }
}

bool places_are_empty(void) {
  int count = 0;
  for (int i = 0; i < PLACES; i++) {
    int place = open_place(places[i]);
    count += is_empty(place);
    close(place);
  }
  return count == PLACES;
}
