#include "guest.h"

#include <sys/mman.h>

struct stream stream_open(int fd, uint8_t head_type, uint64_t cap, uint64_t truncate) {
  uint64_t tail = truncate == TRUNCATE_HEAD ? 0 : truncate == TRUNCATE_TAIL ? cap : cap / 2;
  return (struct stream){
    .fd = fd,
    .head_type = head_type,
    .tail_type = (uint8_t)(head_type + FROM_STDOUT_TAIL - FROM_STDOUT),
    .head_bytes = cap - tail,
    .tail_bytes = tail,
  };
}

/* Overwrites the oldest. Reserved at its first byte; costs only the pages that are written. */
static void keep(struct stream *stream, const unsigned char *bytes, size_t length) {
  if (!stream->ring)
    stream->ring = mmap(NULL, stream->tail_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stream->ring == MAP_FAILED)
    end(END_FAILED, "memory for the tail of a stream: %m");
  for (size_t part; length > 0; bytes += part, length -= part, stream->past_head += part) {
    uint64_t at = stream->past_head % stream->tail_bytes;
    part = (size_t)least(length, stream->tail_bytes - at);
    memcpy(stream->ring + at, bytes, part);
  }
}

/* One read of the job's pipe; never with a frame pending. False when nothing (more) is there. */
bool stream_pump(struct stream *stream) {
  static unsigned char chunk[CHUNK_BYTES];
  ssize_t got = read(stream->fd, chunk, sizeof chunk);
  if (got < 0 && errno == EAGAIN)
    return false;
  if (got <= 0) {
    close(stream->fd);
    stream->fd = -1;
    return false;
  }
  size_t length = (size_t)got;
  uint64_t head_left = stream->head_bytes - least(stream->total, stream->head_bytes);
  size_t head = (size_t)least(length, head_left);
  stream->total += length;
  if (head > 0)
    channel_send(stream->head_type, NO_INTS, chunk, head);
  if (length > head && stream->tail_bytes > 0)
    keep(stream, chunk + head, length - head);
  return true;
}

/* Sends the kept tail and gives all back. Only with no process of the job alive: it waits. */
void stream_close(struct stream *stream) {
  uint64_t from = stream->past_head - least(stream->past_head, stream->tail_bytes);
  for (uint64_t part; from < stream->past_head; from += part) {
    uint64_t at = from % stream->tail_bytes;
    part = least(least(stream->past_head - from, stream->tail_bytes - at), CHUNK_BYTES);
    channel_send(stream->tail_type, NO_INTS, stream->ring + at, (size_t)part);
  }
  if (stream->ring)
    munmap(stream->ring, stream->tail_bytes);
  if (stream->fd >= 0)
    close(stream->fd);
}
