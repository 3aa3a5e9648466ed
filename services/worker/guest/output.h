/* One stream of a step: what is kept of it, and how much there was. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>

#include "frame.h"

struct stream {
  int fd; /* our end of the job's pipe; -1 after its end of file */
  uint8_t head_type, tail_type;
  uint64_t head_left;           /* of the kept first bytes, how many are still to come */
  uint64_t tail_bytes;          /* of the last bytes, how many are kept */
  uint64_t hard_bytes;          /* a total above this ends the step */
  uint64_t total, after_head;
  unsigned char *ring;
};

struct stream stream_open(int fd, uint8_t head_type, uint64_t cap, uint64_t truncate, uint64_t hard_bytes);
bool stream_pump(struct stream *stream);
void stream_close(struct stream *stream);

#endif
