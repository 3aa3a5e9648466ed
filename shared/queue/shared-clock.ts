/**
 * The time that all processes of an installation agree on: that of Redis. A host whose clock is an hour off would else
 * find jobs expired that are not, or be held for dead. Asked now and then, told on in between.
 */
import type { Redis } from 'ioredis';
import { steadyNowMs } from '../steady-clock.ts';

export interface SharedClock {
  nowMs(): number;
  /** Asks Redis what time it is; until it has answered, the time goes on as it was last told. */
  follow(): Promise<number>;
}

/** A clock that has asked once. */
export async function readSharedClock(redis: Redis): Promise<SharedClock> {
  let aheadMs = 0;
  const nowMs = (): number => steadyNowMs() + aheadMs;
  const follow = async (): Promise<number> => {
    const [seconds, micros] = (await redis.time()).map(Number) as [number, number];
    aheadMs = seconds * 1000 + Math.floor(micros / 1000) - steadyNowMs();
    return nowMs();
  };
  await follow();
  return { nowMs, follow };
}
