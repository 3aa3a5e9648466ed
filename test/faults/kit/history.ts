/**
 * What clients asked and what they were told, in the manner of Jepsen: every call is an `invoke`, later followed by one
 * of `ok` (it took effect), `fail` (it did not) or `unknown` (it may have: a lost connection, a timeout, a 5xx).
 * verdict.ts judges it. Written as NDJSON while it happens, so that it is there however the run ends.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { JobResult } from '../../../shared/contract/result.ts';

export type Operation = 'submit' | 'submit_batch' | 'get' | 'cancel' | 'cancel_batch';

interface Call {
  /** Which call; `invoke` and what follows it have the same. */
  readonly call: number;
  /** Since the beginning of the history. */
  readonly atMs: number;
}

export interface Invoke extends Call {
  readonly kind: 'invoke';
  readonly operation: Operation;
  /** What the programs of the jobs that it submits print: one for each job. */
  readonly nonces: readonly string[];
  readonly idempotencyKey: string | null;
  /** The job or batch that it is about, where that has an id already. */
  readonly id: string | null;
}

/** What an answer said of one job. */
export interface Seen {
  readonly id: string;
  readonly state: JobResult['state'];
  /** The whole result as it was sent, once there is one. */
  readonly text: string | null;
}

export interface Ok extends Call {
  readonly kind: 'ok';
  readonly status: number;
  /** The id that it answered: of the job, or of the batch. */
  readonly id: string;
  readonly seen: Seen | null;
}

export interface Fail extends Call {
  readonly kind: 'fail';
  readonly status: number;
  readonly code: string;
}

export interface Unknown extends Call {
  readonly kind: 'unknown';
  readonly why: string;
}

/** What was done to the system, for whoever reads the history. */
export interface Fault {
  readonly kind: 'fault';
  readonly atMs: number;
  readonly what: string;
}

export type Entry = Invoke | Ok | Fail | Unknown | Fault;

type Asked = Pick<Invoke, 'operation'> & Partial<Pick<Invoke, 'nonces' | 'idempotencyKey' | 'id'>>;
/** How a call ended; undefined stands for a call whose end is not known. */
export type Ended = Omit<Ok, 'call' | 'atMs'> | Omit<Fail, 'call' | 'atMs'>;

export interface History {
  readonly entries: readonly Entry[];
  /** Makes a call and notes how it ended; undefined where that is unknown. */
  record(asked: Asked, call: () => Promise<Ended>): Promise<Ended | undefined>;
  fault(what: string): void;
  close(): void;
}

/** Thrown by a call whose effect is unknown although an answer came. */
export class UnknownEffectError extends Error {
  override readonly name = 'UnknownEffectError';
}

export function createHistory(file?: string): History {
  const entries: Entry[] = [];
  const beganAt = performance.now();
  const descriptor = file === undefined ? undefined : openSync(file, 'w');
  const now = (): number => Math.round(performance.now() - beganAt);
  let calls = 0;

  const note = (entry: Entry): void => {
    entries.push(entry);
    if (descriptor !== undefined) writeSync(descriptor, `${JSON.stringify(entry)}\n`);
  };

  return {
    entries,
    async record(asked, make) {
      const call = ++calls;
      note({
        kind: 'invoke',
        call,
        atMs: now(),
        nonces: [],
        idempotencyKey: null,
        id: null,
        ...asked,
      });
      try {
        const ended = await make();
        note({ ...ended, call, atMs: now() });
        return ended;
      } catch (error) {
        note({ kind: 'unknown', call, atMs: now(), why: reasonOf(error) });
        return undefined;
      }
    },
    fault: (what) => note({ kind: 'fault', atMs: now(), what }),
    close: () => {
      if (descriptor !== undefined) closeSync(descriptor);
    },
  };
}

/** Of a failed fetch only the cause says anything. */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
};
