import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Consumer } from '../../services/worker/consumer.ts';
import { Watchdog } from '../../services/worker/watchdog.ts';
import { createLog } from '../../shared/log.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A consumer that is given what the test says. */
class Given implements Consumer {
  held = 0;
  given = 0;
  paused: boolean[] = [];
  isStopped = false;
  activity() {
    return { held: this.held, given: this.given };
  }
  pause(isPaused: boolean) {
    this.paused.push(isPaused);
  }
  async stop() {
    this.isStopped = true;
  }
}

function aWatchdog(countWaiting: () => Promise<number>) {
  const opened: Given[] = [];
  const abandoned: Error[] = [];
  const watchdog = new Watchdog({
    open: () => {
      const consumer = new Given();
      opened.push(consumer);
      return consumer;
    },
    countWaiting,
    onRenewed: () => {},
    abandon: (reason) => abandoned.push(reason),
    log: createLog('silent'),
  });
  return { watchdog, opened, abandoned };
}

const some = async (): Promise<number> => 3;
const LONG_MS = 30_000;

describe('the watchdog', () => {
  it('says that a consumer is given nothing while jobs wait, then renews it', async () => {
    const { watchdog, opened, abandoned } = aWatchdog(some);
    await vi.advanceTimersByTimeAsync(LONG_MS / 2);
    expect(watchdog.isSilent()).toBe(true);
    expect(opened).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(LONG_MS / 2);
    expect(opened.map(({ isStopped }) => isStopped)).toEqual([true, false]);
    (opened[1] as Given).given = 1;
    await vi.advanceTimersByTimeAsync(LONG_MS);
    expect(opened).toHaveLength(3);
    expect(abandoned).toEqual([]);
    await watchdog.stop();
  });

  it('gives the process up when a new consumer is given nothing either', async () => {
    const { watchdog, abandoned } = aWatchdog(some);
    await vi.advanceTimersByTimeAsync(2 * LONG_MS);
    expect(abandoned.length).toBeGreaterThan(0);
    await watchdog.stop();
  });

  it.each<[string, () => Promise<number>, (consumer: Given) => unknown]>([
    ['none wait', async () => 0, () => {}],
    ['it runs one', some, (consumer) => Object.assign(consumer, { held: 1 })],
    ['Redis does not answer', () => new Promise(() => {}), () => {}],
    ['Redis answers late', () => new Promise((go) => setTimeout(go, LONG_MS, 3)), () => {}],
    ['it cannot be known', () => Promise.reject(new Error('away')), () => {}],
  ])('leaves a consumer alone that is given nothing while %s', async (_, waiting, set) => {
    const { watchdog, opened } = aWatchdog(waiting);
    set(opened[0] as Given);
    await vi.advanceTimersByTimeAsync(4 * LONG_MS);
    expect(opened).toHaveLength(1);
    await watchdog.stop();
  });

  it('leaves a consumer alone that is given one now and then', async () => {
    const { watchdog, opened } = aWatchdog(some);
    for (let at = 0; at < 10; at++) {
      (opened[0] as Given).given++;
      await vi.advanceTimersByTimeAsync(LONG_MS / 3);
    }
    expect(opened).toHaveLength(1);
    await watchdog.stop();
  });

  it('leaves a paused one alone, and a new one is paused as the old one was', async () => {
    const { watchdog, opened } = aWatchdog(some);
    watchdog.pause(true);
    await vi.advanceTimersByTimeAsync(4 * LONG_MS);
    expect(opened).toHaveLength(1);
    expect(opened[0]?.paused).toEqual([true]);
    await watchdog.stop();
    expect(opened[0]?.isStopped).toBe(true);
  });
});
