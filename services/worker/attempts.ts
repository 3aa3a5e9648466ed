/**
 * The starts of a job on this worker: begin, run, conclude. When the platform fails a start, there is a second one, or
 * the job is handed back. A program's failure is a result like any other.
 */
import type { Redis } from 'ioredis';
import { type Outcome, verdictOf } from '../../shared/contract/result.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import type { Log } from '../../shared/log.ts';
import { milestone } from '../../shared/milestones.ts';
import { type Begun, beginJob, type Held } from '../../shared/queue/begin.ts';
import { keepsOrder } from '../../shared/queue/connection.ts';
import { type Entrance, leaveToSweep } from '../../shared/queue/entrance.ts';
import { type JobRecord, readRecord } from '../../shared/queue/job-record.ts';
import { MAX_STARTS } from '../../shared/queue/options.ts';
import type { Settled, SettledAs } from '../../shared/queue/settle.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';
import type { SharedClock } from '../../shared/queue/shared-clock.ts';
import type { Runtime } from '../../shared/runtimes.ts';
import { steadyNowMs } from '../../shared/steady-clock.ts';
import { type BlobCache, BlobUnusableError } from './blob-cache.ts';
import { createDeadline, type Deadline, type EndCause } from './deadline.ts';
import type { IsGenuine } from './genuine.ts';
import {
  ENDED,
  handBack,
  isBeforeRun,
  MAX_HAND_BACKS,
  type Next,
  pauseAfterLossMs,
  pauseForAnotherMs,
  pauseWithoutSandboxMs,
} from './hand-back.ts';
import type { LiveOutputs } from './live.ts';
import { mayBeReused } from './outcome.ts';
import { permit } from './permit.ts';
import { type Leases, type Run, runJob } from './run-job.ts';
import { settle } from './settle.ts';

export interface AttemptsOptions {
  readonly redis: Redis;
  readonly worker: string;
  readonly clock: Pick<SharedClock, 'nowMs'>;
  readonly streamBytes: number;
  readonly leases: Leases;
  /** Whether a canary proved it here. */
  readonly offers: (runtime: Runtime) => boolean;
  readonly blobs: BlobCache;
  /** Puts into the queue what a settlement let in. */
  readonly release: Entrance['release'];
  readonly log: Log;
  readonly live: LiveOutputs;
  readonly isGenuine: IsGenuine;
  readonly onDone: (outcome: Outcome) => void;
}

type Started = Extract<Begun, { kind: 'started' }>;

export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #running = new Map<string, Deadline>();
  readonly #settling = new Set<Promise<void>>();

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  /** The ids of the jobs that run here. */
  runningIds(): string[] {
    return [...this.#running.keys()];
  }

  /** Ends a job that runs here, if it does. */
  end(id: string, cause: EndCause): void {
    this.#running.get(id)?.end(cause);
  }

  /** Resolves once every end that was sent to Redis has arrived there. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling);
  }

  /** One start of a job, unless it is not wanted any more. */
  async attempt(id: string, held: Held): Promise<Next> {
    const { redis, worker, clock } = this.#options;
    const begun = await beginJob(redis, { id, nowMs: clock.nowMs(), worker, held });
    switch (begun.kind) {
      case 'not_wanted':
      case 'parked':
        return ENDED;
      case 'cancelled':
        return this.#giveUp(id, begun.record, { kind: 'cancelled', by: 'caller' });
      case 'expired':
        return this.#giveUp(id, begun.record, { kind: 'expired' });
      case 'exhausted':
        return this.#giveUp(id, begun.record, { kind: 'lost', cause: 'worker_lost' });
      case 'started':
        return this.#start(id, begun);
      default:
        return begun satisfies never;
    }
  }

  /** The queue will not bring this job again: its workers died under it too often. */
  async abandon(id: string): Promise<void> {
    const record = await readRecord(this.#options.redis, id);
    // Handed back, or Redis refused its start and no more: nothing has run.
    if (record?.state === 'queued') await leaveToSweep(this.#options.redis, id);
    if (record?.state !== 'running') return;
    await this.#giveUp(id, record, { kind: 'lost', cause: 'worker_lost' });
  }

  async #start(id: string, begun: Started): Promise<Next> {
    milestone('marked');
    const { leases, streamBytes, isGenuine } = this.#options;
    const { spec, end } = permit(id, begun, isGenuine);
    milestone('parsed');
    if (end !== undefined) return this.#giveUp(id, begun.record, end, begun.start);
    if (!this.#options.offers(spec.runtime)) return this.#handOn(id, begun);
    const deadline = createDeadline();
    this.#running.set(id, deadline);
    const watcher = this.#options.live.watch(id, begun, spec);
    try {
      const { tenant } = begun.record;
      const blobs = await this.#options.blobs.contentsOf(tenant, spec.files);
      const run = await runJob({ spec, tenant }, { leases, deadline, streamBytes, blobs, watcher });
      try {
        return await this.#conclude(id, begun, { spec, run, cause: deadline.cause });
      } finally {
        const evidence = { ...run.execution, cause: deadline.cause };
        leases.retire(run.sandbox, { isReusable: mayBeReused(run.outcome, evidence) });
      }
    } catch (error) {
      if (!isBeforeRun(error)) throw error;
      if (deadline.cause?.kind === 'cancelled') {
        return await this.#giveUp(id, begun.record, deadline.cause, begun.start);
      }
      if (error instanceof BlobUnusableError) return await this.#refuse(id, begun, error);
      return await this.#postpone(id, begun, error);
    } finally {
      deadline.clear();
      this.#running.delete(id);
      watcher.close();
    }
  }

  async #conclude(
    id: string,
    begun: Started,
    { spec, run, cause }: { spec: JobSpec; run: Run; cause: EndCause | undefined },
  ): Promise<Next> {
    const { redis, worker } = this.#options;
    const { outcome, execution, sandbox } = run;
    const log = this.#logOf(id, begun.start);
    if (outcome.kind === 'lost' && verdictOf(outcome).retryable) {
      log.warn({ cause: outcome.cause, err: execution.error }, 'the platform lost a run');
      if (cause?.kind === 'lock_lost') return ENDED;
      if (spec.onLost === 'retry' && begun.record.starts < MAX_STARTS) {
        const afterMs = cause?.kind === 'draining' ? 0 : pauseAfterLossMs();
        return await handBack(this.#options, { id, start: begun.start, ran: 'yes', afterMs });
      }
    }
    const settling = settle(redis, {
      id,
      record: begun.record,
      start: begun.start,
      spec,
      imageDigest: sandbox.imageDigest,
      worker,
      execution,
      outcome,
      finishedAtMs: steadyNowMs(),
    });
    milestone('settle_sent');
    const concluded = settling.then((settled) => {
      milestone('settled');
      const as = this.#onSettled(settled, outcome);
      log.info(
        { outcome: outcome.kind, settled: as, sandbox: sandbox.id.slice(0, 12) },
        'job ended',
      );
    });
    // What the queue is told next goes over the same connection, behind the end: nobody need wait for it here. Not so
    // with artifacts, which take more than one round trip, with output that is masked first, nor in a Cluster.
    const isSentAtOnce = execution.artifacts.length === 0 && spec.redact.length === 0;
    if (!isSentAtOnce || !keepsOrder(redis)) await concluded;
    else this.#settleBehind(id, concluded);
    return ENDED;
  }

  /** One of its blobs is gone, though it was kept for longer than this job could wait. */
  #refuse(id: string, begun: Started, error: BlobUnusableError): Promise<Next> {
    this.#logOf(id, begun.start).warn({ err: error }, 'a blob is not usable');
    const outcome = { kind: 'could_not_start', stage: 'files', errno: error.errno } as const;
    return this.#giveUp(id, begun.record, outcome, begun.start);
  }

  /** No sandbox for it: back into the queue, or given up after many tries. */
  async #postpone(id: string, begun: Started, error: Error): Promise<Next> {
    const tries = begun.record.handedBack + 1;
    this.#logOf(id, begun.start).warn({ err: error, tries }, 'no sandbox for a job, or no blob');
    // An engine that fails as a whole is no reason to give jobs up: they wait for it, or expire.
    const isTriedEnough = tries >= MAX_HAND_BACKS && !this.#options.leases.isEngineFailing();
    if (isTriedEnough || this.#options.clock.nowMs() >= begun.record.expiresAt) {
      const lost = { kind: 'lost', cause: 'sandbox_unavailable' } as const;
      return this.#giveUp(id, begun.record, lost, begun.start);
    }
    const afterMs = pauseWithoutSandboxMs(tries);
    return handBack(this.#options, { id, start: begun.start, ran: 'no', afterMs });
  }

  /** Its runtime is not here, and no other takes its place: the job is for another worker, for as long as it may wait. */
  async #handOn(id: string, begun: Started): Promise<Next> {
    const { start, record } = begun;
    const isOver = this.#options.clock.nowMs() >= record.expiresAt;
    if (isOver) return this.#giveUp(id, record, { kind: 'expired' }, start);
    const afterMs = pauseForAnotherMs();
    return handBack(this.#options, { id, start, ran: 'elsewhere', afterMs });
  }

  /** Settles a job of which nothing was run here. */
  async #giveUp(id: string, record: JobRecord, outcome: Outcome, start?: number): Promise<Next> {
    const end = { id, record, outcome, ...(start === undefined ? {} : { start }) };
    const as = this.#onSettled(await settleWithoutRun(this.#options.redis, end), outcome);
    this.#logOf(id, record.starts).warn({ outcome, settled: as }, 'job ended without a run');
    return ENDED;
  }

  #onSettled({ as, released }: Settled, outcome: Outcome): SettledAs {
    if (as === 'settled') this.#options.onDone(outcome);
    this.#options.release(released);
    return as;
  }

  #settleBehind(id: string, concluded: Promise<void>): void {
    const { log } = this.#options;
    const work = concluded
      .catch((error: unknown) => {
        log.error({ job: id, err: error }, 'the end of a job was refused');
        return this.abandon(id);
      })
      .catch((error: unknown) => log.error({ job: id, err: error }, 'left to the sweep'))
      .finally(() => this.#settling.delete(work));
    this.#settling.add(work);
  }

  #logOf(id: string, start: number): Log {
    return this.#options.log.child({ job: id, start });
  }
}
