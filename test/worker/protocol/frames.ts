/** Frames as a guest sends them, and a place that keeps what is sent to it. */

import type { StepReport, UsageReport } from '../../../services/worker/protocol/conversation.ts';
import { createDecoder, decodeInt, type Frame } from '../../../services/worker/protocol/decoder.ts';
import {
  DONE_FIELDS,
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  HEADER_BYTES,
  PROTOCOL_VERSION,
  STEP_END_FIELDS,
} from '../../../services/worker/protocol/frame.ts';

export const frame = (type: number, ...ints: number[]): Buffer =>
  encodeFrame(type, encodeInts(...ints));

export const hello = (version: number = PROTOCOL_VERSION): Buffer =>
  frame(FROM_GUEST.HELLO, version);

export const started = (step = 0): Buffer => frame(FROM_GUEST.STARTED, step);

export const output = (text: string, type: number = FROM_GUEST.STDOUT): Buffer =>
  encodeFrame(type, Buffer.from(text));

export const stepReport = (over: Partial<StepReport> = {}): StepReport => ({
  step: 0,
  cause: 0,
  kind: 0,
  code: 0,
  stage: 0,
  stdoutTotal: 0,
  stderrTotal: 0,
  wallUs: 1000,
  cpuUs: 500,
  oomKills: 0,
  ...over,
});

export const stepEnd = (over: Partial<StepReport> = {}): Buffer => {
  const report = stepReport(over);
  return frame(FROM_GUEST.STEP_END, ...STEP_END_FIELDS.map((name) => report[name]));
};

export const usage = (over: Partial<UsageReport> = {}): UsageReport => ({
  cpuUs: 500,
  peakMemoryBytes: 4096,
  peakProcesses: 1,
  oomKills: 0,
  forksRefused: 0,
  ...over,
});

export const done = (over: Partial<UsageReport> = {}): Buffer => {
  const report = usage(over);
  return frame(FROM_GUEST.DONE, ...DONE_FIELDS.map((name) => report[name]));
};

export const want = (bytes: number): Buffer => frame(FROM_GUEST.WANT, bytes);
export const refused = (stage: number, errno: number): Buffer =>
  frame(FROM_GUEST.REFUSED, stage, errno);
export const artifact = (path: string): Buffer =>
  encodeFrame(FROM_GUEST.ARTIFACT, Buffer.from(path));
export const artifactData = (content: string | Buffer): Buffer =>
  encodeFrame(FROM_GUEST.ARTIFACT_DATA, Buffer.from(content as string));
export const artifactSkipped = (path: string, reason: number): Buffer =>
  encodeFrame(FROM_GUEST.ARTIFACT_SKIPPED, encodeInts(reason), Buffer.from(path));

/** Frames to the guest, whose types the product's decoder does not take. */
export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    const end = at + HEADER_BYTES + length;
    frames.push({ type: bytes.readUInt8(at), payload: bytes.subarray(at + HEADER_BYTES, end) });
    at = end;
  }
  return frames;
}

export const intsOf = (payload: Buffer): number[] =>
  Array.from({ length: Math.floor(payload.length / 8) }, (_, index) =>
    decodeInt(payload, index * 8),
  );

/** The guest's end of a stream: keeps every frame that is written to it. */
export class Written {
  readonly frames: Frame[] = [];
  write(bytes: Buffer): boolean {
    this.frames.push(...framesOf(bytes));
    return true;
  }
  types(): number[] {
    return this.frames.map(({ type }) => type);
  }
}

/** Everything that a decoder makes of these chunks. */
export function decodeAll(chunks: readonly Buffer[]): Frame[] {
  const frames: Frame[] = [];
  const decode = createDecoder((one) =>
    frames.push({ type: one.type, payload: Buffer.from(one.payload) }),
  );
  for (const chunk of chunks) decode(chunk);
  return frames;
}
