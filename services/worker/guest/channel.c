#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "end.h"

static struct {
  unsigned char bytes[HEADER_BYTES + MAX_PAYLOAD_BYTES];
  size_t from, to;
} in;

static struct {
  unsigned char bytes[HEADER_BYTES + CHUNK_BYTES];
  size_t from, to;
} out;

static frame_handler *handler;

void channel_open(void)
{
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
      end_failed("standard descriptors");
  if (fcntl(0, F_SETFL, O_NONBLOCK) < 0 || fcntl(1, F_SETFL, O_NONBLOCK) < 0)
    end_failed("standard descriptors");
  /* Touched now: a page first needed when the job has filled the cgroup would put us before the OOM killer. */
  memset(in.bytes, 1, sizeof in.bytes);
  memset(out.bytes, 1, sizeof out.bytes);
}

/* Reads what is there. No frame is longer than the buffer, and complete ones are taken out before: there is room. */
static void fill(void)
{
  memmove(in.bytes, in.bytes + in.from, in.to - in.from);
  in.to -= in.from;
  in.from = 0;
  ssize_t got = read(0, in.bytes + in.to, sizeof in.bytes - in.to);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got <= 0 && in.to > 0)
    end_broken("cut short by the end of stdin");
  if (got <= 0)
    end_quietly();
  in.to += (size_t)got;
}

/* The next complete frame; its payload stays in place until the next fill(). */
static bool take(struct frame *frame)
{
  const unsigned char *at = in.bytes + in.from;
  size_t have = in.to - in.from;
  if (have < HEADER_BYTES)
    return false;
  size_t length = (size_t)at[1] << 24 | (size_t)at[2] << 16 | (size_t)at[3] << 8 | at[4];
  if (at[0] < TO_LIMITS || at[0] > TO_EXIT)
    end_broken("unknown type %u", at[0]);
  if (length > MAX_PAYLOAD_BYTES)
    end_broken("frame %u of %zu bytes", at[0], length);
  if (have < HEADER_BYTES + length)
    return false;
  *frame = (struct frame){ at[0], at + HEADER_BYTES, length };
  in.from += HEADER_BYTES + length;
  return true;
}

struct frame channel_receive(void)
{
  struct frame frame;
  while (!take(&frame)) {
    struct pollfd input = { 0, POLLIN, 0 };
    if (poll(&input, 1, -1) > 0)
      fill();
  }
  return frame;
}

/* Nothing complete is ever left in the buffer: poll() tells of bytes in the pipe only, and a KILL would lie there. */
static void handle_received(void)
{
  struct frame frame;
  while (take(&frame))
    handler(&frame);
}

void channel_listen(frame_handler *next)
{
  handler = next;
  handle_received();
}

void channel_serve(void)
{
  fill();
  handle_received();
}

bool channel_pending(void)
{
  return out.from < out.to;
}

static void append_header(uint8_t type, size_t length)
{
  const unsigned char header[HEADER_BYTES] = {
    type, (unsigned char)(length >> 24), (unsigned char)(length >> 16), (unsigned char)(length >> 8),
    (unsigned char)length,
  };
  memcpy(out.bytes + out.to, header, sizeof header);
  out.to += sizeof header;
}

/* `count` ints, then `length` bytes. Waits only if the buffer is full, and while a job runs nobody lets it be. */
void channel_send(uint8_t type, const uint64_t *ints, size_t count, const void *bytes, size_t length)
{
  if (sizeof out.bytes - out.to < HEADER_BYTES + count * 8 + length)
    channel_flush();
  append_header(type, count * 8 + length);
  for (size_t i = 0; i < count; i++)
    for (int shift = 56; shift >= 0; shift -= 8)
      out.bytes[out.to++] = (unsigned char)(ints[i] >> shift);
  if (length > 0)
    memcpy(out.bytes + out.to, bytes, length);
  out.to += length;
}

/* Room for CHUNK_BYTES of payload, to read into; only while nothing is pending. */
unsigned char *channel_payload(void)
{
  out.from = out.to = 0;
  return out.bytes + HEADER_BYTES;
}

void channel_commit(uint8_t type, size_t length)
{
  append_header(type, length);
  out.to += length;
}

void channel_write(void)
{
  ssize_t put = write(1, out.bytes + out.from, out.to - out.from);
  if (put < 0 && errno != EAGAIN && errno != EINTR)
    end_quietly();
  if (put > 0)
    out.from += (size_t)put;
  if (out.from == out.to)
    out.from = out.to = 0;
}

/* Waits for the worker to take everything. Only with no process of the job alive; stdin is still listened to. */
void channel_flush(void)
{
  while (channel_pending()) {
    struct pollfd fds[] = { { handler ? 0 : -1, POLLIN, 0 }, { 1, POLLOUT, 0 } };
    if (poll(fds, 2, -1) < 0)
      continue;
    if (fds[0].revents)
      channel_serve();
    if (fds[1].revents)
      channel_write();
  }
}
