/**
 * What a call is to be charged to. A limit per session counts for the session's name beneath its key, and once more
 * for the key alone: a name is only asserted, and must not be a way to more.
 */
import { createHash } from 'node:crypto';
import type { Call } from './call.ts';
import type { Reservation } from './judgement.ts';
import {
  burstOf,
  type Concurrency,
  type CounterScope,
  GRANT_TIMES_SESSION,
  type RateLimit,
} from './limit.ts';
import type { Resolved } from './resolve.ts';
import type { Rule } from './rule.ts';

type Window = Extract<Reservation, { kind: 'window' }>;
type Place = Extract<Reservation, { kind: 'concurrency' }>;
type Fixed = 'counter' | 'isShadow';

/** One counter of a rule, all but whose it is and how much. */
export type Limit =
  | (Omit<Window, Fixed | 'amount'> & { readonly counted: Counted })
  | (Omit<Place, Fixed | 'untilMs'> & { readonly counted: Counted });

interface Counted {
  /** Of the counter: stays the same when a document is loaded again. */
  readonly name: string;
  readonly per: CounterScope;
}

/** A job may be started twice, and ends some time after its last program. */
const SLACK_MS = 60_000;
const MOST_STARTS = 2;

/** In the order of the document; a counter of a key follows the one of its sessions. */
export function limitsOf({ name, rate_limit = [], concurrency = [] }: Rule): Limit[] {
  const windows = rate_limit.flatMap((limit, index): Limit[] => {
    const one = (per: CounterScope, max: number): Limit => ({
      kind: 'window',
      rule: name,
      algorithm: limit.algorithm,
      max,
      windowMs: limit.window,
      burst: per === limit.per ? burstOf(limit) : max,
      meter: limit.meter,
      onExceed: limit.onExceed,
      reason:
        limit.reason ?? `at most ${max} ${limit.meter} in ${limit.window / 1000} s per ${per}`,
      counted: { name: `${name}:${index}:${per}`, per },
    });
    const isBounded = rate_limit.some((other) => other.meter === limit.meter && isWider(other));
    return withCeiling(limit, isBounded, one);
  });
  const places = concurrency.flatMap((limit, index): Limit[] => {
    const one = (per: CounterScope, max: number): Limit => ({
      kind: 'concurrency',
      rule: name,
      max,
      onExceed: limit.onExceed,
      reason: limit.reason ?? `at most ${max} at once per ${per}`,
      counted: { name: `${name}:c${index}:${per}`, per },
    });
    return withCeiling(limit, concurrency.some(isWider), one);
  });
  return [...windows, ...places];
}

/** Bounds all sessions of a key together. */
const isWider = ({ per }: { per: CounterScope }): boolean =>
  per === 'grant' || per === 'tenant' || per === 'global';

function withCeiling(
  { per, max, grantMax }: Pick<RateLimit | Concurrency, 'per' | 'max' | 'grantMax'>,
  isBounded: boolean,
  one: (per: CounterScope, max: number) => Limit,
): Limit[] {
  const own = one(per, max);
  if (per !== 'session' || (isBounded && grantMax === undefined)) return [own];
  return [own, one('grant', grantMax ?? max * GRANT_TIMES_SESSION)];
}

/** `resolved` is null for tools that run nothing: they are charged their calls, and wait for nothing. */
export function reservationOf(
  limit: Limit,
  { call, resolved, isShadow }: { call: Call; resolved: Resolved | null; isShadow: boolean },
): Reservation | undefined {
  const { counted, ...rest } = limit;
  const subject = subjectOf(counted.per, call, resolved);
  if (subject === undefined) return undefined;
  const fixed = { counter: `${counted.name}:${hashOf(subject)}`, isShadow };
  if (rest.kind === 'concurrency') {
    if (resolved === null) return undefined;
    const { expiresInMs, spec } = resolved;
    const untilMs = call.nowMs + expiresInMs + MOST_STARTS * spec.timeoutMs + SLACK_MS;
    return { ...rest, ...fixed, untilMs };
  }
  const amount = amountOf(rest.meter, resolved);
  if (amount === undefined) return undefined;
  return { ...rest, ...fixed, amount, onExceed: resolved === null ? 'deny' : rest.onExceed };
}

function subjectOf(
  per: CounterScope,
  { caller }: Call,
  resolved: Resolved | null,
): readonly (string | null)[] | undefined {
  const { tenant, grant, session } = caller;
  switch (per) {
    case 'session':
      return [tenant, grant, session];
    case 'grant':
      return [tenant, grant];
    case 'tenant':
      return [tenant];
    case 'image':
      return resolved === null ? undefined : [resolved.spec.image];
    case 'global':
      return [];
  }
}

const hashOf = (subject: readonly (string | null)[]): string =>
  createHash('sha256').update(JSON.stringify(subject)).digest('base64url').slice(0, 22);

/** 1, or the most that the job can use. */
function amountOf(meter: Window['meter'], resolved: Resolved | null): number | undefined {
  if (meter === 'calls') return 1;
  if (resolved === null) return undefined;
  const { limits, timeoutMs, steps } = resolved.spec;
  switch (meter) {
    case 'jobs':
      return 1;
    case 'wallMs':
      return timeoutMs;
    case 'cpuMs':
      return limits.cpuMs;
    case 'outputBytes':
      return (limits.stdoutBytes + limits.stderrBytes) * steps.length;
  }
}
