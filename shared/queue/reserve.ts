/**
 * Charges calls to the policy's limits: one Lua call for all counters of a call, all or none, and for up to a chunk of
 * a batch's calls, one after another. Redis tells the time, so that there is one clock for all processes.
 *
 * - `sliding`, at most EXACT_MAX calls: a log of them; exact.
 * - `sliding`, more, or a meter: this window's sum and the one before, weighted by how much of it is still in view.
 *   Exact for a caller with an even rate; for others it may err by what it assumes, that the earlier window was even.
 * - `fixed`: a sum for each window since 1970, nothing else.
 * - `token_bucket`: holds `burst` tokens, filled at max a window.
 * - places of concurrency: a set of holders by when each is void at the latest, so that what nobody gives back comes
 *   back by itself.
 *
 * A counter's key has its algorithm and window: it survives a reload as long as these stay. A limit in shadow counts in
 * a key of its own and stops nobody.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Hold, HoldKind } from './holds.ts';
import { PREFIX } from './keys.ts';
import { CHARGE } from './reserve-script.ts';

/** How long a place is held for a job that is not admitted yet: see holds.ts. */
const PLACE_RESERVED_MS = 60_000;

/** Up to here a sliding window of calls is a log of them. */
export const EXACT_MAX = 1_000;

interface Charged {
  readonly counter: string;
  readonly max: number;
  readonly onExceed: 'deny' | 'require_approval' | 'queue';
  readonly isShadow: boolean;
}

export type Charge =
  | (Charged & {
      readonly kind: 'window';
      readonly algorithm: 'sliding' | 'fixed' | 'token_bucket';
      readonly windowMs: number;
      readonly burst: number;
      readonly amount: number;
      readonly meter: string;
    })
  | (Charged & { readonly kind: 'concurrency'; readonly untilMs: number });

export interface CallCharges {
  /** What holds are named by: the job's id, or any other. */
  readonly id: string;
  readonly charges: readonly Charge[];
}

export interface Counted {
  /** `never`: more than the limit allows at any time. */
  readonly verdict: 'fits' | 'over' | 'never';
  /** What is left of the limit after this call, or before one that does not fit. */
  readonly left: number;
  /** When the same charge would fit, if nobody else comes; 0 when it does. */
  readonly retryAfterMs: number;
}

export interface CallReply {
  /** False: nothing of this call was charged. */
  readonly isAdmitted: boolean;
  /** One for each charge, in order. */
  readonly counted: readonly Counted[];
  /** What was charged. */
  readonly holds: readonly Hold[];
}

export interface Reply {
  /** By the clock of Redis. */
  readonly nowMs: number;
  readonly calls: readonly CallReply[];
}

interface Sent {
  readonly kind: HoldKind;
  readonly counter: string;
  readonly max: number;
  readonly amount: number;
  readonly windowMs: number;
  readonly burst: number;
  readonly forMs: number;
  /** Of a place: for how long once its job is admitted. */
  readonly heldMs: number;
  readonly at: string;
  readonly meter: string;
  /** Whether a call that does not fit here is refused. */
  readonly hard: boolean;
}

const kindOf = (charge: Charge): HoldKind => {
  if (charge.kind === 'concurrency') return charge.onExceed === 'queue' ? 'turn' : 'place';
  const { algorithm, max, meter } = charge;
  if (algorithm === 'fixed') return 'fixed';
  if (algorithm === 'token_bucket') return 'bucket';
  return max <= EXACT_MAX && (meter === 'calls' || meter === 'jobs') ? 'log' : 'weighted';
};

function sentOf(charge: Charge, member: string): Sent {
  const kind = kindOf(charge);
  const isWindow = charge.kind === 'window';
  const windowMs = isWindow ? charge.windowMs : 0;
  const heldMs = isWindow ? 0 : Math.max(0, charge.untilMs - Date.now());
  const mark = charge.isShadow ? 'shadow:' : '';
  return {
    kind,
    counter: `${mark}${kind === 'turn' ? 'place' : kind}:${windowMs}:${charge.counter}`,
    max: charge.max,
    amount: isWindow ? charge.amount : 1,
    windowMs,
    heldMs,
    burst: isWindow ? charge.burst : 0,
    forMs: isWindow ? 0 : Math.min(PLACE_RESERVED_MS, heldMs),
    at: member,
    meter: isWindow ? charge.meter : '',
    hard: !charge.isShadow && charge.onExceed !== 'require_approval',
  };
}

const VERDICTS = ['fits', 'over', 'never'] as const;
type RawCounted = readonly [0 | 1 | 2, number, number, number];
type RawReply = readonly [number, ...(readonly [0 | 1, ...RawCounted[]])[]];

/** Charges the calls in order, each whole or not at all; `peek` charges none and tells what would come of it. */
export async function reserve(
  redis: Redis,
  calls: readonly CallCharges[],
  mode: 'charge' | 'peek' = 'charge',
): Promise<Reply> {
  // A name that no other call has: the same job may be charged twice, and gives back once.
  const nonce = randomBytes(6).toString('hex');
  const sent = calls.map(({ id, charges }, index) =>
    charges.map((charge) => sentOf(charge, `${id}.${nonce}.${index}`)),
  );
  const [nowMs, ...answers] = (await CHARGE.run(
    redis,
    [],
    [PREFIX, mode, JSON.stringify(sent)],
  )) as unknown as RawReply;
  return {
    nowMs,
    calls: answers.map(([admitted, ...raw], index) => {
      const ofCall = sent[index] ?? [];
      return {
        isAdmitted: admitted === 1,
        counted: raw.map(([verdict, left, retryAfterMs]) => ({
          verdict: VERDICTS[verdict],
          left,
          retryAfterMs,
        })),
        holds:
          admitted === 0 || mode === 'peek'
            ? []
            : raw.flatMap((one, at) => holdOf(ofCall[at] as Sent, one)),
      };
    }),
  };
}

/** The hold of one charge, where it was charged. */
function holdOf(sent: Sent, [verdict, , , slot]: RawCounted): Hold[] {
  if (VERDICTS[verdict] !== 'fits') return [];
  const { kind, counter, at, max, amount, meter, windowMs, heldMs, burst } = sent;
  const isSum = kind === 'weighted' || kind === 'fixed';
  return [
    {
      kind,
      counter,
      at: isSum ? String(slot) : at,
      amount: kind === 'turn' ? max : amount,
      meter,
      windowMs: kind === 'place' ? heldMs : windowMs,
      burst,
    },
  ];
}
