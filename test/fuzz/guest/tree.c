/*
 * The file layer over a folder that the input arranged as a job could: files.c opens hostile paths
 * in it, artifacts.c sends what it finds. Beside the folder is one that nothing may reach. The input
 * is a list of entries to make, then paths to open or patterns to collect, a line each.
 */
#include "fuzz.h"

#include <ftw.h>
#include <stdarg.h>

enum { MOST_ENTRIES = 24, MOST_LINES = 8, LINE_BYTES = 600 };
#define SECRET "what-is-outside"

void artifacts_anew(void);
ssize_t guest_read(int fd, void *to, size_t most);
ssize_t guest_write(int fd, const void *from, size_t length);
int guest_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask);
int guest_open(const char *path, int flags, ...);

static char root[64], work[80], secret[80];
static const char *const names[] = { "a", "b", "c", ".d", "..e", "\xc3\xa9", "\xff", "f g" };
static const char *const targets[] = { "..", "../outside", "../outside/secret", "/", "/etc/passwd",
                                       ".", "a", "a/b", "../work/a", "/dev/zero", "/proc/self/fd" };
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* What the guest told of artifacts. */
bool run_killed, run_reset;
static uint64_t told_bytes, told_files, told_skipped, now, waits, kill_at;
static bool is_open;

uint64_t now_us(void) {
  return now += 10;
}

ssize_t guest_read(int fd, void *to, size_t most) {
  return read(fd, to, most);
}

ssize_t guest_write(int fd, const void *from, size_t length) {
  return write(fd, from, length);
}

int guest_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask) {
  return ppoll(fds, count, timeout, mask);
}

/* No path of the guest's in here begins anywhere else. */
int guest_open(const char *path, int flags, ...) {
  FUZZ_REQUIRE(strcmp(path, "/work") == 0 && !(flags & O_CREAT) && flags & O_NOFOLLOW);
  return open(work, flags);
}

void channel_wait(struct pollfd fds[], nfds_t count, const struct timespec *timeout) {
  FUZZ_REQUIRE(fds && count == CHANNEL_FDS && timeout);
  run_killed = run_killed || ++waits == kill_at;
}

void channel_flush(void) {
}

/* What else job.c, whose list of texts the walk uses, would call: it is sent nothing. */
struct frame channel_receive(void) {
  __builtin_trap();
}

void channel_require(const struct frame *frame, bool ok, const char *expected) {
  (void)expected;
  FUZZ_REQUIRE(frame && ok);
}

static void check_name(const char *name, size_t length) {
  FUZZ_REQUIRE(strlen(name) == length && length <= PATH_MAX && utf8_valid(name));
  FUZZ_REQUIRE(name[0] != '/' && strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0);
}

void channel_send(uint8_t type, const uint64_t *ints, size_t count, const void *bytes,
                  size_t size) {
  switch (type) {
  case FROM_ARTIFACT:
    check_name(bytes, size);
    told_files++;
    is_open = true;
    break;
  case FROM_ARTIFACT_DATA:
    FUZZ_REQUIRE(is_open && count == 0 && size > 0 && size <= CHUNK_BYTES);
    FUZZ_REQUIRE(!memmem(bytes, size, SECRET, strlen(SECRET)));
    told_bytes += size;
    break;
  case FROM_ARTIFACT_SKIPPED:
    FUZZ_REQUIRE(count == 1 && ints[0] <= SKIPPED_TOO_MANY);
    check_name(bytes, size);
    is_open = false;
    told_skipped++;
    break;
  default: FUZZ_REQUIRE(!"a frame of another kind");
  }
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *at) {
  (void)stat;
  (void)kind;
  return at->level == 0 ? 0 : remove(path);
}

static void remove_all(void) {
  if (root[0])
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  rmdir(root);
}

static void make_root(void) {
  snprintf(root, sizeof root, "/dev/shm/fuzz-tree-%d", getpid());
  snprintf(work, sizeof work, "%s/work", root);
  snprintf(secret, sizeof secret, "%s/outside/secret", root);
  char outside[80];
  snprintf(outside, sizeof outside, "%s/outside", root);
  if (mkdir(root, 0755) < 0 || mkdir(outside, 0755) < 0)
    abort();
  int fd = open(secret, O_WRONLY | O_CREAT, 0644);
  if (fd < 0 || write(fd, SECRET, strlen(SECRET)) < 0)
    abort();
  close(fd);
  umask(0);
  atexit(remove_all);
}

/* One byte for what it is, one for its name and folder: as many levels as there were folders. */
static void arrange(struct input *input) {
  char folders[MOST_ENTRIES + 1][256] = { "" };
  size_t known = 1;
  strcpy(folders[0], work);
  for (size_t entries = input_byte(input) % MOST_ENTRIES; entries > 0; entries--) {
    uint8_t kind = input_byte(input), place = input_byte(input);
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folders[place / COUNT(names) % known],
             names[place % COUNT(names)]);
    int fd = -1;
    switch (kind % 8) {
    case 0:
    case 1:
      if (mkdir(path, 0755) == 0 && strlen(path) < sizeof folders[0])
        strcpy(folders[known++], path);
      break;
    case 2:
    case 3:
      fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
      if (fd >= 0 && ftruncate(fd, kind) < 0)
        abort();
      break;
    case 4: (void)!symlink(targets[kind / 8 % COUNT(targets)], path); break;
    case 5: (void)!link(secret, path); break;
    case 6: mkfifo(path, 0644); break;
    default: mknod(path, S_IFSOCK | 0644, 0); break;
    }
    if (fd >= 0)
      close(fd);
  }
}

static void check_open(int fd) {
  char link[64], at[PATH_MAX] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, at, sizeof at - 1);
  FUZZ_REQUIRE(length > 0 && strncmp(at, work, strlen(work)) == 0);
  FUZZ_REQUIRE(at[strlen(work)] == '/' || at[strlen(work)] == 0);
}

static void lay_out(char *lines[]) {
  for (size_t i = 0; lines[i]; i++) {
    int flags = i % 2 ? O_PATH | O_DIRECTORY | O_CREAT : O_WRONLY | O_CREAT | O_EXCL;
    int fd = files_open(lines[i], flags, 0644);
    if (fd < 0)
      continue;
    check_open(fd);
    if (i % 2 == 0)
      FUZZ_REQUIRE(write(fd, "laid out", 8) == 8);
    close(fd);
  }
}

static void collect(struct input *input, char *lines[]) {
  struct job job = { .globs = lines };
  job.limits.artifact_bytes = (uint64_t)input_byte(input) * 2;
  job.limits.artifact_count = input_byte(input) % 8;
  artifacts_anew();
  told_bytes = told_files = told_skipped = waits = 0;
  is_open = run_killed = false;
  artifacts_send(&job);
  FUZZ_REQUIRE(told_bytes <= job.limits.artifact_bytes);
  FUZZ_REQUIRE(told_files <= job.limits.artifact_count);
  FUZZ_REQUIRE(run_killed || told_skipped <= MOST_ENTRIES * 2);
}

static void check_outside(void) {
  struct stat stat_now;
  char content[64];
  int fd = open(secret, O_RDONLY);
  FUZZ_REQUIRE(fd >= 0 && fstat(fd, &stat_now) == 0);
  FUZZ_REQUIRE(read(fd, content, sizeof content) == (ssize_t)strlen(SECRET));
  FUZZ_REQUIRE(memcmp(content, SECRET, strlen(SECRET)) == 0);
  close(fd);
}

static int none_outside(const char *path, const struct stat *stat, int kind, struct FTW *at) {
  (void)stat;
  (void)kind;
  FUZZ_REQUIRE(at->level < 2 || strncmp(path, work, strlen(work)) == 0 || strcmp(path, secret) == 0);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input input = { data, size };
  char text[MOST_LINES][LINE_BYTES], *lines[MOST_LINES + 1] = { NULL };
  if (!root[0])
    make_root();
  if (mkdir(work, 0700) < 0)
    abort();
  uint8_t what = input_byte(&input);
  now = what & 0x40 ? 1999000 : 0; /* the walk's time is nearly up */
  kill_at = what & 0x80 ? what & 0x0f : 0;
  arrange(&input);
  struct input bounds = { input.bytes, input.left < 2 ? input.left : 2 };
  input.bytes += bounds.left;
  input.left -= bounds.left;
  for (size_t i = 0; i < MOST_LINES && input.left > 0; i++) {
    const uint8_t *end = memchr(input.bytes, '\n', input.left);
    size_t length = end ? (size_t)(end - input.bytes) : input.left;
    snprintf(text[i], sizeof text[i], "%.*s", (int)length, (const char *)input.bytes);
    lines[i] = text[i];
    input.bytes += length + (end != NULL);
    input.left -= length + (end != NULL);
  }
  if (setjmp(fuzz_end) == FUZZ_RAN_ON) {
    if (what & 1)
      lay_out(lines);
    collect(&bounds, lines);
  }
  check_outside();
  nftw(root, none_outside, 16, FTW_PHYS);
  nftw(work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  rmdir(work);
  return 0;
}
