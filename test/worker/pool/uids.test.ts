import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseUidBlock, createUids } from '../../../services/worker/pool/uids.ts';

const FIRST = 200_000;
const SIZE = 1024;
const BLOCKS = 4096;

describe('the uids of a worker', () => {
  it('are all different, and end', () => {
    const uids = createUids(FIRST);
    const taken = Array.from({ length: SIZE }, () => uids.take());
    expect(new Set(taken).size).toBe(SIZE);
    expect(Math.min(...taken)).toBe(FIRST);
    expect(Math.max(...taken)).toBe(FIRST + SIZE - 1);
    expect(() => uids.take()).toThrow('All 1024 uids of this worker are in use');
    uids.release(FIRST + 5);
    expect(uids.take()).toBe(FIRST + 5);
  });

  it('are released once: twice would give one uid to two sandboxes', () => {
    const uids = createUids(FIRST);
    const uid = uids.take();
    uids.release(uid);
    expect(() => uids.release(uid)).toThrow(`The uid ${uid} was released but is not taken.`);
    expect(() => uids.release(FIRST + 900)).toThrow('not taken');
    expect(() => uids.release(0)).toThrow('not taken');
  });

  it('are never held twice, in whatever order they are taken and released', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat())), (acts) => {
        const uids = createUids(FIRST);
        const held: number[] = [];
        for (const act of acts) {
          if (act === null || held.length === 0) {
            const uid = uids.take();
            expect(held).not.toContain(uid);
            held.push(uid);
          } else {
            uids.release(held.splice(act % held.length, 1)[0] as number);
          }
        }
      }),
    );
  });

  it('are used again as late as can be, so that what lingers of a sandbox meets no other', () => {
    const uids = createUids(FIRST);
    const first = uids.take();
    uids.release(first);
    expect(uids.take()).not.toBe(first);
  });
});

describe('the block of a worker', () => {
  it('is one that no sandbox on the engine has a uid of', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(BLOCKS * SIZE - 1)),
        fc.double({ min: 0, max: 0.9999, noNaN: true }),
        (taken, chance) => {
          const block = chooseUidBlock(
            taken.map((uid) => FIRST + uid),
            () => chance,
          );
          expect((block - FIRST) % SIZE).toBe(0);
          expect(block).toBeGreaterThanOrEqual(FIRST);
          for (const uid of taken) {
            expect(FIRST + uid < block || FIRST + uid >= block + SIZE).toBe(true);
          }
        },
      ),
    );
  });

  it('is chosen by chance, and past the last one comes the first', () => {
    expect(chooseUidBlock([], () => 0)).toBe(FIRST);
    const last = FIRST + (BLOCKS - 1) * SIZE;
    expect(chooseUidBlock([], () => 0.99999)).toBe(last);
    expect(chooseUidBlock([last], () => 0.99999)).toBe(FIRST);
  });

  it('does not exist once all are in use', () => {
    const all = Array.from({ length: BLOCKS }, (_, block) => FIRST + block * SIZE);
    expect(() => chooseUidBlock(all)).toThrow('All 4096 blocks of uids are in use');
  });
});
