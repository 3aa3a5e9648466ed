/* The running step's stdin: asked for by WANT, held in one buffer, written as the program reads. */
#ifndef FEED_H
#define FEED_H

#include <poll.h>

#include "frame.h"

/* fd -1: nothing will be wanted in this step. */
void feed_open(uint64_t step, int fd);
void feed_close(void);
void feed_accept(struct frame *frame);
void feed_want(void);
struct pollfd feed_poll(void);
void feed_serve(short events);

#endif
