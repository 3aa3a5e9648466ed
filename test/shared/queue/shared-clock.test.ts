import type { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { readSharedClock } from '../../../shared/queue/shared-clock.ts';

/** What a Redis answers whose clock is so many seconds after 1970. */
const redisAt = (seconds: () => number): Redis =>
  ({ time: async () => [String(seconds()), '250000'] }) as unknown as Redis;

it('The shared clock tells what Redis told, and asks again when it is told to', async () => {
  let seconds = 1_000;
  const clock = await readSharedClock(redisAt(() => seconds));
  expect(clock.nowMs() - 1_000_250).toBeGreaterThanOrEqual(0);
  expect(clock.nowMs() - 1_000_250).toBeLessThan(5_000);
  seconds = 9_000;
  expect(clock.nowMs()).toBeLessThan(2_000_000);
  expect(await clock.follow()).toBeGreaterThanOrEqual(9_000_250);
  expect(clock.nowMs()).toBeLessThan(9_100_000);
});

it('The shared clock goes on while Redis does not answer', async () => {
  let isAway = false;
  const redis = redisAt(() => {
    if (isAway) throw new Error('away');
    return 1_000;
  });
  const clock = await readSharedClock(redis);
  isAway = true;
  await expect(clock.follow()).rejects.toThrow('away');
  expect(clock.nowMs()).toBeGreaterThanOrEqual(1_000_250);
});
