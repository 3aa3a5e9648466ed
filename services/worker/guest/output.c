#include "output.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel.h"
#include "end.h"

struct stream stream_open(int fd, uint8_t head_type, uint64_t cap, uint64_t truncate, uint64_t hard_bytes)
{
  uint64_t tail = truncate == TRUNCATE_HEAD ? 0 : truncate == TRUNCATE_TAIL ? cap : cap / 2;
  return (struct stream){
    .fd = fd,
    .head_type = head_type,
    .tail_type = (uint8_t)(head_type + FROM_STDOUT_TAIL - FROM_STDOUT),
    .head_left = cap - tail,
    .tail_bytes = tail,
    .hard_bytes = hard_bytes,
  };
}

/* Overwrites the oldest. The ring is reserved at its first byte and costs only the pages that were ever written. */
static void keep(struct stream *stream, const unsigned char *bytes, size_t length)
{
  if (!stream->ring) {
    stream->ring = mmap(NULL, stream->tail_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stream->ring == MAP_FAILED)
      end_failed("memory for the tail of a stream");
  }
  while (length > 0) {
    uint64_t at = stream->after_head % stream->tail_bytes;
    size_t part = length < stream->tail_bytes - at ? length : (size_t)(stream->tail_bytes - at);
    memcpy(stream->ring + at, bytes, part);
    bytes += part;
    length -= part;
    stream->after_head += part;
  }
}

/*
 * One read of the job's pipe, straight into the frame that carries it; never called with a frame pending. False when
 * there is nothing (more) to read.
 */
bool stream_pump(struct stream *stream)
{
  unsigned char *bytes = channel_payload();
  ssize_t got = read(stream->fd, bytes, CHUNK_BYTES);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return false;
  if (got <= 0) {
    close(stream->fd);
    stream->fd = -1;
    return false;
  }
  size_t length = (size_t)got;
  size_t head = length < stream->head_left ? length : (size_t)stream->head_left;
  stream->total += length;
  stream->head_left -= head;
  if (length > head && stream->tail_bytes > 0)
    keep(stream, bytes + head, length - head);
  if (head > 0) {
    channel_commit(stream->head_type, head);
    channel_write();
  }
  return true;
}

/* Sends the kept tail and gives everything back. Only with no process of the job alive: it waits for the worker. */
void stream_close(struct stream *stream)
{
  uint64_t kept = stream->after_head < stream->tail_bytes ? stream->after_head : stream->tail_bytes;
  for (uint64_t from = stream->after_head - kept; from < stream->after_head;) {
    uint64_t at = from % stream->tail_bytes;
    uint64_t part = stream->after_head - from;
    part = part < stream->tail_bytes - at ? part : stream->tail_bytes - at;
    part = part < CHUNK_BYTES ? part : CHUNK_BYTES;
    channel_send(stream->tail_type, NULL, 0, stream->ring + at, (size_t)part);
    from += part;
  }
  if (stream->ring)
    munmap(stream->ring, stream->tail_bytes);
  if (stream->fd >= 0)
    close(stream->fd);
}
