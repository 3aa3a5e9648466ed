import { afterEach, describe, expect, it, vi } from 'vitest';
import { Groups, REUSE } from '../../../services/worker/pool/groups.ts';
import type { GuestSink } from '../../../services/worker/protocol/conversation.ts';
import type { Sandbox } from '../../../services/worker/sandbox/sandbox.ts';
import { createLog } from '../../../shared/log.ts';
import { done, started, stepEnd } from '../protocol/frames.ts';
import { aPool } from './a-pool.ts';
import { SHAPE } from './memory-engine.ts';

const REUSABLE = { isReusable: true };
const SINK = { onStarted() {} } as unknown as GuestSink;

function someGroups(slots = 4, ready = 2) {
  const { pool, engine } = aPool({ target: ready, maxReady: ready });
  const groups = new Groups({ pool, slots, log: createLog('silent') });
  groups.start();
  /** A lease and a job to its end, all but the retirement. */
  const runIn = async (group: string | null, shape = SHAPE): Promise<Sandbox> => {
    const sandbox = await groups.lease({ shape, group });
    const report = sandbox.session.run({ encoded: Buffer.alloc(0), stdin: [null], sink: SINK });
    sandbox.session.receive(Buffer.concat([started(0), stepEnd(), done()]));
    await report;
    return sandbox;
  };
  return { groups, engine, runIn };
}

const aMoment = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('a sandbox of a group', () => {
  it('runs the next job of its group, reset in between', async () => {
    const { groups, engine, runIn } = someGroups();
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    await aMoment();
    expect(groups.figures()).toMatchObject({ kept: 1, leased: 0 });
    const second = await runIn('a');
    expect(second).toBe(first);
    expect(engine.resets).toBe(1);
    expect(groups.figures()).toMatchObject({ kept: 0, leased: 1 });
    await groups.stop();
    expect(engine.existing.size).toBe(0);
  });

  it('is spared the wait for a reset by a ready one, one more than there are slots', async () => {
    const { groups, engine, runIn } = someGroups(1);
    await aMoment();
    engine.reset = 'late';
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    const spare = await groups.lease({ shape: SHAPE, group: 'a' });
    expect(spare).not.toBe(first);
    const next = groups.lease({ shape: SHAPE, group: 'a' });
    await aMoment();
    engine.endResets();
    expect(await next).toBe(first);
    await groups.stop();
  });

  it('is awaited while it is reset, rather than another one made', async () => {
    const { groups, engine, runIn } = someGroups(4, 0);
    engine.reset = 'late';
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    const next = groups.lease({ shape: SHAPE, group: 'a' });
    const other = await groups.lease({ shape: SHAPE, group: 'a' });
    expect(other).not.toBe(first);
    engine.endResets();
    expect(await next).toBe(first);
    await groups.stop();
  });

  it.each([
    ['another group', 'b', SHAPE],
    ['no group', null, SHAPE],
    ['another shape', 'a', { ...SHAPE, memoryMb: 100 }],
  ])('is never given to %s', async (_, group, shape) => {
    const { groups, runIn } = someGroups();
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    await aMoment();
    expect(await runIn(group, shape)).not.toBe(first);
    expect(await runIn('a')).toBe(first);
    await groups.stop();
  });

  it('runs one job at a time: two at once have two', async () => {
    const { groups, runIn } = someGroups();
    const both = await Promise.all([runIn('a'), runIn('a')]);
    expect(both[0]).not.toBe(both[1]);
    await groups.stop();
  });

  it('is taken again at once: a lease waits for nothing, not even a turn of the event loop', async () => {
    const { groups, runIn } = someGroups();
    groups.retire(await runIn('a'), REUSABLE);
    await aMoment();
    let hasTurned = false;
    setImmediate(() => {
      hasTurned = true;
    });
    await groups.lease({ shape: SHAPE, group: 'a' });
    expect(hasTurned).toBe(false);
    await groups.stop();
  });
});

describe('a sandbox of a group goes', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('at once where it may not be used again', async () => {
    const { groups, engine, runIn } = someGroups();
    const first = await runIn('a');
    groups.retire(first, { isReusable: false });
    await vi.waitFor(() => expect(engine.removed).toContain(first.nonce));
    expect(engine.resets).toBe(0);
    expect(await runIn('a')).not.toBe(first);
    await groups.stop();
  });

  it('after its lease without a group, whatever is said of it', async () => {
    const { groups, engine, runIn } = someGroups();
    const sandbox = await runIn(null);
    groups.retire(sandbox, REUSABLE);
    await vi.waitFor(() => expect(engine.removed).toContain(sandbox.nonce));
    await groups.stop();
  });

  it('after a reset that failed, and the job that waited for it has a fresh one', async () => {
    const { groups, engine, runIn } = someGroups();
    engine.reset = 'dirty';
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    const second = await runIn('a');
    expect(second).not.toBe(first);
    groups.retire(second, REUSABLE);
    const both = expect.arrayContaining([first.nonce, second.nonce]);
    await expect.poll(() => engine.removed).toEqual(both);
    expect(groups.figures()).toMatchObject({ kept: 0, leased: 0 });
    await groups.stop();
  });

  it('after a reset that takes too long, whether a job waits for it or not', async () => {
    vi.useFakeTimers();
    const { groups, engine, runIn } = someGroups();
    engine.reset = 'late';
    const [one, other] = [await runIn('a'), await runIn('b')];
    groups.retire(one, REUSABLE);
    groups.retire(other, REUSABLE);
    const waiting = runIn('a');
    await vi.advanceTimersByTimeAsync(REUSE.resetMs - 1_000);
    expect(engine.removed).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_500);
    expect((await waiting).nonce).not.toBe(one.nonce);
    expect(engine.removed.toSorted()).toEqual([one.nonce, other.nonce].toSorted());
    await stopped(groups);
  });

  it('when no job of its group has come for a while', async () => {
    vi.useFakeTimers();
    const { groups, engine, runIn } = someGroups();
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    await vi.advanceTimersByTimeAsync(REUSE.idleMs - 1_500);
    expect(groups.figures().kept).toBe(1);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(groups.figures().kept).toBe(0);
    expect(engine.removed).toEqual([first.nonce]);
    await stopped(groups);
  });

  it('after its jobs are counted out', async () => {
    const { groups, engine, runIn } = someGroups(4, 0);
    const first = await runIn('a');
    for (let job = 1; job < REUSE.jobs; job++) {
      groups.retire(first, REUSABLE);
      expect(await runIn('a')).toBe(first);
    }
    groups.retire(first, REUSABLE);
    expect(await runIn('a')).not.toBe(first);
    await vi.waitFor(() => expect(engine.removed).toContain(first.nonce));
    await groups.stop();
  });

  it('when it is old, counted from its first lease', async () => {
    vi.useFakeTimers();
    const { groups, engine, runIn } = someGroups();
    const first = await runIn('a');
    for (let ms = 0; ms < REUSE.ageMs - 4_000; ms += 3_000) {
      groups.retire(first, REUSABLE);
      await vi.advanceTimersByTimeAsync(3_000);
      expect(await runIn('a')).toBe(first);
    }
    await vi.advanceTimersByTimeAsync(5_000);
    groups.retire(first, REUSABLE);
    await vi.advanceTimersByTimeAsync(100);
    expect(engine.removed).toEqual([first.nonce]);
    await stopped(groups);
  });

  it('when there are more idle ones than slots and a spare: a hundred groups do not fill the host', async () => {
    const { groups, engine, runIn } = someGroups(3);
    const nonces: string[] = [];
    for (let at = 0; at < 100; at++) {
      const sandbox = await runIn(`group ${at}`);
      nonces.push(sandbox.nonce);
      groups.retire(sandbox, REUSABLE);
      await new Promise((resolve) => setImmediate(resolve));
      expect(groups.figures().kept).toBeLessThanOrEqual(4);
    }
    await vi.waitFor(() => expect(engine.removed).toHaveLength(96));
    for (const nonce of nonces.slice(-4)) expect(engine.existing.has(nonce)).toBe(true);
    await groups.stop();
    expect(engine.existing.size).toBe(0);
  });

  it('when its guest goes away while it is idle', async () => {
    const { groups, engine, runIn } = someGroups();
    const first = await runIn('a');
    groups.retire(first, REUSABLE);
    await aMoment();
    first.disconnect();
    expect(await runIn('a')).not.toBe(first);
    await vi.waitFor(() => expect(engine.removed).toEqual([first.nonce]));
    await groups.stop();
  });

  it('when the worker stops, and a job that ends after that keeps nothing', async () => {
    const { groups, engine, runIn } = someGroups();
    groups.retire(await runIn('a'), REUSABLE);
    const late = await runIn('b');
    const stop = groups.stop();
    expect(() => groups.retire(late, REUSABLE)).not.toThrow();
    await stop;
    expect(engine.existing.size).toBe(0);
    expect(groups.figures()).toMatchObject({ kept: 0, leased: 0, state: 'CLOSED' });
  });
});

async function stopped(groups: Groups): Promise<void> {
  const stop = groups.stop();
  await vi.advanceTimersByTimeAsync(1_000);
  await stop;
  expect(vi.getTimerCount()).toBe(0);
}
