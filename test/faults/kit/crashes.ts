/** A process that dies at one milestone, again and again, while others of its kind live and clients go on. */
import type { Redis } from 'ioredis';
import type { JobResult } from '../../../shared/contract/result.ts';
import { limited } from '../../../shared/limited.ts';
import type { Milestone } from '../../../shared/milestones.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { DidNotStartError } from '../../helpers/server.ts';
import { armed, FROM_FIRST_JOB } from './armed.ts';
import { show, timesLine } from './figures.ts';
import { type Member, Worker } from './member.ts';
import type { FinalRead, Verdict } from './verdict.ts';
import type { EngineWitness } from './witness.ts';

export const WORKER_MILESTONES: readonly Milestone[] = [
  'fetched',
  'marked',
  'parsed',
  'create_sent',
  'created',
  'attached',
  'started',
  'mid_stream',
  'last_frame',
  'settle_sent',
  'settled',
  'removed',
];
export const API_MILESTONES: readonly Milestone[] = [
  'before_record',
  'record_sent',
  'enqueued',
  'reply_sent',
];

const REACHED_WITHIN_MS = 60_000;
/** At the first passage, or a few later: what else the process is doing then differs. */
const MOST_PASSAGES = 3;
/** What is handed to another process at this point gets there within so much, more or less. */
const UNDER_WAY_MS: Partial<Record<Milestone, number>> = { create_sent: 20 };

export interface Crash {
  readonly at: Milestone;
  /** The id of the worker that died; '' when it died before it had said so, or is none. */
  readonly worker: string;
  readonly killedAtMs: number;
  /** The jobs that its record said it was running. */
  readonly running: readonly string[];
}

/** Starts the process armed, and waits until it has died; `times` over. It must not be up. */
export async function crashAt(
  victim: Member,
  at: Milestone,
  { times, redis }: { times: number; redis: Redis },
): Promise<Crash[]> {
  const crashes: Crash[] = [];
  const from = victim instanceof Worker ? FROM_FIRST_JOB : {};
  for (let round = 0; round < times; round++) {
    const afterMs = ((UNDER_WAY_MS[at] ?? 0) * (round + 1)) / times;
    const nth = 1 + (round % MOST_PASSAGES);
    let worker = '';
    try {
      await victim.start(armed({ at, nth, act: 'kill', afterMs, ...from }));
      if (victim instanceof Worker) worker = victim.id;
      const { signal } = await limited(victim.exited, REACHED_WITHIN_MS);
      if (signal !== 'SIGKILL') throw new Error(`${at}: ended with ${signal}`);
    } catch (error) {
      // It may reach the point before it says that it is up.
      const isKilled = error instanceof DidNotStartError && error.end === 'SIGKILL';
      if (!isKilled) throw new Error(`round ${round} at ${at}`, { cause: error });
    }
    const killedAtMs = Date.now();
    const running = worker === '' ? [] : await runningOn(redis, worker);
    crashes.push({ at, worker, killedAtMs, running });
  }
  return crashes;
}

async function runningOn(redis: Redis, worker: string): Promise<string[]> {
  const ids = await redis.zrange(keys.running(), 0, -1);
  const workers = await Promise.all(ids.map((id) => redis.hget(keys.job(id), 'worker')));
  return ids.filter((_, index) => workers[index] === worker);
}

/** From the death of a worker until its job started elsewhere or ended, in ms; of each job once. */
export function recoveriesOf(crashes: readonly Crash[], finals: readonly FinalRead[]): number[] {
  const lastKill = new Map(
    crashes.flatMap(({ killedAtMs, running }) => running.map((id) => [id, killedAtMs] as const)),
  );
  return finals.flatMap(({ id, text }) => {
    const killedAtMs = lastKill.get(id);
    if (killedAtMs === undefined) return [];
    const { startedAt, finishedAt } = (JSON.parse(text) as JobResult).timing;
    const after = [startedAt, finishedAt]
      .map((time) => Date.parse(time ?? '') - killedAtMs)
      .filter((ms) => ms >= 0);
    return after.slice(0, 1);
  });
}

/** From the death of a worker until each sandbox that it left running had ended, as the engine saw it, in ms. */
export function sandboxEndsOf(crashes: readonly Crash[], { seen }: EngineWitness): number[] {
  const killedAtMs = new Map(crashes.map((crash) => [crash.worker, crash.killedAtMs]));
  return seen.flatMap(({ action, worker, atMs }) => {
    const afterMs = atMs - (killedAtMs.get(worker) ?? Infinity);
    return action === 'die' && afterMs >= 0 ? [afterMs] : [];
  });
}

/** Promised: a dead worker's job starts elsewhere or is declared lost; its sandboxes end. */
export const RECOVERED_WITHIN_MS = 30_000;
export const SANDBOX_ENDS_WITHIN_MS = 2_000;

export function showRecovery(
  row: string,
  seen: {
    crashes: readonly Crash[];
    finals: readonly FinalRead[];
    engine: EngineWitness;
    verdict: Verdict;
  },
): { recoveriesMs: number[]; sandboxEndsMs: number[] } {
  const recoveriesMs = recoveriesOf(seen.crashes, seen.finals);
  const sandboxEndsMs = sandboxEndsOf(seen.crashes, seen.engine);
  const { counts, outcomes } = seen.verdict;
  show(
    row,
    `${seen.crashes.length} kills, ${counts.accepted} jobs, ${JSON.stringify(outcomes)}, ${counts.secondStarts} second starts`,
  );
  show(row, timesLine('killed worker → job restarted or ended', recoveriesMs, RECOVERED_WITHIN_MS));
  show(
    row,
    timesLine('killed worker → its sandboxes ended', sandboxEndsMs, SANDBOX_ENDS_WITHIN_MS),
  );
  return { recoveriesMs, sandboxEndsMs };
}
