/** What a guest tells of a job, read to its end. */
import { expect } from 'vitest';
import {
  DONE_FIELDS,
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  STEP_END_FIELDS,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import type { Guest } from './harness.ts';
import type { Ints, Job } from './job.ts';

export type StepEnd = Ints<(typeof STEP_END_FIELDS)[number]>;
export type Report = {
  readonly started: number[];
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly stdoutTail: Buffer;
  readonly stderrTail: Buffer;
  readonly steps: StepEnd[];
  readonly artifacts: Map<string, Buffer>;
  readonly skipped: { reason: number; path: string }[];
  readonly refused: { stage: number; errno: number } | undefined;
  readonly done: Ints<(typeof DONE_FIELDS)[number]>;
  readonly wanted: number;
};

export function ints<Field extends string>(fields: readonly Field[], payload: Buffer): Ints<Field> {
  expect(payload.length).toBe(fields.length * 8);
  const entries = fields.map((field, i) => [field, Number(payload.readBigUInt64BE(i * 8))]);
  return Object.fromEntries(entries) as Ints<Field>;
}

/** Reads a whole job's frames up to DONE, feeding stdin as it is asked for. */
export async function collect(guest: Guest, job: Job): Promise<Report> {
  const streams = new Map<number, Buffer[]>();
  const artifacts = new Map<string, Buffer[]>();
  const report = {
    started: [] as number[],
    steps: [] as StepEnd[],
    skipped: [] as Report['skipped'],
  };
  let refused: Report['refused'];
  let artifact: Buffer[] = [];
  let step = 0;
  let sent = 0;
  let wanted = 0;
  for (;;) {
    const frame = await guest.next();
    if (!frame) throw new Error(`the guest ended with ${await guest.exited}; ${guest.stderr}`);
    const { type, payload } = frame;
    if (type >= FROM_GUEST.STDOUT && type <= FROM_GUEST.STDERR_TAIL) {
      const chunks = streams.get(type) ?? [];
      chunks.push(payload);
      streams.set(type, chunks);
    } else if (type === FROM_GUEST.STARTED) {
      step = ints(['step'], payload).step;
      report.started.push(step);
      sent = 0;
    } else if (type === FROM_GUEST.WANT) {
      const { bytes } = ints(['bytes'], payload);
      wanted += bytes;
      const chunk = (job.steps?.[step]?.stdin ?? Buffer.alloc(0)).subarray(sent, sent + bytes);
      sent += chunk.length;
      guest.send(
        chunk.length > 0
          ? encodeFrame(TO_GUEST.STDIN, encodeInts(step), chunk)
          : encodeFrame(TO_GUEST.STDIN_END, encodeInts(step)),
      );
    } else if (type === FROM_GUEST.STEP_END) {
      report.steps.push(ints(STEP_END_FIELDS, payload));
    } else if (type === FROM_GUEST.ARTIFACT) {
      artifact = [];
      artifacts.set(payload.toString(), artifact);
    } else if (type === FROM_GUEST.ARTIFACT_DATA) {
      artifact.push(payload);
    } else if (type === FROM_GUEST.ARTIFACT_SKIPPED) {
      const reason = Number(payload.readBigUInt64BE(0));
      report.skipped.push({ reason, path: payload.subarray(8).toString() });
    } else if (type === FROM_GUEST.REFUSED) {
      refused = ints(['stage', 'errno'], payload);
    } else {
      expect(type).toBe(FROM_GUEST.DONE);
      const stream = (of: number) => Buffer.concat(streams.get(of) ?? []);
      return {
        ...report,
        wanted,
        refused,
        stdout: stream(FROM_GUEST.STDOUT),
        stderr: stream(FROM_GUEST.STDERR),
        stdoutTail: stream(FROM_GUEST.STDOUT_TAIL),
        stderrTail: stream(FROM_GUEST.STDERR_TAIL),
        artifacts: new Map([...artifacts].map(([path, data]) => [path, Buffer.concat(data)])),
        done: ints(DONE_FIELDS, payload),
      };
    }
  }
}

/** The end of a job's only, or last, step. */
export function lastStep(report: Report): StepEnd {
  const step = report.steps.at(-1);
  if (!step) throw new Error('no step ended');
  return step;
}
