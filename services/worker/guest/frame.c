/* Strict reading of a payload: what does not fit exactly is a broken frame. */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "end.h"

uint64_t frame_int(struct frame *frame)
{
  if (frame->length < 8)
    end_broken("frame %u is too short", frame->type);
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | frame->payload[i];
  /* The sender's integers are exact up to here; beyond it sums of times could overflow. */
  if (value > (uint64_t)1 << 53)
    end_broken("frame %u has an integer out of range", frame->type);
  frame->payload += 8;
  frame->length -= 8;
  return value;
}

void frame_end(const struct frame *frame)
{
  if (frame->length != 0)
    end_broken("frame %u is too long", frame->type);
}

/* The rest of the payload as a string of its own. A NUL would let two readers see two different names. */
char *frame_text(struct frame *frame)
{
  if (memchr(frame->payload, 0, frame->length))
    end_broken("frame %u has a NUL in its text", frame->type);
  char *text = malloc(frame->length + 1);
  if (!text)
    end_failed("no memory");
  memcpy(text, frame->payload, frame->length);
  text[frame->length] = 0;
  frame->length = 0;
  return text;
}
