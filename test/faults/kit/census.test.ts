import { describe, expect, test } from 'vitest';
import { type Census, leftIn } from './census.ts';

const EMPTY: Census = { containers: [], volumes: [], orphans: [], processes: {}, keys: {} };
const STOCK = 2;
const left = (after: Partial<Census>, before: Partial<Census> = {}): string[] =>
  leftIn({ ...EMPTY, ...before }, { ...EMPTY, ...after }, STOCK);

describe('a census', () => {
  test('has nothing left where what is there was there before, or may be', () => {
    const before: Partial<Census> = {
      orphans: ['shim of another'],
      processes: { 'api 1': { descriptors: 20, megabytes: 100 } },
      keys: { 'queue:bulk:*': 3 },
    };
    const after: Partial<Census> = {
      containers: ['one', 'two'],
      orphans: ['shim of another'],
      processes: {
        'api 1': { descriptors: 21, megabytes: 110 },
        'worker 2': { descriptors: 90, megabytes: 200 },
      },
      keys: { 'queue:bulk:*': 3, 'lane:bulk': 1 },
    };
    expect(left(after, before)).toEqual([]);
  });

  test.each<[string, Partial<Census>, Partial<Census>, string]>([
    ['sandboxes beyond the stock', { containers: ['a', 'b', 'c'] }, {}, '3 sandboxes'],
    ['a volume', { volumes: ['v'] }, {}, 'volumes: v'],
    ['a cgroup of a container that is gone', { orphans: ['cgroup x'] }, {}, 'orphans: cgroup x'],
    [
      'descriptors of a process',
      { processes: { 'api 1': { descriptors: 60, megabytes: 1 } } },
      { processes: { 'api 1': { descriptors: 20, megabytes: 1 } } },
      '60 descriptors',
    ],
    [
      'memory of a process',
      { processes: { 'api 1': { descriptors: 1, megabytes: 900 } } },
      { processes: { 'api 1': { descriptors: 1, megabytes: 100 } } },
      '900 MiB',
    ],
    [
      'keys of single jobs',
      { keys: { 'queue:bulk:*': 4 } },
      { keys: { 'queue:bulk:*': 3 } },
      '4 keys',
    ],
    ['an open job', { keys: { running: 1 } }, { keys: { running: 1 } }, '1 keys running'],
  ])('finds %s', (_what, after, before, expected) => {
    expect(left(after, before)).toEqual([expect.stringContaining(expected)]);
  });
});
