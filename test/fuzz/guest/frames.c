/*
 * The guest's parser of frames, from the first byte to the end of a job's stdin: channel.c, job.c,
 * input.c and run.c's handler. The input is: how its bytes are cut, how many KiB of padding follow
 * (a payload may be larger than an input), then the bytes that the worker is said to send.
 */
#include "fuzz.h"

enum { KIB = 1024, PREFIX_BYTES = 2, STEP_TURNS = 8 };

void channel_anew(void);
size_t job_anew(void);
void run_anew(void);
void run_take(const struct frame *frame);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
ssize_t guest_read(int fd, void *to, size_t most);
ssize_t guest_write(int fd, const void *from, size_t length);
int guest_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask);
int guest_open(const char *path, int flags, ...);

static struct input sent;
static size_t padding, piece;

ssize_t guest_read(int fd, void *to, size_t most) {
  FUZZ_REQUIRE(fd == 0 && most > 0);
  size_t got = (size_t)least(least(most, piece), sent.left ? sent.left : padding);
  if (sent.left == 0) {
    memset(to, 'A', got);
    padding -= got;
    return (ssize_t)got;
  }
  memcpy(to, sent.bytes, got);
  sent.bytes += got;
  sent.left -= got;
  return (ssize_t)got;
}

/* Takes less than all of it now and then, as a pipe does. */
ssize_t guest_write(int fd, const void *from, size_t length) {
  static unsigned turn;
  volatile uint8_t byte;
  for (size_t i = 0; i < length; i++)
    byte = ((const uint8_t *)from)[i];
  (void)byte;
  errno = EBADF;
  if (fd < 0)
    return -1;
  return turn++ % 4 == 0 && length > 1 ? (ssize_t)(length / 2) : (ssize_t)length;
}

int guest_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask) {
  (void)timeout;
  (void)mask;
  for (nfds_t i = 0; i < count; i++)
    fds[i].revents = fds[i].fd >= 0 ? fds[i].events : 0;
  return (int)count;
}

/* tree.c has the files: here one can be written or cannot. */
int files_open(const char *path, int flags, mode_t mode) {
  (void)flags;
  (void)mode;
  errno = EINVAL;
  return path && path[0] == '/' ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
}

/* No process is ever started here, and so none becomes a job. */
void files_act_as(uid_t uid) {
  (void)uid;
}

int guest_open(const char *path, int flags, ...) {
  (void)path;
  (void)flags;
  __builtin_trap(); /* nothing of what is driven here opens anything else */
}

static size_t length_of(char *const *list, size_t *bytes) {
  size_t count = 0;
  for (; list[count]; count++)
    *bytes += strlen(list[count]);
  return count;
}

/* What main() and run.c rely on once a job was received. */
static void check(const struct job *job) {
  size_t bytes = 0, count = 0;
  FUZZ_REQUIRE(job->step_count >= 1 && job->step_count <= MAX_STEPS);
  for (size_t i = 0; i < job->step_count; i++) {
    FUZZ_REQUIRE(job->steps[i].argv[0] && job->steps[i].timeout_ms > 0);
    FUZZ_REQUIRE(job->steps[i].has_stdin <= 1);
    count += length_of(job->steps[i].argv, &bytes);
  }
  for (char **one = job->env; *one; one++)
    FUZZ_REQUIRE(strchr(*one, '=') > *one);
  count += length_of(job->env, &bytes) + length_of(job->globs, &bytes);
  FUZZ_REQUIRE(count <= MAX_TEXTS && bytes <= MAX_TEXT_BYTES);
  FUZZ_REQUIRE(job->limits.wall_ms && job->limits.cpu_ms && job->limits.cpu_milli);
  FUZZ_REQUIRE(job->limits.truncate <= TRUNCATE_BOTH);
}

/* As run.c serves a step, without the step. */
static void serve(const struct job *job) {
  struct pollfd fds[CHANNEL_FDS];
  input_open(0, -1); /* as it is before the first step */
  channel_listen(run_take);
  for (size_t i = 0; i < job->step_count && !run_killed; i++) {
    input_open(i, job->steps[i].has_stdin ? 1000 : -1);
    for (int turn = 0; turn < STEP_TURNS; turn++) {
      if (!channel_pending())
        input_want();
      channel_wait(fds, CHANNEL_FDS, NULL);
      struct pollfd stdin_now = input_poll();
      input_serve(turn == STEP_TURNS - 1 ? POLLERR : stdin_now.events);
    }
  }
  channel_listen(NULL);
  channel_receive();
}

/* The job, or how the guest ended before it had one. */
static int receive(struct job *job, const uint8_t *data, size_t size, size_t most) {
  memset(job, 0, sizeof *job);
  sent = (struct input){ data + PREFIX_BYTES, size - PREFIX_BYTES };
  padding = (size_t)data[1] * KIB;
  piece = most;
  channel_anew();
  run_anew();
  job_anew();
  int ended = setjmp(fuzz_end);
  if (ended == FUZZ_RAN_ON)
    job_receive(job);
  return ended;
}

/* In pieces of some bytes, or of some KiB. */
static size_t piece_of(uint8_t byte) {
  return byte < 128 ? (size_t)byte + 1 : (size_t)(byte - 127) * KIB;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct job job;
  if (size < PREFIX_BYTES)
    return 0;
  /* Wherever the bytes are cut, they mean the same. */
  int whole = receive(&job, data, size, SIZE_MAX);
  size_t steps = job.step_count, texts = job_anew();
  int cut = receive(&job, data, size, piece_of(data[0]));
  FUZZ_REQUIRE(cut == whole);
  if (cut != FUZZ_RAN_ON)
    return 0;
  FUZZ_REQUIRE(job.step_count == steps);
  check(&job);
  if (setjmp(fuzz_end) == FUZZ_RAN_ON)
    serve(&job);
  input_close();
  FUZZ_REQUIRE(job_anew() == texts);
  return 0;
}

/* One in two mutations stays within the payload of one frame and keeps its length true. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  size_t frames = 0, at = PREFIX_BYTES, chosen = 0, length = 0;
  for (size_t next; at + HEADER_BYTES <= size; at = next, frames++) {
    length = (size_t)data[at + 3] << 8 | data[at + 4];
    next = at + HEADER_BYTES + length;
    if (data[at + 1] || data[at + 2] || next > size)
      break;
    if (seed / 2 % (frames + 1) == 0)
      chosen = at;
  }
  if (seed % 2 || chosen == 0)
    return LLVMFuzzerMutate(data, size, max_size);
  uint8_t *payload = data + chosen + HEADER_BYTES, tail[1 << 14];
  length = (size_t)data[chosen + 3] << 8 | data[chosen + 4];
  size_t behind = size - (size_t)(payload + length - data);
  size_t room = max_size - size + length;
  if (behind > sizeof tail || room == 0 || room > UINT16_MAX)
    return LLVMFuzzerMutate(data, size, max_size);
  memcpy(tail, payload + length, behind);
  length = LLVMFuzzerMutate(payload, length, room);
  data[chosen + 3] = (uint8_t)(length >> 8);
  data[chosen + 4] = (uint8_t)length;
  memcpy(payload + length, tail, behind);
  return (size_t)(payload - data) + length + behind;
}
