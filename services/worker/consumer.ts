/**
 * The worker's end of the queue. One job at a time and slot: begin it, run it, settle it; when the platform fails it,
 * start it a second time or hand it back. A program's failure is a result; nothing is thrown for it.
 */
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Outcome } from '../../shared/contract/result.ts';
import { jobSpec } from '../../shared/contract/spec.ts';
import type { Log } from '../../shared/log.ts';
import { type Begun, beginJob, handBackJob } from '../../shared/queue/begin.ts';
import { endWithoutRun } from '../../shared/queue/end-without-run.ts';
import { readRecord } from '../../shared/queue/job-record.ts';
import {
  LOCK_MS,
  MAX_STALLED,
  MAX_STARTS,
  QUEUE_NAME,
  QUEUE_PREFIX,
  STALLED_CHECK_MS,
} from '../../shared/queue/options.ts';
import { settleJob } from '../../shared/queue/settle.ts';
import { createDeadline, type Deadline } from './deadline.ts';
import { type Leases, type Run, runJob } from './run-job.ts';
import { SandboxUnavailableError } from './sandbox/sandbox.ts';
import { settle } from './settle.ts';

/** A job for which no sandbox could be made so often is given up. */
const MAX_HAND_BACKS = 8;
const HAND_BACK_FIRST_MS = 500;
const HAND_BACK_MAX_MS = 15_000;
/** What the queue's client gets to close once no job runs. */
const CLOSE_MS = 3_000;

export interface ConsumerOptions {
  readonly redis: Redis;
  readonly worker: string;
  readonly slots: number;
  readonly drainMs: number;
  readonly streamBytes: number;
  readonly leases: Leases;
  readonly log: Log;
  readonly onDone: (outcome: Outcome) => void;
}

export interface Consumer {
  /** The ids of the jobs that run here. */
  runningIds(): string[];
  cancel(id: string, by: 'caller' | 'operator'): void;
  /** Takes nothing new, waits for what runs until the drain is over, then ends it. */
  stop(): Promise<void>;
}

type Started = Extract<Begun, { kind: 'started' }>;

export function createConsumer(options: ConsumerOptions): Consumer {
  const { redis, worker, leases, log } = options;
  const running = new Map<string, Deadline>();

  const process = async (job: Job, token?: string): Promise<void> => {
    const id = job.id as string;
    for (;;) {
      const begun = await beginJob(redis, { id, nowMs: Date.now(), worker });
      if (begun.kind === 'not_wanted') return;
      if (begun.kind === 'expired') return giveUp(id, begun.record, { kind: 'expired' });
      if (begun.kind === 'exhausted') {
        return giveUp(id, begun.record, { kind: 'lost', cause: 'worker_lost' });
      }
      const next = await start(id, begun);
      if (next.kind === 'ended') return;
      if (next.kind === 'hand_back') {
        await job.moveToDelayed(Date.now() + next.afterMs, token);
        throw new DelayedError();
      }
    }
  };

  type Next = { kind: 'ended' } | { kind: 'again' } | { kind: 'hand_back'; afterMs: number };

  const start = async (id: string, begun: Started): Promise<Next> => {
    const jobLog = log.child({ job: id, start: begun.start });
    const spec = parseSpec(begun.spec);
    if (spec === undefined) {
      jobLog.error('the spec in the record cannot be read');
      await giveUp(id, begun.record, { kind: 'lost', cause: 'spec_unreadable' }, begun.start);
      return { kind: 'ended' };
    }
    if (spec.onLost === 'fail' && begun.start > 1) {
      await giveUp(id, begun.record, { kind: 'lost', cause: 'worker_lost' }, begun.start);
      return { kind: 'ended' };
    }
    const { cancelledBy } = begun.record;
    if (cancelledBy !== undefined) {
      await giveUp(id, begun.record, { kind: 'cancelled', by: cancelledBy }, begun.start);
      return { kind: 'ended' };
    }
    const deadline = createDeadline();
    running.set(id, deadline);
    try {
      const run = await runJob(spec, { leases, deadline, streamBytes: options.streamBytes });
      try {
        return await conclude(id, begun, { spec, run, deadline, log: jobLog });
      } finally {
        leases.retire(run.sandbox);
      }
    } catch (error) {
      if (!(error instanceof SandboxUnavailableError)) throw error;
      return await postpone(id, begun, error, jobLog);
    } finally {
      deadline.clear();
      running.delete(id);
    }
  };

  const conclude = async (
    id: string,
    begun: Started,
    ended: {
      spec: NonNullable<ReturnType<typeof parseSpec>>;
      run: Run;
      deadline: Deadline;
      log: Log;
    },
  ): Promise<Next> => {
    const { run, spec, deadline } = ended;
    const { outcome, execution } = run;
    if (outcome.kind === 'lost') {
      ended.log.warn({ cause: outcome.cause, err: execution.error }, 'the platform lost a run');
      if (deadline.cause?.kind === 'lock_lost') return { kind: 'ended' };
      if (spec.onLost === 'retry' && begun.start < MAX_STARTS) {
        await handBackJob(redis, { id, start: begun.start, ran: 'yes' });
        return deadline.cause?.kind === 'draining'
          ? { kind: 'hand_back', afterMs: 0 }
          : { kind: 'again' };
      }
    }
    const settled = await settle(redis, {
      id,
      record: begun.record,
      start: begun.start,
      spec,
      imageDigest: run.sandbox.imageDigest,
      worker,
      execution,
      outcome,
      finishedAtMs: Date.now(),
    });
    if (settled === 'settled') options.onDone(outcome);
    ended.log.info(
      { outcome: outcome.kind, settled, sandbox: run.sandbox.id.slice(0, 12) },
      'job ended',
    );
    return { kind: 'ended' };
  };

  /** No sandbox for it: back into the queue, or given up after many tries. */
  const postpone = async (id: string, begun: Started, error: Error, jobLog: Log): Promise<Next> => {
    const tries = begun.record.handedBack + 1;
    jobLog.warn({ err: error, tries }, 'no sandbox for a job');
    if (tries >= MAX_HAND_BACKS) {
      await giveUp(id, begun.record, { kind: 'lost', cause: 'sandbox_unavailable' }, begun.start);
      return { kind: 'ended' };
    }
    await handBackJob(redis, { id, start: begun.start, ran: 'no' });
    const pauseMs = Math.min(HAND_BACK_FIRST_MS * 2 ** (tries - 1), HAND_BACK_MAX_MS);
    return { kind: 'hand_back', afterMs: pauseMs * (0.5 + Math.random() / 2) };
  };

  /** Settles a job of which nothing was run here. */
  const giveUp = async (
    id: string,
    record: Started['record'],
    outcome: Outcome,
    start: number | null = null,
  ): Promise<void> => {
    const finishedAtMs = Date.now();
    const settled = await settleJob(redis, {
      id,
      start,
      from: record.state,
      result: JSON.stringify(endWithoutRun({ id, record, outcome, finishedAtMs })),
      outcome,
      finishedAtMs,
      retainMs: record.retainMs,
    });
    if (settled === 'settled') options.onDone(outcome);
    log.warn({ job: id, outcome, settled }, 'job ended without a run');
  };

  // Three parameters: only then does the library hand over its signal, which tells of a lost lock.
  const queue = new Worker(QUEUE_NAME, (job, token, _signal) => process(job, token), {
    connection: redis,
    prefix: QUEUE_PREFIX,
    concurrency: options.slots,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    maxStalledCount: MAX_STALLED,
  });
  queue.on('error', (error) => log.warn({ err: error }, 'queue'));
  queue.on('lockRenewalFailed', (ids) => {
    for (const id of ids) running.get(id)?.end({ kind: 'lock_lost' });
  });
  queue.on('failed', (job, error) => {
    // Its workers died under it so often that the queue gave it up.
    if (job?.id === undefined) return;
    log.error({ job: job.id, err: error }, 'the queue gave a job up');
    void settleAbandoned(job.id).catch((cause: unknown) =>
      log.error({ err: cause }, 'not settled'),
    );
  });

  const settleAbandoned = async (id: string): Promise<void> => {
    const record = await readRecord(redis, id);
    if (record === undefined || record.state === 'done') return;
    await giveUp(id, record, { kind: 'lost', cause: 'worker_lost' });
  };

  return {
    runningIds: () => [...running.keys()],
    cancel: (id, by) => running.get(id)?.end({ kind: 'cancelled', by }),
    async stop() {
      const overdue = setTimeout(() => {
        for (const deadline of running.values()) deadline.end({ kind: 'draining' });
      }, options.drainMs);
      const closed = queue.close();
      const late = new Promise<void>((resolve) =>
        setTimeout(resolve, options.drainMs + CLOSE_MS).unref(),
      );
      await Promise.race([closed, late]);
      clearTimeout(overdue);
    },
  };
}

/** Nothing that comes out of a queue is trusted, ours included. */
function parseSpec(text: string) {
  try {
    return jobSpec.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
