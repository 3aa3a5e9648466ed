import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Shape } from '../../../services/worker/sandbox/sandbox.ts';
import { eventually } from '../../shared/queue/redis.ts';
import { aPool } from './a-pool.ts';
import { SHAPE } from './memory-engine.ts';

const OTHER = { ...SHAPE, memoryMb: 128 };

async function filled(...options: Parameters<typeof aPool>) {
  const made = aPool(...options);
  made.pool.start();
  await vi.waitFor(() => expect(made.pool.figures().state).toBe('READY'));
  return made;
}

describe('a stock that follows demand', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('gives 200 jobs at once on a cold worker their sandboxes, and none fails', async () => {
    let misses = 0;
    const { pool, engine } = aPool({ target: 2, maxReady: 8, onMiss: () => misses++ }, 4);
    pool.start();
    const leased = await Promise.all(Array.from({ length: 200 }, () => pool.lease(SHAPE)));
    expect(new Set(leased.map(({ uid }) => uid)).size).toBe(200);
    expect(misses).toBe(200);
    expect(engine.mostAtOnce).toBeLessThanOrEqual(4);
    for (const sandbox of leased) pool.retire(sandbox);
    await eventually('all removed', () => pool.figures().removing === 0);
    await eventually('a full stock', () => pool.figures().ready === 8);
    expect(engine.existing.size).toBe(8);
    await pool.stop();
  });

  it('grows by the jobs that had to wait, up to the ceiling, and shrinks again when none come', async () => {
    vi.useFakeTimers();
    const { pool, engine } = aPool({ target: 1, maxReady: 6, maxAgeMs: 10_000_000 });
    pool.start();
    await vi.advanceTimersByTimeAsync(6_000);
    expect(pool.figures().ready).toBe(1);
    const leased = await Promise.all(Array.from({ length: 4 }, () => pool.lease(SHAPE)));
    for (const sandbox of leased) pool.retire(sandbox);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pool.figures().ready).toBe(4);
    await Promise.all(Array.from({ length: 10 }, () => pool.lease(SHAPE)));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pool.figures().ready).toBe(6);
    await vi.advanceTimersByTimeAsync(11_000);
    expect(pool.figures().ready).toBeGreaterThan(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(pool.figures()).toMatchObject({ ready: 1, state: 'READY' });
    expect(engine.existing.size).toBe(1 + 10);
    const stopped = pool.stop();
    await vi.advanceTimersByTimeAsync(1_000);
    await stopped;
  });

  it('keeps all shapes together within the ceiling', async () => {
    const { pool } = await filled({ target: 2, maxReady: 5 });
    for (const memoryMb of [1, 2, 3, 4]) await pool.lease({ ...SHAPE, memoryMb });
    await eventually('full stocks', () => pool.figures().ready === 5);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(pool.figures().ready).toBe(5);
    await pool.stop();
  });

  it('leaves room for the stocks of other shapes, however many jobs of the first come', async () => {
    const { pool } = await filled({ target: 2, maxReady: 6 });
    pool.retire(await pool.lease(OTHER));
    await Promise.all(Array.from({ length: 30 }, () => pool.lease(SHAPE)));
    await eventually('full stocks', () => pool.figures().ready === 6);
    const both = await Promise.all([pool.lease(OTHER), pool.lease(OTHER)]);
    expect(both.map(({ shape }) => shape)).toEqual([OTHER, OTHER]);
    await pool.stop();
  });

  it('has sandboxes that jobs wait for made before those for the stock', async () => {
    const { pool, engine } = aPool({ target: 3, maxReady: 3 }, 1);
    engine.isManual = true;
    pool.start();
    const leased = pool.lease(OTHER);
    await eventually('one creation', () => engine.pending.length === 1);
    engine.pending[0]?.succeed();
    await eventually('the next', () => engine.pending.length === 2);
    expect(engine.pending[1]?.order.shape).toEqual(OTHER);
    engine.pending[1]?.succeed();
    await leased;
    engine.isManual = false;
    await eventually('the next', () => engine.pending.length === 3);
    engine.pending[2]?.succeed();
    await pool.stop();
  });
});

describe('a job whose limits differ', () => {
  const different: Shape = { ...SHAPE, memoryMb: 200, cpus: 0.5, processes: 3 };

  it('gets a ready sandbox under changed limits, and no stock is made for it', async () => {
    const { pool, engine } = await filled({ target: 2 });
    engine.canChange = true;
    const sandbox = await pool.lease(different);
    expect(sandbox.shape).toEqual(different);
    expect(engine.updated).toEqual([different]);
    await eventually('a full stock', () => pool.figures().ready === 2);
    expect(engine.orders.map(({ shape }) => shape)).toEqual([SHAPE, SHAPE, SHAPE]);
    pool.retire(sandbox);
    await eventually('its end', () => engine.removed.includes(sandbox.nonce));
    await pool.stop();
  });

  it('gets one made for it where the engine cannot change what differs', async () => {
    const { pool, engine } = await filled({ target: 2 });
    engine.canChange = true;
    const sandbox = await pool.lease({ ...different, workspaceMb: 3 });
    expect(sandbox.shape.workspaceMb).toBe(3);
    expect(engine.updated).toEqual([]);
    await pool.stop();
  });

  it('gets one made for it where the change fails, and the half-changed one is removed', async () => {
    const { pool, engine } = await filled({ target: 2 });
    engine.canChange = true;
    engine.updateFailures.push(new Error('the runtime cannot'));
    const first = engine.orders[0]?.nonce ?? '';
    const sandbox = await pool.lease(different);
    expect(sandbox).toMatchObject({ shape: different, session: { isReady: true } });
    await eventually('its removal', () => engine.removed.includes(first));
    // The next few do not try what has just failed: a runtime that cannot must not cost a sandbox for each job.
    await pool.lease({ ...different, memoryMb: 201 });
    expect(engine.updated).toEqual([]);
    expect(engine.removed).toEqual([first]);
    await pool.stop();
  });

  it('is told that there is none when the pool is stopped meanwhile, and nothing is left', async () => {
    const { pool, engine } = await filled({ target: 2 });
    engine.canChange = true;
    engine.updateTakesMs = 20;
    const lease = pool.lease(different);
    lease.catch(() => {});
    const stopped = pool.stop();
    await expect(lease).rejects.toThrow(/DRAINING|CLOSED/);
    await stopped;
    expect(engine.existing.size).toBe(0);
  });
});

describe('the figures of a pool', () => {
  it('tell how old the oldest ready sandbox is', async () => {
    const { pool } = await filled({ target: 1 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(pool.figures().oldestMs).toBeGreaterThanOrEqual(25);
    expect(pool.figures().oldestMs).toBeLessThan(10_000);
    await pool.stop();
    expect(pool.figures().oldestMs).toBe(0);
  });

  it('say whether sandboxes can be made at present', async () => {
    const { pool, engine } = await filled({ target: 0, maxReady: 0 });
    await pool.lease(SHAPE);
    engine.creationFailures.push(new Error('a'), new Error('b'));
    await expect(pool.lease(SHAPE)).rejects.toThrow();
    await expect(pool.lease(SHAPE)).rejects.toThrow();
    expect(pool.isEngineFailing()).toBe(true);
    await pool.lease(SHAPE);
    expect(pool.isEngineFailing()).toBe(false);
    await pool.stop();
  });
});
