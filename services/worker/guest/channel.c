#include "guest.h"

/* So much may wait for more: one chunk of each stream still has room behind it. */
enum { MAX_HELD_BYTES = 16384 };

struct buffer {
  unsigned char bytes[HEADER_BYTES + MAX_PAYLOAD_BYTES];
  size_t from, to;
};
static struct buffer in, out;
static bool held; /* what is in `out` waits for more */
static void (*handler)(const struct frame *frame);

/* A payload: so many ints, then nothing, a text (without a NUL) or bytes. */
static const struct shape {
  size_t ints;
  enum { NOTHING, TEXT, BYTES } rest;
} shapes[] = {
  [TO_LIMITS] = { MAX_INTS, NOTHING }, [TO_FILE] = { 1, TEXT }, [TO_FILE_DATA] = { 0, BYTES },
  [TO_CWD] = { 0, TEXT }, [TO_ENV] = { 0, TEXT }, [TO_STEP] = { 2, NOTHING },
  [TO_ARG] = { 0, TEXT }, [TO_COLLECT] = { 0, TEXT }, [TO_RUN] = { 0, NOTHING },
  [TO_STDIN] = { 1, BYTES }, [TO_STDIN_END] = { 1, NOTHING }, [TO_KILL] = { 1, NOTHING },
  [TO_EXIT] = { 0, NOTHING }, [TO_RESET] = { 0, NOTHING },
};

void channel_open(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || (fd < 2 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0))
      end(END_FAILED, "standard descriptors: %m");
  /* Touched now: a page first needed when the job has filled the cgroup would put us before the
   * OOM killer. */
  memset(in.bytes, 1, sizeof in.bytes);
  memset(out.bytes, 1, sizeof out.bytes);
}

/* For the next guest in this process: descriptors as they were given to us. Nothing may be on its
 * way: what we have read would be lost. */
void channel_hand_over(const struct frame *last) {
  channel_require(last, in.from == in.to, "nothing after it before HELLO");
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_SETFD, 0) < 0)
      end(END_FAILED, "standard descriptors: %m");
}

void channel_require(const struct frame *frame, bool ok, const char *expected) {
  if (!ok)
    end(END_BROKEN, "broken frame of type %u: expected %s", frame->type, expected);
}

static uint64_t big_endian(const unsigned char *at, size_t count) {
  uint64_t value = 0;
  while (count-- > 0)
    value = value << 8 | *at++;
  return value;
}

/* Strict: what does not fit exactly is a broken frame. */
static void parse(struct frame *frame, unsigned char *payload, size_t length) {
  const struct shape *shape = &shapes[frame->type];
  size_t ints = shape->ints * 8;
  channel_require(frame, length == ints || (length > ints && shape->rest != NOTHING),
                  "another length");
  for (size_t i = 0; i < shape->ints; i++) {
    frame->ints[i] = big_endian(payload + i * 8, 8);
    /* The sender's integers are exact up to here; beyond it sums of times could overflow. */
    channel_require(frame, frame->ints[i] <= (uint64_t)1 << 53, "integers up to 2^53");
  }
  /* One byte down, over what was read already: there is room for the NUL then. */
  frame->length = length - ints;
  frame->rest = memmove(payload + ints - 1, payload + ints, frame->length);
  frame->rest[frame->length] = 0;
  /* A NUL within would let two readers see two different names. */
  channel_require(frame, shape->rest != TEXT || strlen(frame->rest) == frame->length, "no NUL");
}

/* The next complete frame; no frame is longer than the buffer. */
static bool take(struct frame *frame) {
  unsigned char *at = in.bytes + in.from;
  size_t have = in.to - in.from;
  if (have < HEADER_BYTES)
    return false;
  size_t length = (size_t)big_endian(at + 1, 4);
  frame->type = at[0];
  channel_require(frame, at[0] >= TO_LIMITS && at[0] <= TO_RESET, "a known type");
  channel_require(frame, length <= MAX_PAYLOAD_BYTES, "a shorter payload");
  if (have < HEADER_BYTES + length)
    return false;
  in.from += HEADER_BYTES + length;
  parse(frame, at + HEADER_BYTES, length);
  return true;
}

/*
 * Whom frames go to that arrive while we write or run; without one they wait in the buffer. With
 * one, nothing complete is ever left there: poll() does not tell of it, and it may be a KILL.
 */
void channel_listen(void (*next)(const struct frame *frame)) {
  struct frame frame;
  handler = next;
  while (handler && take(&frame))
    handler(&frame);
}

static void read_in(void) {
  memmove(in.bytes, in.bytes + in.from, in.to - in.from);
  in.to -= in.from;
  in.from = 0;
  ssize_t got = read(0, in.bytes + in.to, sizeof in.bytes - in.to);
  if (got < 0 && errno == EAGAIN)
    return;
  if (got <= 0 && in.to > 0)
    end(END_BROKEN, "a frame cut short by the end of stdin");
  if (got <= 0)
    end(END_DONE, NULL);
  in.to += (size_t)got;
}

static void write_out(void) {
  ssize_t put = write(1, out.bytes + out.from, out.to - out.from);
  if (put < 0 && errno != EAGAIN)
    end(END_DONE, NULL);
  out.from += put > 0 ? (size_t)put : 0;
  if (out.from == out.to)
    out.from = out.to = 0;
}

bool channel_pending(void) {
  return !held && out.from < out.to;
}

/* Every write of ours is a turn for each process between here and the worker. From here on frames
 * wait for one another, until there are many or channel_release(). */
void channel_hold(void) {
  held = true;
}

void channel_release(void) {
  held = false;
  if (channel_pending())
    write_out();
}

/*
 * Every wait of the guest: for frames both ways, in the first CHANNEL_FDS of `fds`, and for the
 * caller's descriptors after them. Here alone SIGCHLD is let in; no other call is interrupted.
 */
void channel_wait(struct pollfd fds[], nfds_t count, const struct timespec *timeout) {
  static const sigset_t none;
  fds[0] = (struct pollfd){ in.to - in.from < sizeof in.bytes ? 0 : -1, POLLIN, 0 };
  fds[1] = (struct pollfd){ channel_pending() ? 1 : -1, POLLOUT, 0 };
  if (ppoll(fds, count, timeout, &none) < 0)
    for (nfds_t i = 0; i < count; i++)
      fds[i].revents = 0;
  if (fds[1].revents)
    write_out();
  if (fds[0].revents) {
    read_in();
    channel_listen(handler);
  }
}

struct frame channel_receive(void) {
  struct frame frame;
  struct pollfd fds[CHANNEL_FDS];
  while (!take(&frame))
    channel_wait(fds, CHANNEL_FDS, NULL);
  return frame;
}

/* Waits for the worker to take everything. Only with no process of the job alive. */
void channel_flush(void) {
  struct pollfd fds[CHANNEL_FDS];
  channel_release();
  while (channel_pending())
    channel_wait(fds, CHANNEL_FDS, NULL);
}

static void append(uint64_t value, size_t count) {
  while (count-- > 0)
    out.bytes[out.to++] = (unsigned char)(value >> count * 8);
}

/* Waits only if the buffer is full, and while a job runs nobody lets it be. */
void channel_send(uint8_t type, const uint64_t *ints, size_t count, const void *bytes,
                  size_t size) {
  if (sizeof out.bytes - out.to < HEADER_BYTES + count * 8 + size)
    channel_flush();
  append(type, 1);
  append(count * 8 + size, 4);
  for (size_t i = 0; i < count; i++)
    append(ints[i], 8);
  if (size > 0)
    memcpy(out.bytes + out.to, bytes, size);
  out.to += size;
  if (!held || out.to >= MAX_HELD_BYTES)
    channel_release();
}
