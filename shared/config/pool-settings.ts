/** The settings of a worker's slots and of the sandboxes that it keeps ready. */
import os from 'node:os';
import type { z } from 'zod';
import { integer, type Setting, setting } from './setting.ts';

const cores = os.availableParallelism();

export const POOL_SETTINGS = {
  COFFERDAM_SLOTS: setting(
    String(cores),
    integer(1, 1024),
    'Jobs that one worker runs at once. The default is the number of cores.',
  ),
  COFFERDAM_POOL_READY: setting(
    undefined,
    integer(0, 1024).optional(),
    'Sandboxes a worker keeps ready for each image in use, at least. Without it, as many as slots.',
  ),
  COFFERDAM_POOL_MAX_READY: setting(
    undefined,
    integer(0, 1024).optional(),
    'Sandboxes a worker keeps ready at most, however many jobs come. Without it, four for each slot, within a tenth of the memory.',
  ),
  COFFERDAM_POOL_MAX_AGE_MS: setting(
    '600000',
    integer(10_000, 3_600_000),
    'Age at which an unused ready sandbox is replaced.',
  ),
} as const satisfies Record<string, Setting>;

type Parsed = {
  [Name in keyof typeof POOL_SETTINGS]: z.output<(typeof POOL_SETTINGS)[Name]['schema']>;
};

export const leastReady = (is: Parsed): number =>
  is.COFFERDAM_POOL_READY ?? Math.min(is.COFFERDAM_SLOTS, is.COFFERDAM_POOL_MAX_READY ?? Infinity);

export function faultsOfPool(is: Parsed): string[] {
  const { COFFERDAM_POOL_READY: least = 0, COFFERDAM_POOL_MAX_READY: most = Infinity } = is;
  if (least <= most) return [];
  return [
    `COFFERDAM_POOL_READY: expected at most COFFERDAM_POOL_MAX_READY (${most}); came ${least}`,
  ];
}
