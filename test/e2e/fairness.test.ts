/** Whose turn it is: one tenant's many jobs hold up another's by a turn, and shares follow weights. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { startTenantServer } from '../helpers/tenants.ts';
import { type Batches, batchesOf, GROUPED, sh } from './batch-api.ts';
import { until, untilDone } from './watching.ts';

const SLOTS = 2;
const RESERVED_SLOTS = 1;
const SETTINGS = {
  COFFERDAM_SLOTS: String(SLOTS),
  COFFERDAM_RESERVED_SLOTS: String(RESERVED_SLOTS),
};

let server: Awaited<ReturnType<typeof startTenantServer<'many' | 'one' | 'light' | 'heavy'>>>;
const of = (name: keyof typeof server.keys): Batches =>
  batchesOf({ url: server.url, key: server.keys[name] });
beforeAll(async () => {
  server = await startTenantServer(
    { many: {}, one: {}, light: {}, heavy: { weight: 3 } },
    SETTINGS,
  );
});
afterAll(async () => expect(await server.stop()).toBe(0));

const startOf = ({ timing }: JobResult): number => Date.parse(timing.startedAt ?? '');
const acceptanceOf = ({ timing }: JobResult): number => Date.parse(timing.acceptedAt);
/** Of these jobs, how many started while that one waited. */
const overtaking = (jobs: readonly JobResult[], one: JobResult): number =>
  jobs.filter((job) => startOf(job) > acceptanceOf(one) && startOf(job) < startOf(one)).length;

/** A batch that has many jobs waiting and some ended. */
async function fill(many: Batches, job: object, count: number): Promise<string> {
  const jobs = Array.from({ length: count }, () => job);
  const { id } = await many.submit({ defaults: GROUPED, jobs });
  await until('it is under way', 30_000, async () => (await many.get(id)).counts.done > 2);
  return id;
}
async function endOf(many: Batches, id: string): Promise<JobResult[]> {
  await many.cancel(id);
  await many.untilOver(id);
  const lines = await many.results(id);
  return lines.filter(({ timing }) => timing.startedAt !== null);
}

describe('a tenant with two thousand jobs', () => {
  test.each(['bulk', 'interactive'] as const)(
    'in the %s lane holds up another by about one turn of the slots',
    async (lane) => {
      const [many, one] = [of('many'), of('one')];
      const id = await fill(many, { ...sh('sleep 0.15'), lane }, 2_000);
      const single: JobResult[] = [];
      for (let at = 0; at < 8; at++) single.push(await one.api.run({ ...sh('true'), lane }));
      expect((await many.get(id)).counts.queued).toBeGreaterThan(1_000);
      const jobs = await endOf(many, id);
      for (const job of single) {
        expect(overtaking(jobs, job)).toBeLessThanOrEqual(2 * (SLOTS + RESERVED_SLOTS));
      }
    },
  );

  test('is not held up itself: between the other’s jobs it has all slots', async () => {
    const [many, one] = [of('many'), of('one')];
    const id = await fill(many, sh('sleep 0.1'), 2_000);
    const before = (await many.get(id)).counts.done;
    for (let at = 0; at < 10; at++) await one.api.run({ ...sh('true'), lane: 'bulk' });
    expect((await many.get(id)).counts.done - before).toBeGreaterThanOrEqual(5);
    await endOf(many, id);
  });
});

test('tenants of weights 1 and 3 have about 1 and 3 of the starts while both wait', async () => {
  const [light, heavy] = [of('light'), of('heavy')];
  const job = sh('sleep 0.05');
  const blocker = await of('many').submit({ jobs: [sh('sleep 2'), sh('sleep 2')] });
  const jobs = Array.from({ length: 160 }, () => job);
  const sent = await Promise.all(
    [light, heavy].map((batches) => batches.submit({ defaults: GROUPED, jobs })),
  );
  const [ofLight = '', ofHeavy = ''] = sent.map(({ id }) => id);
  await until('three of four parts have run', 60_000, async () => {
    return (await heavy.get(ofHeavy)).counts.done >= 110;
  });
  const [lightJobs, heavyJobs] = [await endOf(light, ofLight), await endOf(heavy, ofHeavy)];
  await of('many').untilOver(blocker.id);
  const starts = [
    ...lightJobs.map((one) => ({ at: startOf(one), weight: 1 })),
    ...heavyJobs.map((one) => ({ at: startOf(one), weight: 3 })),
  ].toSorted((one, other) => one.at - other.at);
  const share = starts.slice(0, 120).filter(({ weight }) => weight === 3).length / 120;
  expect(share).toBeGreaterThan(0.68);
  expect(share).toBeLessThan(0.82);
});

test('an interactive job goes ahead of a full bulk lane by the reserved slot', async () => {
  const many = of('many');
  const jobs = Array.from({ length: 20 }, () => ({ ...sh('exec sleep 30'), timeoutMs: 60_000 }));
  const { id } = await many.submit({ jobs });
  await until('the bulk slots are full', 30_000, async () => {
    return (await many.get(id)).counts.running === SLOTS;
  });
  for (let at = 0; at < 5; at++) {
    expect(await many.api.run(sh('echo ahead'))).toMatchObject({ stdout: 'ahead\n' });
  }
  const bulk = await many.api.submit({ ...sh('echo behind'), lane: 'bulk' });
  const interactive = await many.api.run(sh('echo ahead'));
  expect(interactive.stdout).toBe('ahead\n');
  expect((await many.api.get(bulk.id)).state).toBe('queued');
  expect((await many.get(id)).counts).toMatchObject({ running: SLOTS, done: 0 });
  await many.cancel(id);
  expect((await untilDone(many.api, bulk.id)).stdout).toBe('behind\n');
  await many.untilOver(id);
});
