/**
 * The frames between worker and guest: numbers and layout. `../guest/README.md` describes the protocol byte by byte;
 * `../guest/frame.h` holds the same numbers for the guest, and a test compares all three.
 */

export const PROTOCOL_VERSION = 2;
export const HEADER_BYTES = 5;
export const MAX_PAYLOAD_BYTES = 131_072;
/** What one frame of file content or stdin carries at most. */
export const CHUNK_BYTES = 65_536;

export const TO_GUEST = {
  LIMITS: 1,
  FILE: 2,
  FILE_DATA: 3,
  CWD: 4,
  ENV: 5,
  STEP: 6,
  ARG: 7,
  COLLECT: 8,
  RUN: 9,
  STDIN: 10,
  STDIN_END: 11,
  KILL: 12,
  EXIT: 13,
  RESET: 14,
} as const;

export const FROM_GUEST = {
  HELLO: 65,
  STARTED: 66,
  STDOUT: 67,
  STDERR: 68,
  STDOUT_TAIL: 69,
  STDERR_TAIL: 70,
  WANT: 71,
  STEP_END: 72,
  ARTIFACT: 73,
  ARTIFACT_DATA: 74,
  ARTIFACT_SKIPPED: 75,
  REFUSED: 76,
  DONE: 77,
} as const;

export const CAUSE = { NONE: 0, WALL: 1, CPU: 2, OUTPUT: 3, CANCELLED: 4, ABORTED: 5 } as const;
export const KIND = { EXITED: 0, SIGNALED: 1, COULD_NOT_START: 2 } as const;
export const STAGE = { NONE: 0, SETUP: 1, FILES: 2, CWD: 3, EXEC: 4 } as const;
export const SKIPPED = { NOT_REGULAR: 0, UNREADABLE: 1, TOO_LARGE: 2, TOO_MANY: 3 } as const;
export const TRUNCATE = { head: 0, tail: 1, both: 2 } as const;

/** The order of the integers in a LIMITS frame. */
export const LIMITS_FIELDS = [
  'wallMs',
  'cpuMs',
  'cpuMilli',
  'openFiles',
  'processes',
  'fileBytes',
  'stdoutBytes',
  'stderrBytes',
  'streamBytes',
  'truncate',
  'artifactBytes',
  'artifactCount',
  'lifeMs',
] as const;

/** The order of the integers in a STEP_END frame. */
export const STEP_END_FIELDS = [
  'step',
  'cause',
  'kind',
  'code',
  'stage',
  'stdoutTotal',
  'stderrTotal',
  'wallUs',
  'cpuUs',
  'oomKills',
] as const;

/** The order of the integers in a DONE frame. */
export const DONE_FIELDS = [
  'cpuUs',
  'peakMemoryBytes',
  'peakProcesses',
  'oomKills',
  'forksRefused',
] as const;

/** A frame from its parts; the parts are copied once. */
export function encodeFrame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > MAX_PAYLOAD_BYTES) {
    throw new RangeError(`frame ${type}: payload of ${length} bytes, at most ${MAX_PAYLOAD_BYTES}`);
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
  frame.writeUInt8(type, 0);
  frame.writeUInt32BE(length, 1);
  let at = HEADER_BYTES;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** Unsigned 64-bit big-endian integers, as every payload carries them. */
export function encodeInts(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(values.length * 8);
  for (const [index, value] of values.entries()) bytes.writeBigUInt64BE(BigInt(value), index * 8);
  return bytes;
}
