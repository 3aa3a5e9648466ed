/*
 * The worker may have been asked for room() bytes it has not sent, and as many are always free: what arrives fits.
 * A program that closes its stdin, or never reads it, is nobody's error; what is on its way then is dropped.
 */
#include "feed.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "end.h"

static struct {
  unsigned char bytes[CHUNK_BYTES];
  size_t from, to, wanted;
  uint64_t step;
  int fd;
  bool ended;
} feed = { .fd = -1 };

void feed_open(uint64_t step, int fd)
{
  feed.from = feed.to = feed.wanted = 0;
  feed.step = step;
  feed.fd = fd;
  feed.ended = false;
}

void feed_close(void)
{
  if (feed.fd >= 0)
    close(feed.fd);
  feed.fd = -1;
}

static void close_when_empty(void)
{
  if (feed.ended && feed.from == feed.to)
    feed_close();
}

/* STDIN or STDIN_END. They name their step because one for the step before can still be on its way. */
void feed_accept(struct frame *frame)
{
  uint64_t step = frame_int(frame);
  if (step < feed.step)
    return;
  if (step > feed.step || feed.ended || frame->length > feed.wanted)
    end_broken("stdin that was not asked for");
  if (frame->type == TO_STDIN_END) {
    frame_end(frame);
    feed.ended = true;
  }
  feed.wanted -= frame->length;
  if (feed.fd < 0)
    return;
  memmove(feed.bytes, feed.bytes + feed.from, feed.to - feed.from);
  feed.to -= feed.from;
  feed.from = 0;
  memcpy(feed.bytes + feed.to, frame->payload, frame->length);
  feed.to += frame->length;
  close_when_empty();
}

/* Asks in halves of the buffer, so that the next bytes travel while these are read. */
void feed_want(void)
{
  size_t held = feed.to - feed.from;
  size_t room = sizeof feed.bytes - held - feed.wanted;
  if (feed.fd < 0 || feed.ended || room == 0 || (held > 0 && room < sizeof feed.bytes / 2))
    return;
  feed.wanted += room;
  channel_send(FROM_WANT, INTS(room), NULL, 0);
}

/* Without bytes to write it still waits for POLLERR: nobody will ever read. */
struct pollfd feed_poll(void)
{
  return (struct pollfd){ feed.fd, feed.from < feed.to ? POLLOUT : 0, 0 };
}

void feed_serve(short events)
{
  if (events == 0)
    return;
  ssize_t put = events & POLLERR ? -1 : write(feed.fd, feed.bytes + feed.from, feed.to - feed.from);
  if (put > 0)
    feed.from += (size_t)put;
  if (events & POLLERR || (put < 0 && errno != EAGAIN && errno != EINTR))
    feed_close();
  close_when_empty();
}
