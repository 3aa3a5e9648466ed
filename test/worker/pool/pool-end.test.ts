import { afterEach, describe, expect, it, vi } from 'vitest';
import { SandboxUnavailableError } from '../../../services/worker/sandbox/sandbox.ts';
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

describe('stopping a pool', () => {
  it('removes everything: ready, leased and being made, and is closed once that is confirmed', async () => {
    const { pool, engine, uids } = await filled({ target: 2 });
    await pool.lease(SHAPE);
    engine.isManual = true;
    const waiting = pool.lease(OTHER);
    waiting.catch(() => {});
    await eventually('a creation under way', () => engine.pending.length > 0);
    const stopped = pool.stop();
    expect(pool.figures().state).toBe('DRAINING');
    await expect(waiting).rejects.toThrow();
    for (const creation of engine.pending) creation.succeed();
    await stopped;
    expect(pool.figures()).toMatchObject({ state: 'CLOSED', ready: 0, leased: 0, creating: 0 });
    expect([...engine.existing.keys()]).toEqual([]);
    for (const { uid, nonce } of engine.orders) {
      expect(() => uids.release(uid)).toThrow('not taken');
      expect(pool.owns(nonce)).toBe(false);
    }
  });

  it('leaves nothing of a creation that fails meanwhile', async () => {
    const { pool, engine } = aPool({ target: 2 });
    engine.isManual = true;
    pool.start();
    await eventually('creations', () => engine.pending.length === 2);
    const stopped = pool.stop();
    engine.pending[0]?.fail();
    engine.pending[1]?.succeed();
    await stopped;
    expect(engine.existing.size).toBe(0);
    expect(engine.orders.every(({ nonce }) => !pool.owns(nonce))).toBe(true);
  });

  it('does not make what still waited for its turn', async () => {
    const { pool, engine } = aPool({ target: 20 }, 2);
    engine.isManual = true;
    pool.start();
    await eventually('creations', () => engine.pending.length === 2);
    const stopped = pool.stop();
    for (const creation of engine.pending) creation.succeed();
    await stopped;
    expect(engine.orders).toHaveLength(2);
    expect(engine.existing.size).toBe(0);
  });

  it('happens once, however often it is asked for', async () => {
    const { pool } = await filled();
    const both = [pool.stop(), pool.stop()];
    expect(both[0]).toBe(both[1]);
    await Promise.all(both);
    await pool.stop();
  });

  it('makes nothing more, and gives nothing more', async () => {
    const { pool, engine } = await filled();
    await pool.stop();
    const made = engine.orders.length;
    await expect(pool.lease(SHAPE)).rejects.toThrow(/CLOSED/);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(engine.orders).toHaveLength(made);
  });

  it('tells a job that still waits that it has no sandbox: nothing of it ran', async () => {
    const { pool, engine } = await filled({ target: 0, maxReady: 0 });
    engine.isManual = true;
    const waiting = pool.lease(SHAPE);
    waiting.catch(() => {});
    await eventually('the creation', () => engine.pending.length === 1);
    const stopped = pool.stop();
    engine.pending[0]?.succeed();
    await expect(waiting).rejects.toThrow(SandboxUnavailableError);
    await stopped;
  });

  it('lets a job that outlived the drain retire its sandbox without harm', async () => {
    const { pool } = await filled();
    const sandbox = await pool.lease(SHAPE);
    await pool.stop();
    expect(() => pool.retire(sandbox)).not.toThrow();
  });

  it('tries a removal that fails again before it gives up', async () => {
    const { pool, engine } = await filled({ target: 1 });
    engine.removalFailures.push(new Error('busy'));
    await pool.stop();
    expect(engine.existing.size).toBe(0);
  });
});

describe('the upkeep of the stock', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('replaces a ready sandbox that went away', async () => {
    const { pool, engine } = aPool({ target: 1 });
    engine.isManual = true;
    pool.start();
    await eventually('a creation', () => engine.pending.length === 1);
    const first = engine.pending[0]?.succeed();
    await eventually('it in stock', () => pool.figures().ready === 1);
    first?.disconnect();
    await eventually('another creation', () => engine.pending.length === 2);
    engine.pending[1]?.succeed();
    await eventually('the other in stock', () => pool.figures().ready === 1);
    expect(engine.removed).toEqual([first?.nonce]);
    engine.isManual = false;
    await pool.stop();
  });

  it('replaces what is older than it may be, and never leases it', async () => {
    vi.useFakeTimers();
    const { pool, engine } = aPool({ target: 2, maxAgeMs: 20_000 });
    pool.start();
    await vi.advanceTimersByTimeAsync(100);
    const old = engine.orders.map(({ nonce }) => nonce);
    expect(old).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(23_000);
    const leased = await pool.lease(SHAPE);
    expect(old).not.toContain(leased.nonce);
    await vi.advanceTimersByTimeAsync(4_000);
    expect(engine.removed.toSorted()).toEqual(old.toSorted());
    expect(pool.figures().ready).toBeGreaterThanOrEqual(2);
    const stopped = pool.stop();
    await vi.advanceTimersByTimeAsync(1_000);
    await stopped;
  });

  it('lets go the stock of a shape that no job asks for any more, and keeps the first', async () => {
    vi.useFakeTimers();
    const { pool, engine } = aPool({ target: 2, maxAgeMs: 10_000_000 });
    pool.start();
    pool.retire(await pool.lease(OTHER));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pool.figures().ready).toBe(4);
    await vi.advanceTimersByTimeAsync(310_000);
    expect(pool.figures()).toMatchObject({ ready: 2, state: 'READY' });
    expect([...engine.existing.values()].map(({ shape }) => shape)).toEqual([SHAPE, SHAPE]);
    const stopped = pool.stop();
    await vi.advanceTimersByTimeAsync(1_000);
    await stopped;
    expect(vi.getTimerCount()).toBe(0);
  });
});
