import { describe, expect, it } from 'vitest';
import { SandboxUnavailableError } from '../../../services/worker/sandbox/sandbox.ts';
import { eventually } from '../../shared/queue/redis.ts';
import { aPool } from './a-pool.ts';
import { SHAPE } from './memory-engine.ts';

const OTHER = { ...SHAPE, memoryMb: 128 };

/** A started pool whose stock is full. */
async function readyPool(...options: Parameters<typeof aPool>) {
  const made = aPool(...options);
  made.pool.start();
  await eventually('a full stock', () => made.pool.figures().state === 'READY');
  return made;
}

describe('the stock', () => {
  it('is filled to its target, and no further', async () => {
    const { pool, engine } = await readyPool({ target: 3 });
    expect(pool.figures()).toMatchObject({ ready: 3, creating: 0, leased: 0, state: 'READY' });
    expect(engine.orders).toHaveLength(3);
    await pool.stop();
  });

  it('may be empty: then every job has its sandbox made', async () => {
    const { pool, engine } = await readyPool({ target: 0, maxReady: 0 });
    expect(engine.orders).toHaveLength(0);
    const sandbox = await pool.lease(SHAPE);
    expect(engine.orders.map(({ nonce }) => nonce)).toEqual([sandbox.nonce]);
    await pool.stop();
  });

  it('gives each sandbox a uid, a nonce and a last moment of its own', async () => {
    const before = Date.now();
    const { pool, engine } = await readyPool({ target: 4, maxAgeMs: 1000, maxLifeMs: 500 });
    expect(new Set(engine.orders.map(({ uid }) => uid)).size).toBe(4);
    expect(new Set(engine.orders.map(({ nonce }) => nonce)).size).toBe(4);
    for (const { deadlineMs } of engine.orders) {
      expect(deadlineMs).toBeGreaterThanOrEqual(before + 1500);
    }
    await pool.stop();
  });

  it('passes through one gate: no more calls at once than that lets through', async () => {
    const { pool, engine } = await readyPool({ target: 20 }, 3);
    expect(engine.mostAtOnce).toBe(3);
    await pool.stop();
    expect(engine.mostAtOnce).toBe(3);
  });
});

describe('a lease', () => {
  it('takes what is ready, the oldest first, and the stock is filled again', async () => {
    const { pool, engine } = await readyPool();
    const sandbox = await pool.lease(SHAPE);
    expect(sandbox.nonce).toBe(engine.orders[0]?.nonce);
    expect(pool.figures()).toMatchObject({ leased: 1 });
    await eventually('two ready again', () => pool.figures().ready === 2);
    expect(engine.orders).toHaveLength(3);
    await pool.stop();
  });

  it('of a ready one waits for nothing, not even a turn of the event loop', async () => {
    const { pool } = await readyPool();
    let hasTurned = false;
    setImmediate(() => {
      hasTurned = true;
    });
    await pool.lease(SHAPE);
    expect(hasTurned).toBe(false);
    await pool.stop();
  });

  it('never takes one sandbox twice', async () => {
    const { pool } = await readyPool({ target: 3 });
    const sandboxes = await Promise.all(Array.from({ length: 12 }, () => pool.lease(SHAPE)));
    expect(new Set(sandboxes.map(({ nonce }) => nonce)).size).toBe(12);
    expect(new Set(sandboxes.map(({ uid }) => uid)).size).toBe(12);
    await pool.stop();
  });

  it('of another shape gets a sandbox of that shape, and a stock of its own is kept', async () => {
    const { pool } = await readyPool();
    const sandbox = await pool.lease(OTHER);
    expect(sandbox.shape).toEqual(OTHER);
    await eventually('stock of both shapes', () => pool.figures().ready === 4);
    await pool.stop();
  });

  it('that waits is served by whatever is ready first, in the order of asking', async () => {
    const { pool, engine } = aPool({ target: 1, maxReady: 1 });
    engine.isManual = true;
    pool.start();
    const order: string[] = [];
    const waiting = ['first', 'second'].map((name) =>
      pool.lease(SHAPE).then((sandbox) => {
        order.push(name);
        return sandbox;
      }),
    );
    await eventually('three creations', () => engine.pending.length === 3);
    const late = engine.pending[2]?.succeed();
    const early = engine.pending[0]?.succeed();
    expect(await Promise.all(waiting)).toEqual([late, early]);
    expect(order).toEqual(['first', 'second']);
    engine.pending[1]?.succeed();
    await eventually('the third in stock', () => pool.figures().ready === 1);
    engine.isManual = false;
    await pool.stop();
  });

  it('is not given a ready sandbox whose guest broke off, even before its stream has closed', async () => {
    const { pool, engine } = aPool({ target: 1 });
    engine.isManual = true;
    pool.start();
    await eventually('a creation', () => engine.pending.length === 1);
    const broken = engine.pending[0]?.succeed();
    await eventually('it in stock', () => pool.figures().ready === 1);
    broken?.session.fail(new Error('a bad frame'));
    engine.isManual = false;
    const leased = await pool.lease(SHAPE);
    expect(leased.nonce).not.toBe(broken?.nonce);
    await eventually('its removal', () => engine.removed.includes(broken?.nonce ?? ''));
    await pool.stop();
  });
});

describe('the end of a lease', () => {
  it('removes the sandbox, frees its uid and forgets its nonce, in that order', async () => {
    const { pool, engine } = await readyPool();
    const sandbox = await pool.lease(SHAPE);
    expect(pool.owns(sandbox.nonce)).toBe(true);
    pool.retire(sandbox);
    expect(pool.owns(sandbox.nonce)).toBe(true);
    await eventually('the removal', () => !pool.owns(sandbox.nonce));
    expect(engine.removed).toContain(sandbox.nonce);
    expect(sandbox.session.isReady).toBe(false);
    expect(pool.figures().leased).toBe(0);
    await pool.stop();
  });

  it('comes once: a second is a defect, and said loudly', async () => {
    const { pool } = await readyPool();
    const sandbox = await pool.lease(SHAPE);
    pool.retire(sandbox);
    expect(() => pool.retire(sandbox)).toThrow(/retired but is not leased/);
    await pool.stop();
  });
});

describe('an engine that fails', () => {
  it('is told to the job that waits at once, as a sandbox that is not to be had', async () => {
    const { pool, engine } = await readyPool({ target: 0, maxReady: 0 });
    engine.creationFailures.push(new SandboxUnavailableError('the engine is away'));
    await expect(pool.lease(SHAPE)).rejects.toThrow('the engine is away');
    expect(pool.figures()).toMatchObject({ engineFailing: true, leased: 0, creating: 0 });
    expect((await pool.lease(SHAPE)).session.isReady).toBe(true);
    expect(pool.figures().engineFailing).toBe(false);
    await pool.stop();
  });

  it('tells the job the same whatever was thrown, so that it is handed back and not lost', async () => {
    const { pool, engine } = await readyPool({ target: 0, maxReady: 0 });
    engine.creationFailures.push(new Error('All 1024 uids of this worker are in use.'));
    await expect(pool.lease(SHAPE)).rejects.toThrow(SandboxUnavailableError);
    await pool.stop();
  });

  it('frees the uid of what it half made once that is confirmed gone', async () => {
    const { pool, engine, uids } = await readyPool({ target: 0, maxReady: 0 });
    engine.creationFailures.push(new SandboxUnavailableError('no'));
    await pool.lease(SHAPE).catch(() => {});
    const failed = engine.orders[0];
    await eventually('the removal', () => !pool.owns(failed?.nonce ?? ''));
    expect(engine.removed).toEqual([failed?.nonce]);
    expect(() => uids.release(failed?.uid ?? 0)).toThrow('not taken');
    await pool.stop();
  });

  it('goes on serving what is ready, pauses, and fills the stock again', async () => {
    const { pool, engine } = await readyPool({ target: 2 });
    engine.creationFailures.push(new Error('a'), new Error('b'));
    await pool.lease(SHAPE);
    await pool.lease(SHAPE);
    await eventually('a failure', () => pool.figures().engineFailing);
    const afterFailure = engine.orders.length;
    expect(pool.figures().state).toBe('FILLING');
    await eventually('a full stock again', () => pool.figures().ready === 2);
    expect(engine.orders.length).toBeGreaterThanOrEqual(afterFailure);
    expect(pool.figures().engineFailing).toBe(false);
    await pool.stop();
  });

  it('is asked no more often the longer it fails', async () => {
    const { pool, engine } = aPool({ target: 1 });
    engine.creationFailures.push(...Array.from({ length: 1000 }, () => new Error('no')));
    pool.start();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(engine.orders.length).toBeGreaterThan(0);
    expect(engine.orders.length).toBeLessThan(8);
    engine.creationFailures.length = 0;
    await pool.stop();
  });
});
