/**
 * Judges a history by what the server says once it is quiet. Pure: no clock, no network. A job is known by its nonce,
 * which its request carries as a label and its program prints, so that a job is recognised whatever id it got, and a
 * result that belongs to another job is noticed.
 */
import type { JobResult } from '../../../shared/contract/result.ts';
import type { Entry, Invoke, Ok } from './history.ts';

/** The label of a job that holds its nonce. */
export const NONCE_LABEL = 'nonce';
/** The label of a job that is promised fewer starts than others: how many. */
export const MOST_STARTS_LABEL = 'most-starts';

export type ViolationKind =
  /** Accepted, and no terminal result. */
  | 'lost'
  /** Two terminal results of one job that are not the same, byte by byte. */
  | 'changed'
  /** Started more often than was promised. */
  | 'started_too_often'
  /** The output is not that of the job's program. */
  | 'foreign_result'
  /** Two jobs where one was asked for. */
  | 'doubled'
  /** One Idempotency-Key, two ids. */
  | 'two_ids_for_a_key'
  /** A job that nobody sent, or that its sender was told had been refused. */
  | 'never_sent';

export interface Violation {
  readonly kind: ViolationKind;
  readonly about: string;
}

/** A job as it is read at the very end. */
export interface FinalRead {
  readonly id: string;
  readonly text: string;
}

export interface Evidence {
  readonly entries: readonly Entry[];
  readonly finals: readonly FinalRead[];
  /** How often the program of a job was seen to start, by its nonce, by somebody other than the system itself. */
  readonly startsSeen?: ReadonlyMap<string, number>;
  /** Starts that are promised at most. */
  readonly maxStarts?: number;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly counts: {
    readonly calls: number;
    readonly unknown: number;
    readonly failed: number;
    /** Jobs whose acceptance was told. */
    readonly accepted: number;
    /** Jobs with a terminal result. */
    readonly terminal: number;
    readonly secondStarts: number;
  };
  /** Terminal results by the kind of their outcome. */
  readonly outcomes: Readonly<Record<string, number>>;
}

const DEFAULT_MAX_STARTS = 2;

export function verdictOf(evidence: Evidence): Verdict {
  const { entries } = evidence;
  const invokes = new Map<number, Invoke>();
  const oks: { asked: Invoke; ok: Ok }[] = [];
  const refused = new Set<string>();
  const sent = new Set<string>();
  const accepted = new Set<string>();
  for (const entry of entries) {
    if (entry.kind === 'invoke') invokes.set(entry.call, entry);
    if (entry.kind === 'ok') oks.push({ asked: invokes.get(entry.call) as Invoke, ok: entry });
  }
  const failedCalls = new Set(
    entries.flatMap((entry) => (entry.kind === 'fail' ? [entry.call] : [])),
  );
  for (const { call, nonces } of invokes.values()) {
    for (const nonce of nonces) (failedCalls.has(call) ? refused : sent).add(nonce);
  }
  for (const { asked } of oks) for (const nonce of asked.nonces) accepted.add(nonce);

  const jobs = evidence.finals.map(({ id, text }) => ({ id, text, job: parse(text) }));
  const terminal = jobs.filter(({ job }) => job.state === 'done');
  const violations = [
    ...lost(accepted, jobs),
    ...changed(oks, terminal),
    ...startedTooOften(evidence, jobs),
    ...foreign(terminal),
    ...doubled(jobs),
    ...twoIdsForAKey(oks),
    ...neverSent(jobs, { sent, refused }),
  ];
  return {
    violations,
    counts: {
      calls: invokes.size,
      unknown: entries.filter(({ kind }) => kind === 'unknown').length,
      failed: failedCalls.size,
      accepted: accepted.size,
      terminal: terminal.length,
      secondStarts: terminal.filter(({ job }) => job.attempt > 1).length,
    },
    outcomes: tally(terminal.map(({ job }) => job.outcome?.kind ?? 'none')),
  };
}

interface Read extends FinalRead {
  readonly job: JobResult;
}

const parse = (text: string): JobResult => JSON.parse(text) as JobResult;
const nonceOf = (job: JobResult): string => job.labels[NONCE_LABEL] ?? '';

function lost(accepted: ReadonlySet<string>, jobs: readonly Read[]): Violation[] {
  const ended = new Set<string>();
  const open = new Map<string, string>();
  for (const { job } of jobs) {
    if (job.state === 'done') ended.add(nonceOf(job));
    else open.set(nonceOf(job), job.state);
  }
  return [...accepted]
    .filter((nonce) => !ended.has(nonce))
    .map((nonce) => ({ kind: 'lost', about: `${nonce}: ${open.get(nonce) ?? 'not there'}` }));
}

/** Whatever a client saw of an end has to be what is there at last. */
function changed(oks: readonly { ok: Ok }[], terminal: readonly Read[]): Violation[] {
  const last = new Map(terminal.map(({ id, text }) => [id, text]));
  return oks.flatMap(({ ok: { seen } }): Violation[] => {
    if (seen === null || seen.text === null) return [];
    const isSame = last.get(seen.id) === seen.text;
    return isSame ? [] : [{ kind: 'changed', about: seen.id }];
  });
}

function startedTooOften(
  { startsSeen = new Map(), maxStarts = DEFAULT_MAX_STARTS }: Evidence,
  jobs: readonly Read[],
): Violation[] {
  return jobs.flatMap(({ id, job }): Violation[] => {
    const starts = Math.max(job.attempt, startsSeen.get(nonceOf(job)) ?? 0);
    const most = Math.min(maxStarts, Number(job.labels[MOST_STARTS_LABEL] ?? maxStarts));
    return starts > most ? [{ kind: 'started_too_often', about: `${id}: ${starts} starts` }] : [];
  });
}

/** A program that ended by itself has printed its nonce; one that was ended, perhaps, or a beginning of it. */
function foreign(terminal: readonly Read[]): Violation[] {
  return terminal.flatMap(({ id, job }): Violation[] => {
    const expected = `${nonceOf(job)}\n`;
    const isOwn =
      job.outcome?.kind === 'exited'
        ? job.stdout.startsWith(expected)
        : expected.startsWith(job.stdout) || job.stdout.startsWith(expected);
    return isOwn ? [] : [{ kind: 'foreign_result', about: `${id}: ${job.stdout.slice(0, 80)}` }];
  });
}

function doubled(jobs: readonly Read[]): Violation[] {
  const ids = new Map<string, Set<string>>();
  for (const { id, job } of jobs) {
    const nonce = nonceOf(job);
    ids.set(nonce, (ids.get(nonce) ?? new Set()).add(id));
  }
  return [...ids]
    .filter(([, of]) => of.size > 1)
    .map(([nonce, of]) => ({ kind: 'doubled', about: `${nonce}: ${[...of].join(', ')}` }));
}

function twoIdsForAKey(oks: readonly { asked: Invoke; ok: Ok }[]): Violation[] {
  const ids = new Map<string, Set<string>>();
  for (const { asked, ok } of oks) {
    const { idempotencyKey: key } = asked;
    if (key !== null) ids.set(key, (ids.get(key) ?? new Set()).add(ok.id));
  }
  return [...ids]
    .filter(([, of]) => of.size > 1)
    .map(([key, of]) => ({ kind: 'two_ids_for_a_key', about: `${key}: ${[...of].join(', ')}` }));
}

/** One that was refused once and sent again is sent. */
function neverSent(
  jobs: readonly Read[],
  { sent, refused }: { sent: ReadonlySet<string>; refused: ReadonlySet<string> },
): Violation[] {
  return jobs.flatMap(({ id, job }): Violation[] => {
    const nonce = nonceOf(job);
    if (sent.has(nonce)) return [];
    const why = refused.has(nonce) ? 'refused' : 'unknown to every client';
    return [{ kind: 'never_sent', about: `${id}: ${why}` }];
  });
}

function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
