/**
 * The life of jobs on the product's own code and scripts, over a Redis, an engine and a clock in memory: every message,
 * answer and timer in an order that a seed gives, and what goes wrong at any step of it.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { plan } from './plan.ts';
import { random } from './randomness.ts';
import { asked, forEachSeed } from './replay.ts';
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

describe('simulated', () => {
  it('every accepted job ends once, as its last start said, is started as often as promised, and leaves nothing', async () => {
    const tally = new Tally();
    const parameters = asked();
    await forEachSeed(
      fc.asyncProperty(plan, fc.scheduler(), async (planned, scheduler) => {
        const { world, broken } = await simulate(scheduler, planned);
        expect(broken, world.wire.trace.slice(-200).join('\n')).toEqual([]);
        tally.add(world, planned.faults);
      }),
      parameters,
    );
    process.stdout.write(`${tally}\n`);
    if (parameters.path === undefined) expect(tally.unseen()).toEqual([]);
  });

  it('the same seed is the same run, message for message', async () => {
    const traceOf = async (seed: number): Promise<string[]> => {
      const traces: string[] = [];
      const property = fc.asyncProperty(plan, fc.scheduler(), async (planned, scheduler) => {
        traces.push(...(await simulate(scheduler, planned)).world.wire.trace);
      });
      await fc.assert(property, { seed, numRuns: 3 });
      return traces;
    };
    const first = await traceOf(1);
    expect(await traceOf(1)).toEqual(first);
    expect(await traceOf(2)).not.toEqual(first);
  });
});
