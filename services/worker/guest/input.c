/*
 * The worker may have been asked for `wanted` bytes it has not sent, and as many are always free:
 * what arrives fits. A program that closes its stdin, or never reads it, is nobody's error; what is
 * on its way then is dropped.
 */
#include "guest.h"

static struct {
  char bytes[CHUNK_BYTES];
  size_t from, to, wanted;
  uint64_t step;
  int fd; /* -1: nothing is wanted (any more) in this step */
  bool ended;
} input = { .fd = -1 };

void input_open(uint64_t step, int fd) {
  input.from = input.to = input.wanted = 0;
  input.step = step;
  input.fd = fd;
  input.ended = false;
}

void input_close(void) {
  if (input.fd >= 0)
    close(input.fd);
  input.fd = -1;
}

static void close_when_empty(void) {
  if (input.ended && input.from == input.to)
    input_close();
}

/* STDIN or STDIN_END. They name their step: one for the step before can still be on its way. */
void input_accept(const struct frame *frame) {
  uint64_t step = frame->ints[0];
  if (step < input.step)
    return;
  channel_require(frame, step == input.step && !input.ended && frame->length <= input.wanted,
                  "no stdin that was not asked for");
  input.ended = frame->type == TO_STDIN_END;
  input.wanted -= frame->length;
  if (input.fd < 0)
    return;
  memmove(input.bytes, input.bytes + input.from, input.to - input.from);
  input.to -= input.from;
  input.from = 0;
  memcpy(input.bytes + input.to, frame->rest, frame->length);
  input.to += frame->length;
  close_when_empty();
}

/* Asks in halves of the buffer, so that the next bytes travel while these are read. */
void input_want(void) {
  size_t held = input.to - input.from;
  size_t room = sizeof input.bytes - held - input.wanted;
  if (input.fd < 0 || input.ended || room == 0 || (held > 0 && room < sizeof input.bytes / 2))
    return;
  input.wanted += room;
  channel_send(FROM_WANT, INTS(room), NO_BYTES);
}

/* Without bytes to write it still waits for POLLERR: nobody will ever read. */
struct pollfd input_poll(void) {
  return (struct pollfd){ input.fd, input.from < input.to ? POLLOUT : 0, 0 };
}

void input_serve(short events) {
  if (events == 0 || input.fd < 0)
    return;
  ssize_t put = write(input.fd, input.bytes + input.from, input.to - input.from);
  if (put > 0)
    input.from += (size_t)put;
  if (events & POLLERR || (put < 0 && errno != EAGAIN))
    input_close();
  close_when_empty();
}
