/** Charges of limits as the tests make them: each of a counter of its own unless it is said which. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { type CallReply, type Charge, reserve } from '../../../shared/queue/reserve.ts';

type WindowCharge = Extract<Charge, { kind: 'window' }>;
type PlaceCharge = Extract<Charge, { kind: 'concurrency' }>;

export const newCounter = (): string => `rule:0:${randomBytes(6).toString('hex')}`;

export const windowCharge = (over: Partial<WindowCharge> = {}): WindowCharge => ({
  kind: 'window',
  counter: newCounter(),
  algorithm: 'sliding',
  max: 10,
  windowMs: 60_000,
  burst: 10,
  amount: 1,
  meter: 'calls',
  onExceed: 'deny',
  isShadow: false,
  ...over,
});

export const placeCharge = (over: Partial<PlaceCharge> = {}): PlaceCharge => ({
  kind: 'concurrency',
  counter: newCounter(),
  max: 1,
  untilMs: Date.now() + 60_000,
  onExceed: 'deny',
  isShadow: false,
  ...over,
});

/** Charges one call, and says when by the clock of Redis. */
export async function chargeOne(
  redis: Redis,
  charges: readonly Charge[],
  id = 'job_x',
): Promise<CallReply & { nowMs: number }> {
  const { nowMs, calls } = await reserve(redis, [{ id, charges }]);
  return { ...(calls[0] as CallReply), nowMs };
}
