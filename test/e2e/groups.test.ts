/** Jobs of one group may have one sandbox after another; others never do, and what ended badly is never used again. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { Outcome } from '../../shared/contract/result.ts';
import type { Caller } from '../helpers/server.ts';
import { startTenantServer } from '../helpers/tenants.ts';
import { batchesOf, GROUPED, sh } from './batch-api.ts';
import { NO_SPARES, sandboxesByJob, sandboxOf } from './sandbox-log.ts';
import { untilDone, untilRunning } from './watching.ts';

const SETTINGS = { COFFERDAM_SLOTS: '2', COFFERDAM_STREAM_BYTES: '1048576', ...NO_SPARES };

let server: Awaited<ReturnType<typeof startTenantServer<'one' | 'two'>>>;
let one: Caller;
let two: Caller;
beforeAll(async () => {
  server = await startTenantServer({ one: {}, two: {} }, SETTINGS);
  ({ one, two } = server.callers);
});
afterAll(async () => expect(await server.stop()).toBe(0));

let groups = 0;
const freshGroup = (): { isolation: 'group'; group: string } => ({
  ...GROUPED,
  group: `group-${groups++}`,
});
/** Runs it to its end; the sandbox that it had. */
async function ran(api: Caller, job: JobRequestInput): Promise<string> {
  const { id, outcome } = await api.run(job);
  expect(outcome).toEqual({ kind: 'exited', exitCode: 0 });
  return sandboxOf(server, id);
}
/** Text without a line end is kept whole until there is one. */
const HOG = 'head -c 300000000 /dev/zero | tail > /dev/null';
const quick = { command: ['true'] };

describe('a sandbox', () => {
  test('is shared by jobs of one group, one after another', async () => {
    const group = freshGroup();
    const first = await ran(one, { ...quick, ...group });
    for (let again = 0; again < 5; again++) {
      expect(await ran(one, { ...quick, ...group })).toBe(first);
    }
  });

  test('is never shared by two groups, nor by two tenants with one name for theirs', async () => {
    const [a, b] = [freshGroup(), freshGroup()];
    const kinds = [
      { name: 'one a', api: one, group: a },
      { name: 'one b', api: one, group: b },
      { name: 'two a', api: two, group: a },
      { name: 'two b', api: two, group: b },
    ];
    const jobs = await Promise.all(
      Array.from({ length: 80 }, async (_, at) => {
        const { name, api, group } = kinds[at % kinds.length] ?? expect.unreachable();
        return { name, sandbox: await ran(api, { ...quick, ...group }) };
      }),
    );
    const used = new Set(jobs.map(({ sandbox }) => sandbox));
    const users = new Set(jobs.map(({ sandbox, name }) => `${sandbox} ${name}`));
    expect(users.size).toBe(used.size);
    // Many were shared, or this says nothing.
    expect(used.size).toBeLessThan(60);
  });

  test('is never shared by jobs without a group', async () => {
    const seen = [];
    for (let at = 0; at < 6; at++) seen.push(await ran(one, quick));
    expect(new Set(seen).size).toBe(6);
  });

  test('is not shared by a job of the group that wants another shape', async () => {
    const group = freshGroup();
    const first = await ran(one, { ...quick, ...group });
    const small = { ...quick, ...group, limits: { memoryMb: 64 } };
    const second = await ran(one, small);
    const third = await ran(one, { ...quick, ...group, image: 'python' });
    expect(new Set([first, second, third]).size).toBe(3);
    expect(await ran(one, { ...quick, ...group })).toBe(first);
    expect(await ran(one, small)).toBe(second);
  });

  test('is a batch’s own when the batch names no group', async () => {
    const batches = batchesOf({ url: server.url, key: server.keys.one });
    const jobs = Array.from({ length: 20 }, () => quick);
    const sent = await Promise.all([1, 2].map(() => batches.submit({ defaults: GROUPED, jobs })));
    const used = await Promise.all(
      sent.map(async ({ id }) => {
        await batches.untilOver(id);
        const ids = (await batches.results(id)).map((line) => line.id);
        for (const job of ids) await sandboxOf(server, job);
        return new Set(ids.map((job) => sandboxesByJob(server).get(job)));
      }),
    );
    const [first = new Set(), second = new Set()] = used;
    expect([...first].filter((sandbox) => second.has(sandbox))).toEqual([]);
    expect(first.size).toBeLessThan(20);
  });
});

describe('a sandbox is never used again', () => {
  /** The sandbox that the job ended in is shared before, and not after. */
  async function expectRetired(job: JobRequestInput, kind: Outcome['kind']): Promise<void> {
    const group = freshGroup();
    const before = await ran(one, { ...quick, ...job, ...sh('true'), ...group });
    const bad = await one.run({ ...job, ...group });
    expect(bad.outcome?.kind).toBe(kind);
    expect(await sandboxOf(server, bad.id)).toBe(before);
    for (let after = 0; after < 3; after++) {
      expect(await ran(one, { ...job, ...sh('true'), ...group })).not.toBe(before);
    }
  }

  test('after a timeout', () => expectRetired({ ...sh('sleep 20'), timeoutMs: 500 }, 'timed_out'));

  test('after too much processor time', () =>
    expectRetired({ ...sh('while :; do :; done'), limits: { cpuMs: 300 } }, 'timed_out'));

  test('after too much memory', () =>
    expectRetired({ ...sh(HOG), limits: { memoryMb: 64 } }, 'out_of_memory'));

  test('after too much output', () => expectRetired(sh('cat /dev/zero'), 'output_limit'));

  test('after a program that could not be started', () =>
    expectRetired({ command: ['/none'] }, 'could_not_start'));

  test('after a child was killed for its memory, though the program ended well', async () => {
    const group = { ...freshGroup(), limits: { memoryMb: 64 } };
    const before = await ran(one, { ...quick, ...group });
    const script = `${HOG}; exit 0`;
    expect(await ran(one, { ...sh(script), ...group })).toBe(before);
    expect(await ran(one, { ...quick, ...group })).not.toBe(before);
  });

  test('after its job was cancelled', async () => {
    const group = freshGroup();
    const before = await ran(one, { ...quick, ...group });
    const { id } = await one.submit({ ...sh('exec sleep 50'), timeoutMs: 60_000, ...group });
    await untilRunning(one, id);
    await one.send(`/v1/jobs/${id}`, { method: 'DELETE' });
    expect((await untilDone(one, id)).outcome?.kind).toBe('cancelled');
    expect(await sandboxOf(server, id)).toBe(before);
    expect(await ran(one, { ...quick, ...group })).not.toBe(before);
  });

  test('but it is after a program that failed by itself', async () => {
    const group = freshGroup();
    const before = await ran(one, { ...quick, ...group });
    for (const script of ['exit 3', 'kill -9 $$', 'kill -SEGV $$', 'exit 137']) {
      const { id } = await one.run({ ...sh(script), ...group });
      expect(await sandboxOf(server, id)).toBe(before);
    }
    expect(await ran(one, { ...quick, ...group })).toBe(before);
  });
});
