import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { bestParallelism, inParallel } from '../../bench/load.ts';

describe('acts in parallel', () => {
  it('are as many at once as asked, and their answers come in order', async () => {
    let now = 0;
    let most = 0;
    const answers = await inParallel(20, 3, async (index) => {
      most = Math.max(most, ++now);
      for (let left = 20 - index; left > 0; left--) await turn();
      now--;
      return index;
    });
    expect(answers).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(most).toBe(3);
  });

  it('fail as soon as one fails', async () => {
    const failing = inParallel(5, 2, async (index) => {
      if (index === 1) throw new Error('the second one');
    });
    await expect(failing).rejects.toThrow('the second one');
  });

  it('have their best parallelism where a burst is quickest', async () => {
    let now = 0;
    // Past three at once each takes far longer.
    const act = async (): Promise<void> => {
      now++;
      await sleep(now > 3 ? 400 : 10);
      now--;
    };
    expect(await bestParallelism([1, 3, 12], 24, act)).toBe(3);
  });
});
