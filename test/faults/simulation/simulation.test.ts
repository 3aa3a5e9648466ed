/**
 * The life of jobs on the product's own code, over a Redis, an engine and a clock in memory, with every message, answer
 * and timer in an order that a seed gives, and with what goes wrong at any step of it.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { plan } from './plan.ts';
import { random } from './randomness.ts';
import { simulate } from './run.ts';
import { Tally } from './tally.ts';

vi.mock('bullmq', () => import('./queue.ts'));
vi.mock('node:crypto', async (original) => {
  const { randomBytes, randomUUID } = await import('./randomness.ts');
  return { ...(await original<typeof import('node:crypto')>()), randomBytes, randomUUID };
});
beforeEach(() => {
  vi.spyOn(Math, 'random').mockImplementation(random);
});
afterEach(() => {
  vi.restoreAllMocks();
});

const SEEDS = Number(process.env.SEEDS ?? 1000);

describe('a job', () => {
  it('keeps its promises', async () => {
    const tally = new Tally();
    try {
    await fc.assert(
      fc.asyncProperty(plan, fc.scheduler(), async (planned, scheduler) => {
        const { broken, world } = await simulate(scheduler, planned);
        expect(broken).toEqual([]);
        tally.add(world, planned.faults);
      }),
      { numRuns: SEEDS, endOnFailure: !process.env.SHRINK },
    );
    } finally { console.log(String(tally)); }
  }, 200_000);
});
