/* Frames over our own stdin and stdout, through one bounded buffer each way. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stdbool.h>

#include "frame.h"

/* What to do with frames that arrive while we write or run; without one, stdin is not read meanwhile. */
typedef void frame_handler(struct frame *frame);

void channel_open(void);
struct frame channel_receive(void);
void channel_listen(frame_handler *handler);
void channel_serve(void);

bool channel_pending(void);
void channel_send(uint8_t type, const uint64_t *ints, size_t count, const void *bytes, size_t length);
unsigned char *channel_payload(void);
void channel_commit(uint8_t type, size_t length);
void channel_write(void);
void channel_flush(void);

#define INTS(...) (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8

#endif
