import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGate } from '../../../services/worker/pool/gate.ts';
import { createSweep } from '../../../services/worker/pool/sweep.ts';
import type { ListedSandbox } from '../../../services/worker/sandbox/sandbox.ts';
import { createLog } from '../../../shared/log.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { livingWorkers } from '../../../shared/queue/workers.ts';
import { eventually, silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { MemoryEngine } from './memory-engine.ts';

const ME = 'me';
const HERE = 'here';
const later = Date.now() + 3_600_000;
const one = (nonce: string, over: Partial<ListedSandbox> = {}): ListedSandbox => ({
  nonce,
  worker: ME,
  installation: HERE,
  uid: 1,
  deadlineMs: later,
  ...over,
});

/** What one sweep removes of these sandboxes. */
async function sweepOf(
  listed: ListedSandbox[],
  over: Partial<Parameters<typeof createSweep>[0]> = {},
) {
  const engine = new MemoryEngine();
  engine.listed = listed;
  let swept: number | undefined;
  const sweep = createSweep({
    engine,
    gate: createGate(2),
    clock: { nowMs: Date.now },
    worker: ME,
    installation: HERE,
    owns: (nonce) => nonce.startsWith('owned'),
    livingOf: async (ids) => new Set(ids.filter((id) => id.startsWith('alive'))),
    onSwept: (count) => {
      swept = count;
    },
    log: createLog('silent'),
    ...over,
  });
  sweep.start();
  await eventually('the sweep', () => swept !== undefined);
  await sweep.stop();
  return { removed: engine.removed.sort(), swept };
}

describe('the sweep', () => {
  it('removes what is ours by label but that our pool does not know', async () => {
    const { removed, swept } = await sweepOf([one('owned-1'), one('unknown'), one('owned-2')]);
    expect(removed).toEqual(['unknown']);
    expect(swept).toBe(1);
  });

  it('removes what a dead worker left, and leaves alone what a living one has', async () => {
    const listed = [one('a', { worker: 'dead' }), one('b', { worker: 'alive-1' })];
    expect((await sweepOf(listed)).removed).toEqual(['a']);
  });

  it('removes what outlived its own last moment, whoever made it', async () => {
    const deadlineMs = Date.now() - 60_000;
    const listed = [one('a', { worker: 'alive-1', deadlineMs }), one('b', { worker: 'alive-1' })];
    expect((await sweepOf(listed)).removed).toEqual(['a']);
  });

  it('gives its owner a moment to remove it first', async () => {
    const listed = [one('a', { worker: 'alive-1', deadlineMs: Date.now() - 10 })];
    expect((await sweepOf(listed)).removed).toEqual([]);
  });

  it('leaves alone what its own pool has, even past its last moment', async () => {
    const deadlineMs = Date.now() - 60_000;
    expect((await sweepOf([one('owned-old', { deadlineMs })])).removed).toEqual([]);
  });

  it('asks of each other worker once, and never of itself', async () => {
    const asked: (readonly string[])[] = [];
    const listed = [one('a', { worker: 'x' }), one('b', { worker: 'x' }), one('owned')];
    const livingOf = async (ids: readonly string[]) => {
      asked.push(ids);
      return new Set(ids);
    };
    await sweepOf(listed, { livingOf });
    expect(asked).toEqual([['x']]);
  });

  it('judges nobody dead when it cannot know who lives, but still its own and the overdue', async () => {
    const listed = [
      one('other', { worker: 'dead' }),
      one('overdue', { worker: 'dead', deadlineMs: Date.now() - 60_000 }),
      one('unknown'),
      one('owned'),
    ];
    const livingOf = () => Promise.reject(new Error('Redis is away'));
    expect((await sweepOf(listed, { livingOf })).removed).toEqual(['overdue', 'unknown']);
  });

  it('judges no worker of another installation, which speaks to another Redis, but its overdue', async () => {
    const there = { worker: 'dead', installation: 'there' };
    const listed = [one('a', there), one('b', { ...there, deadlineMs: Date.now() - 60_000 })];
    const asked: string[] = [];
    const livingOf = async (ids: readonly string[]) => {
      asked.push(...ids);
      return new Set<string>();
    };
    expect((await sweepOf(listed, { livingOf })).removed).toEqual(['b']);
    expect(asked).toEqual([]);
  });

  it('counts only what is gone', async () => {
    const engine = new MemoryEngine();
    engine.removalFailures.push(new Error('busy'));
    engine.listed = [one('a'), one('b')];
    expect((await sweepOf([], { engine })).swept).toBe(1);
  });
});

describe('a sweep whose Redis is away', () => {
  let server: TestRedis;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  it('knows the living while Redis is there', async () => {
    const redis = await server.connect();
    await redis.set(keys.worker('w1'), '{}');
    const listed = [one('a', { worker: 'w1' }), one('b', { worker: 'w2' })];
    const livingOf = (ids: readonly string[]) => livingWorkers(redis, ids);
    expect((await sweepOf(listed, { livingOf })).removed).toEqual(['b']);
  });

  it('neither waits for its return before it sweeps its own, nor holds up the stop of the worker', async () => {
    const patient = connectRedis({ socket: '/nonexistent/redis.sock' }, 'patient', silent);
    const engine = new MemoryEngine();
    engine.listed = [one('unknown'), one('other', { worker: 'w1' })];
    const sweep = createSweep({
      engine,
      gate: createGate(2),
      clock: { nowMs: Date.now },
      worker: ME,
      installation: HERE,
      owns: () => false,
      livingOf: (ids) => livingWorkers(patient, ids),
      onSwept: () => {},
      log: silent,
    });
    try {
      sweep.start();
      await new Promise((resolve) => setTimeout(resolve, 100));
      const late = new Promise((resolve) => setTimeout(resolve, 5_000, 'still waiting'));
      expect(await Promise.race([sweep.stop(), late])).toBeUndefined();
      expect(engine.removed).toEqual(['unknown']);
    } finally {
      patient.disconnect();
    }
  });
});
