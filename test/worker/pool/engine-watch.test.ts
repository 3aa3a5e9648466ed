import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EngineWatch, guarded } from '../../../services/worker/pool/engine-watch.ts';
import { SandboxUnavailableError } from '../../../services/worker/sandbox/sandbox.ts';
import { createLog } from '../../../shared/log.ts';
import { aPool } from './a-pool.ts';
import { MemoryEngine, SHAPE } from './memory-engine.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** An engine that can fall silent, watched, and how often it was asked. */
function watched() {
  const engine = new MemoryEngine();
  let asked = 0;
  const ping = async (): Promise<void> => {
    asked++;
    await engine.ping();
  };
  const watch = new EngineWatch({ engine: { ping }, log: createLog('silent'), askMs: 1_000 });
  return { engine, watch, asked: () => asked };
}

describe('an engine that falls silent', () => {
  it('is held for silent after the second question in a row, and heard again at the first answer', async () => {
    const { engine, watch } = watched();
    const changes: boolean[] = [];
    watch.onChange(() => changes.push(watch.isSilent()));
    watch.start();
    await vi.advanceTimersByTimeAsync(3_500);
    expect(watch.isSilent()).toBe(false);
    engine.isSilent = true;
    await vi.advanceTimersByTimeAsync(550);
    expect(watch.isSilent()).toBe(false);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(watch.isSilent()).toBe(true);
    engine.isSilent = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(watch.isSilent()).toBe(false);
    expect(changes).toEqual([true, false]);
    watch.stop();
  });

  it('is asked less and less often, and no more once the watch is over', async () => {
    const { engine, watch, asked } = watched();
    engine.isSilent = true;
    watch.start();
    await vi.advanceTimersByTimeAsync(60_000);
    const inAMinute = asked();
    expect(inAMinute).toBeGreaterThan(5);
    expect(inAMinute).toBeLessThan(20);
    watch.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked()).toBeLessThanOrEqual(inAMinute + 1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is asked for nothing else: removals, changes and lists fail at once', async () => {
    const { engine } = watched();
    const left = guarded(engine, { isSilent: () => true });
    await expect(left.remove('n')).rejects.toThrow(SandboxUnavailableError);
    await expect(left.list()).rejects.toThrow(SandboxUnavailableError);
    expect(engine.removed).toEqual([]);
    await guarded(engine, { isSilent: () => false }).remove('n');
    expect(engine.removed).toEqual(['n']);
  });

  it('lends no sandbox, costs no uid, sends jobs elsewhere, and is used again as soon as it answers', async () => {
    let isSilent = false;
    let tell = (): void => {};
    const unwelcome: boolean[] = [];
    const { pool, engine, uids } = aPool({
      watch: {
        isSilent: () => isSilent,
        onChange: (listener) => {
          tell = listener;
        },
      },
      onJobsUnwelcome: (are) => unwelcome.push(are),
    });
    pool.start();
    await vi.advanceTimersByTimeAsync(100);
    expect(pool.figures().ready).toBe(2);
    isSilent = true;
    tell();
    await expect(pool.lease(SHAPE)).rejects.toThrow('the engine does not answer');
    expect(pool.figures()).toMatchObject({ ready: 2, engineFailing: true, removing: 0 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(engine.orders).toHaveLength(2);
    const free = Array.from({ length: 1022 }, () => uids.take());
    for (const uid of free) uids.release(uid);
    isSilent = false;
    tell();
    expect((await pool.lease(SHAPE)).session.isReady).toBe(true);
    expect(unwelcome).toEqual([true, false]);
    const stopped = pool.stop();
    await vi.advanceTimersByTimeAsync(1_000);
    await stopped;
  });
});

describe('an engine that answers but makes no sandboxes', () => {
  it('sends jobs elsewhere only once none is ready', async () => {
    const unwelcome: boolean[] = [];
    const { pool, engine } = aPool({ onJobsUnwelcome: (are) => unwelcome.push(are) });
    pool.start();
    await vi.advanceTimersByTimeAsync(100);
    engine.creationFailures.push(...Array.from({ length: 100 }, () => new Error('no room')));
    await pool.lease(SHAPE);
    await vi.advanceTimersByTimeAsync(500);
    expect(pool.figures()).toMatchObject({ ready: 1, engineFailing: true });
    expect(unwelcome).toEqual([]);
    await pool.lease(SHAPE);
    expect(unwelcome).toEqual([true]);
    engine.creationFailures.length = 0;
    await vi.advanceTimersByTimeAsync(15_000);
    expect(unwelcome).toEqual([true, false]);
    const stopped = pool.stop();
    await vi.advanceTimersByTimeAsync(1_000);
    await stopped;
  });
});
