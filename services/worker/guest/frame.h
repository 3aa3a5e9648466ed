/*
 * The numbers of the protocol. README.md describes them and ../protocol/frame.ts repeats them; a test compares all
 * three.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stddef.h>
#include <stdint.h>

enum { PROTOCOL_VERSION = 1, HEADER_BYTES = 5, MAX_PAYLOAD_BYTES = 131072, CHUNK_BYTES = 65536 };

enum to_guest {
  TO_LIMITS = 1,
  TO_FILE = 2,
  TO_FILE_DATA = 3,
  TO_CWD = 4,
  TO_ENV = 5,
  TO_STEP = 6,
  TO_ARG = 7,
  TO_COLLECT = 8,
  TO_RUN = 9,
  TO_STDIN = 10,
  TO_STDIN_END = 11,
  TO_KILL = 12,
  TO_EXIT = 13,
};

enum from_guest {
  FROM_HELLO = 65,
  FROM_STARTED = 66,
  FROM_STDOUT = 67,
  FROM_STDERR = 68,
  FROM_STDOUT_TAIL = 69,
  FROM_STDERR_TAIL = 70,
  FROM_WANT = 71,
  FROM_STEP_END = 72,
  FROM_ARTIFACT = 73,
  FROM_ARTIFACT_DATA = 74,
  FROM_ARTIFACT_SKIPPED = 75,
  FROM_REFUSED = 76,
  FROM_DONE = 77,
};

enum cause {
  CAUSE_NONE = 0,
  CAUSE_WALL = 1,
  CAUSE_CPU = 2,
  CAUSE_OUTPUT = 3,
  CAUSE_CANCELLED = 4,
  CAUSE_ABORTED = 5,
};

enum kind { KIND_EXITED = 0, KIND_SIGNALED = 1, KIND_COULD_NOT_START = 2 };
enum stage { STAGE_NONE = 0, STAGE_SETUP = 1, STAGE_FILES = 2, STAGE_CWD = 3, STAGE_EXEC = 4 };
enum truncate { TRUNCATE_HEAD = 0, TRUNCATE_TAIL = 1, TRUNCATE_BOTH = 2 };

enum skipped {
  SKIPPED_NOT_REGULAR = 0,
  SKIPPED_UNREADABLE = 1,
  SKIPPED_TOO_LARGE = 2,
  SKIPPED_TOO_MANY = 3,
};

/* A frame as it lies in the buffer; reading its payload moves `payload` on and makes `length` less. */
struct frame {
  uint8_t type;
  const unsigned char *payload;
  size_t length;
};

uint64_t frame_int(struct frame *frame);
void frame_end(const struct frame *frame);
char *frame_text(struct frame *frame);

#endif
