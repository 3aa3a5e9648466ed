import { describe, expect, it } from 'vitest';
import { createGate } from '../../../services/worker/pool/gate.ts';
import { createRemover } from '../../../services/worker/pool/remover.ts';
import { createUids } from '../../../services/worker/pool/uids.ts';
import { createLog } from '../../../shared/log.ts';
import { eventually } from '../../shared/queue/redis.ts';
import { MemoryEngine } from './memory-engine.ts';

function aRemover(over: { turnMs?: number } = {}) {
  const engine = new MemoryEngine();
  const uids = createUids(1000);
  const gate = createGate(2);
  const remover = createRemover({ engine, gate, uids, log: createLog('silent'), ...over });
  return { engine, uids, remover };
}
const failures = (count: number): Error[] =>
  Array.from({ length: count }, () => new Error('the engine is away'));

describe('a removal', () => {
  it('frees the uid and says so once the sandbox is gone', async () => {
    const { engine, uids, remover } = aRemover();
    const uid = uids.take();
    let isGone = false;
    remover.remove({ nonce: 'n', uid }, () => {
      isGone = true;
    });
    expect(remover.pending).toBe(1);
    await eventually('its end', () => isGone);
    expect(engine.removed).toEqual(['n']);
    expect(() => uids.release(uid)).toThrow('not taken');
    await eventually('none pending', () => remover.pending === 0);
  });

  it('that fails is tried again until it succeeds, and the uid stays taken meanwhile', async () => {
    const { engine, uids, remover } = aRemover();
    const uid = uids.take();
    engine.removalFailures.push(...failures(2));
    let isGone = false;
    remover.remove({ nonce: 'n', uid }, () => {
      isGone = true;
    });
    await eventually('the first try', () => engine.removalFailures.length === 1);
    const others = Array.from({ length: 1023 }, () => uids.take());
    expect(others).not.toContain(uid);
    expect(() => uids.take()).toThrow('in use');
    expect(isGone).toBe(false);
    await eventually('its end', () => isGone);
    expect(uids.take()).toBe(uid);
  });

  it('that hangs has its turn at the gate and no more: others go on, and it is in quarantine', async () => {
    const { engine, uids, remover } = aRemover({ turnMs: 50 });
    const hung = ['h1', 'h2', 'h3'];
    engine.hangs = (nonce) => hung.includes(nonce);
    for (const nonce of hung) remover.remove({ nonce, uid: uids.take() }, () => {});
    const uid = uids.take();
    remover.remove({ nonce: 'n', uid }, () => {});
    await eventually('the one behind them', () => engine.removed.includes('n'));
    expect(remover.pending).toBe(3);
    await eventually('quarantine', () => remover.quarantined === 3);
    engine.letGo();
    await eventually('all gone', () => remover.pending === 0);
    expect(remover.quarantined).toBe(0);
  });

  it('is waited for when the worker stops', async () => {
    const { engine, uids, remover } = aRemover();
    for (const nonce of ['a', 'b', 'c']) remover.remove({ nonce, uid: uids.take() }, () => {});
    await remover.stop();
    expect(engine.removed.sort()).toEqual(['a', 'b', 'c']);
    expect(remover.pending).toBe(0);
  });

  it('that goes on failing holds up a stop no longer than a few tries, and leaves the uid taken', async () => {
    const { engine, uids, remover } = aRemover();
    engine.removalFailures.push(...failures(100));
    const uid = uids.take();
    let isGone = false;
    remover.remove({ nonce: 'n', uid }, () => {
      isGone = true;
    });
    const startedAt = Date.now();
    await remover.stop();
    expect(Date.now() - startedAt).toBeLessThan(5000);
    expect(isGone).toBe(false);
    expect(() => uids.release(uid)).not.toThrow();
  });
});
