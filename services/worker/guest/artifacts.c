/*
 * Everything here was arranged by the job: links to files it may read and we must not send,
 * devices without an end, FIFOs that wait, names that are no text, a hundred thousand of each. No
 * process is left that could change it meanwhile; what is opened was looked at before and is looked
 * at again.
 */
#include "guest.h"

#include <dirent.h>

enum { WALK_US = 2000000, MAX_DEPTH = 64, MAX_FOUND_BYTES = 4 << 20, MAX_SKIPPED = 256 };

static struct texts found;
static char path[PATH_MAX + 1]; /* where the walk is */
static bool stopped;            /* at a bound, in the folder `path` */

static uint64_t walk_until_us, visited;
static uint64_t bytes_left, files_left, skipped_count;

static bool wanted(char *const *globs) {
  while (*globs && !glob_matches(*globs, path))
    globs++;
  return *globs != NULL;
}

/* Names and globs can be made to fit slowly, and the worker must be heard meanwhile. */
static bool walked_enough(void) {
  struct pollfd fds[CHANNEL_FDS];
  channel_wait(fds, CHANNEL_FDS, &(struct timespec){ 0, 0 });
  return run_killed || now_us() > walk_until_us;
}

/* A folder that could not be opened has nothing for us. `length` is that of its path. */
static void walk(int folder, size_t length, int depth, char *const *globs) {
  if (folder < 0)
    return;
  DIR *entries = fdopendir(folder);
  if (!entries)
    end(END_FAILED, "reading a folder: %m");
  for (struct dirent *entry; !stopped && (entry = readdir(entries));) {
    const char *name = entry->d_name;
    struct stat stat;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
      continue;
    path[length] = 0;
    size_t end = length + (length > 0) + strlen(name);
    stopped = walked_enough() || ++visited > MAX_VISITED || found.length > MAX_FOUND_BYTES || depth > MAX_DEPTH ||
              end > PATH_MAX;
    if (stopped || fstatat(folder, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    snprintf(path + length, sizeof path - length, "%s%s", length > 0 ? "/" : "", name);
    if (S_ISDIR(stat.st_mode))
      walk(files_open_beneath(folder, name, O_RDONLY | O_DIRECTORY, 0), end, depth + 1, globs);
    else if (wanted(globs))
      texts_add(&found, path, end);
  }
  closedir(entries);
}

/* The worker has to remember each: a number that a job chooses is bounded. */
static void tell_skipped(enum skipped reason, const char *name) {
  if (!utf8_valid(name))
    name = "";
  channel_send(FROM_ARTIFACT_SKIPPED, INTS(reason), name, strlen(name));
}

static void skip(enum skipped reason, const char *name) {
  if (skipped_count++ < MAX_SKIPPED)
    tell_skipped(reason, name);
}

/*
 * Bytes are counted as they are read, whatever the size was said to be. With the file's size known
 * and nobody left to change it, more than fits is never begun; should it happen all the same, the
 * worker is told to drop it.
 */
static void send_content(int fd, const char *name) {
  static char chunk[CHUNK_BYTES];
  ssize_t got;
  channel_send(FROM_ARTIFACT, NO_INTS, name, strlen(name));
  while (!run_killed && (got = read(fd, chunk, sizeof chunk)) != 0) {
    if (got < 0 || (uint64_t)got > bytes_left) {
      /* not by skip(): one that was begun is taken back however many were skipped before */
      tell_skipped(SKIPPED_TOO_LARGE, name);
      return;
    }
    bytes_left -= (uint64_t)got;
    channel_send(FROM_ARTIFACT_DATA, NO_INTS, chunk, (size_t)got);
    channel_flush();
  }
}

/* A second name can be that of a file some other was allowed to write; a job's result has one. */
static bool plain(int fd, struct stat *stat) {
  return fstat(fd, stat) == 0 && S_ISREG(stat->st_mode) && stat->st_nlink == 1;
}

/* First opened as a name only, which starts no device and waits for no writer. */
static void send_file(const char *name) {
  struct stat stat;
  int seen = utf8_valid(name) ? files_open(name, O_PATH, 0) : -1;
  bool regular = seen >= 0 && plain(seen, &stat);
  int fd = regular ? files_open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0) : -1;
  if (seen < 0 || (regular && fd < 0))
    skip(SKIPPED_UNREADABLE, name);
  else if (!regular || !plain(fd, &stat))
    skip(SKIPPED_NOT_REGULAR, name);
  else if ((uint64_t)stat.st_size > bytes_left)
    skip(SKIPPED_TOO_LARGE, name);
  else if (files_left == 0)
    skip(SKIPPED_TOO_MANY, name);
  else {
    files_left--;
    send_content(fd, name);
  }
  close(seen);
  close(fd);
}

static int by_path(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

void artifacts_send(const struct job *job) {
  bytes_left = job->limits.artifact_bytes;
  files_left = job->limits.artifact_count;
  walk_until_us = now_us() + WALK_US;
  if (*job->globs)
    walk(files_open(NULL, O_RDONLY, 0), 0, 1, job->globs);
  qsort(found.items, found.count, sizeof found.items[0], by_path);
  for (size_t i = 0; i < found.count && !run_killed; i++)
    send_file(found.items[i]);
  if (stopped)
    tell_skipped(SKIPPED_TOO_MANY, path);
}
