/*
 * Everything here was arranged by the job: links to files it may read and we must not send, devices without an end,
 * FIFOs that wait, names that are no text, a hundred thousand of each. No process is left that could change it
 * meanwhile; what is opened was looked at before and is looked at again.
 */
#include "artifacts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "end.h"
#include "files.h"
#include "glob.h"
#include "run.h"

enum { MAX_DEPTH = 64, MAX_VISITED = 100000, MAX_FOUND_BYTES = 4 << 20, MAX_SKIPPED = 256 };

static struct {
  const struct texts *globs;
  char path[PATH_MAX + 1];
  struct texts found;
  size_t found_bytes, visited;
  bool stopped; /* at a bound, in the folder `path` */
} walk;

static struct {
  uint64_t bytes_left, files_left;
  unsigned skipped;
} budget;

static bool wanted(const char *path)
{
  for (size_t i = 0; i < walk.globs->count; i++)
    if (glob_matches(walk.globs->items[i], path))
      return true;
  return false;
}

static void remember(const char *path)
{
  struct texts *found = &walk.found;
  if (found->count == found->room) {
    found->room = found->room ? found->room * 2 : 64;
    found->items = realloc(found->items, found->room * sizeof *found->items);
  }
  if (!found->items || !(found->items[found->count++] = strdup(path)))
    end_failed("no memory");
  walk.found_bytes += strlen(path);
}

static void walk_folder(int folder, size_t length, int depth);

/* walk.path is the entry's, `name` its end. */
static void walk_entry(int folder, const char *name, size_t length, int depth)
{
  struct stat stat;
  if (fstatat(folder, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
    return;
  if (!S_ISDIR(stat.st_mode)) {
    if (wanted(walk.path))
      remember(walk.path);
    return;
  }
  int inner = files_open_beneath(folder, name, O_RDONLY | O_DIRECTORY, 0);
  if (inner >= 0)
    walk_folder(inner, length, depth + 1);
}

static void walk_folder(int folder, size_t length, int depth)
{
  DIR *entries = fdopendir(folder);
  if (!entries)
    end_failed("reading a folder");
  struct dirent *entry;
  while (!walk.stopped && (entry = readdir(entries))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    size_t name = strlen(entry->d_name), slash = length > 0;
    walk.stopped = ++walk.visited > MAX_VISITED || walk.found_bytes > MAX_FOUND_BYTES || depth > MAX_DEPTH ||
                   length + slash + name > PATH_MAX;
    if (walk.stopped)
      break;
    memcpy(walk.path + length, "/", slash);
    memcpy(walk.path + length + slash, entry->d_name, name + 1);
    walk_entry(folder, entry->d_name, length + slash + name, depth);
    if (!walk.stopped)
      walk.path[length] = 0;
  }
  closedir(entries);
}

/* The worker has to remember each: a number that a job chooses is bounded. */
static void skip(enum skipped reason, const char *path)
{
  if (budget.skipped++ < MAX_SKIPPED)
    channel_send(FROM_ARTIFACT_SKIPPED, INTS(reason), path, strlen(path));
}

/*
 * Bytes are counted as they are read, whatever the size was said to be. With the file's size known and nobody left to
 * change it, more than fits is never begun; should it happen all the same, the worker is told to drop it.
 */
static void send_content(int fd, const char *path)
{
  channel_send(FROM_ARTIFACT, NULL, 0, path, strlen(path));
  for (;;) {
    channel_flush();
    ssize_t got = run_was_killed() ? 0 : read(fd, channel_payload(), CHUNK_BYTES);
    if (got == 0)
      return;
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 || (uint64_t)got > budget.bytes_left) {
      skip(SKIPPED_TOO_LARGE, path);
      return;
    }
    budget.bytes_left -= (uint64_t)got;
    channel_commit(FROM_ARTIFACT_DATA, (size_t)got);
  }
}

/* A second name can belong to a file that another one was allowed to write; a job's own result has one. */
static bool plain(const struct stat *stat)
{
  return S_ISREG(stat->st_mode) && stat->st_nlink == 1;
}

static void send_file(const char *path)
{
  struct stat stat;
  int fd = -1;
  char name[NAME_MAX + 1];
  int folder = files_open_parent(path, name);
  if (!utf8_valid(path) || folder < 0 || fstatat(folder, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
    skip(SKIPPED_UNREADABLE, utf8_valid(path) ? path : "");
  else if (!plain(&stat))
    skip(SKIPPED_NOT_REGULAR, path);
  else if ((fd = files_open_beneath(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)) < 0)
    skip(SKIPPED_UNREADABLE, path);
  else if (fstat(fd, &stat) < 0 || !plain(&stat))
    skip(SKIPPED_NOT_REGULAR, path);
  else if ((uint64_t)stat.st_size > budget.bytes_left)
    skip(SKIPPED_TOO_LARGE, path);
  else if (budget.files_left == 0)
    skip(SKIPPED_TOO_MANY, path);
  else {
    budget.files_left--;
    send_content(fd, path);
  }
  if (fd >= 0)
    close(fd);
  if (folder >= 0)
    close(folder);
}

static int by_path(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

void artifacts_send(const struct job *job)
{
  int folder = job->globs.count > 0 ? files_open_work(O_RDONLY) : -1;
  if (folder < 0)
    return;
  walk.globs = &job->globs;
  budget.bytes_left = job->limits.artifact_bytes;
  budget.files_left = job->limits.artifact_count;
  walk_folder(folder, 0, 1);
  if (walk.found.count > 0)
    qsort(walk.found.items, walk.found.count, sizeof *walk.found.items, by_path);
  for (size_t i = 0; i < walk.found.count && !run_was_killed(); i++)
    send_file(walk.found.items[i]);
  if (walk.stopped)
    skip(SKIPPED_TOO_MANY, utf8_valid(walk.path) ? walk.path : "");
}
