import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { batchJobId, judgeLine } from '../../services/api/batch-job.ts';
import { type BatchOptions, batchOptions } from '../../shared/contract/batch.ts';
import { type JobSpec, parseSpec } from '../../shared/contract/spec.ts';
import type { AppError } from '../../shared/errors.ts';
import { newBatchId } from '../shared/queue/batch.ts';
import { startRedis, type TestRedis } from '../shared/queue/redis.ts';
import { caller, createBatchParts } from './batch-parts.ts';

let server: TestRedis;
let redis: Redis;
let parts: ReturnType<typeof createBatchParts>;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
  parts = createBatchParts(redis);
});
afterAll(async () => {
  await parts.stop();
  await server.stop();
});

const batch = newBatchId();
type Defaults = NonNullable<BatchOptions['defaults']>;

function judge(job: unknown, defaults?: object, { line = 1, index = 0, id = batch } = {}) {
  const options = batchOptions.parse(defaults === undefined ? {} : { defaults });
  const text = typeof job === 'string' ? job : JSON.stringify(job);
  return judgeLine({ line, index, text }, { id, options, caller, permission: parts.permission });
}

const jobOf = async (...asked: Parameters<typeof judge>) => (await judge(...asked)).candidate.job;

async function specOf(job: unknown, defaults?: object): Promise<JobSpec> {
  const spec = parseSpec((await jobOf(job, defaults)).spec);
  if (spec === undefined) throw new Error('no spec');
  return spec;
}

const refusalOf = (job: unknown, defaults?: object): Promise<AppError | undefined> =>
  judge(job, defaults, { line: 7 }).then(
    () => undefined,
    (error: AppError) => error,
  );

const command = ['true'];

describe('a line of a batch', () => {
  it('is a job of the bulk lane, unless it says otherwise', async () => {
    expect((await jobOf({ command })).lane).toBe('bulk');
    expect((await jobOf({ command, lane: 'interactive' })).lane).toBe('interactive');
    expect((await jobOf({ command }, { lane: 'interactive' })).lane).toBe('interactive');
  });

  it('has the same id when it is sent again, by its key, else by its place', async () => {
    const ids = async (job: object, index: number) => (await jobOf(job, undefined, { index })).id;
    expect(await ids({ command, key: 'a' }, 0)).toBe(await ids({ command, key: 'a' }, 5));
    expect(await ids({ command }, 3)).toBe(await ids({ command: ['false'] }, 3));
    expect(await ids({ command }, 3)).not.toBe(await ids({ command }, 4));
    expect(await ids({ command, key: '3' }, 3)).not.toBe(await ids({ command }, 3));
    expect(batchJobId(batch, 3, null)).toBe(await ids({ command }, 3));
    expect(batchJobId(newBatchId(), 3, null)).not.toBe(batchJobId(batch, 3, null));
    expect(batchJobId(batch, 0, 'a')).toMatch(/^job_[0-9a-f]{32}$/);
  });

  it('has another digest once anything in it is other', async () => {
    const digest = async (job: object) => (await judge(job)).digest;
    expect(await digest({ command, key: 'k' })).toBe(await digest({ command, key: 'k' }));
    expect(await digest({ command, key: 'k' })).not.toBe(await digest({ command, key: 'l' }));
    expect(await digest({ command })).not.toBe(await digest({ command, stdin: '' }));
  });

  it('runs in the group of its batch when it asks for one by no name', async () => {
    expect((await specOf({ command, isolation: 'group' })).group).toBe(batch);
    expect((await specOf({ command, isolation: 'group', group: 'mine' })).group).toBe('mine');
    expect((await specOf({ command }, { isolation: 'group' })).group).toBe(batch);
    expect((await specOf({ command }, { isolation: 'group', group: 'ours' })).group).toBe('ours');
    expect((await specOf({ command })).group).toBeNull();
  });

  it('leaves the group of the defaults with `isolation: job`', async () => {
    const defaults = { isolation: 'group', group: 'ours' };
    expect((await specOf({ command, isolation: 'job' }, defaults)).group).toBeNull();
  });
});

describe('the defaults of a batch', () => {
  it.each([
    ['env', { A: '1', B: '1' }, { B: '2', C: '2' }, { A: '1', B: '2', C: '2' }],
    ['limits', { cpus: 1, memoryMb: 300 }, { memoryMb: 400 }, { cpus: 1, memoryMb: 400 }],
  ] as const)('are joined with the job’s own in `%s`', async (name, ours, its, joined) => {
    const spec = await specOf({ command, [name]: its }, { [name]: ours });
    expect(spec[name]).toMatchObject(joined);
  });

  it('are joined with the job’s own in `labels`', async () => {
    const job = await jobOf({ command, labels: { b: '2' } }, { labels: { a: '1', b: '1' } });
    expect(job.labels).toEqual({ a: '1', b: '2' });
  });

  it('give their files to every job; a file of the job at the same path stands for theirs', async () => {
    const defaults = { files: ['shared', 'own'].map((path) => ({ path, content: 'default' })) };
    const files = [{ path: 'own', content: 'job' }];
    const spec = await specOf({ command, files }, defaults);
    expect(spec.files).toEqual([
      { path: 'shared', content: 'default', encoding: 'utf8', executable: false },
      { path: 'own', content: 'job', encoding: 'utf8', executable: false },
    ]);
    expect((await specOf({ command }, defaults)).files).toHaveLength(2);
    expect((await specOf({ command, files: [] }, defaults)).files).toHaveLength(2);
  });

  it.each([
    ['command', { command: ['a'] }, { script: 'b' }],
    ['script', { script: 'a' }, { command: ['b'] }],
    ['steps', { steps: [{ name: 's', command: ['a'] }] }, { command: ['b'] }],
    ['command', { command: ['a'] }, { steps: [{ name: 's', command: ['b'] }] }],
  ])('give a program by `%s` that any program of the job replaces', async (_, defaults, job) => {
    const spec = await specOf({ image: 'python', ...job }, defaults);
    expect(spec).toEqual(await specOf({ image: 'python', ...job }));
  });

  it('are replaced by any other field of the job', async () => {
    const defaults: Defaults = { timeoutMs: 1000, collect: ['a'], cwd: 'x', onLost: 'fail' };
    const job = { command, timeoutMs: 2000, collect: ['b'], cwd: 'y', onLost: 'retry' };
    expect(await specOf(job, defaults)).toEqual(await specOf(job));
    expect(await specOf({ command }, defaults)).toMatchObject({ timeoutMs: 1000, cwd: 'x' });
  });
});

describe('a refused line', () => {
  it.each([
    ['no JSON', '{"command":', { code: 'BODY_NOT_JSON' }],
    ['an array', '[]', { code: 'REQUEST_INVALID' }],
    ['null', 'null', { code: 'REQUEST_INVALID' }],
    ['a text', '"x"', { code: 'REQUEST_INVALID' }],
    ['no program', '{}', { code: 'REQUEST_INVALID' }],
    ['an unknown field', { command, comand: 1 }, { code: 'REQUEST_INVALID' }],
    ['a wrong field', { command, timeoutMs: -1 }, { field: 'timeoutMs' }],
    ['a field that is null', { command, env: null }, { field: 'env' }],
    ['files that are none', { command, files: [1] }, { field: 'files.0' }],
    ['an unknown image', { command, image: 'nope' }, { code: 'IMAGE_UNKNOWN', field: 'image' }],
    ['too large a limit', { command, timeoutMs: 1e12 }, { code: 'LIMIT_ABOVE_CEILING' }],
    [
      'an unknown blob',
      { command, files: [{ path: 'a', blob: `sha256:${'0'.repeat(64)}` }] },
      { code: 'BLOB_UNKNOWN' },
    ],
    ['a group without isolation', { command, group: 'g' }, { field: 'group' }],
  ])('says where it stands and what is wrong: %s', async (_, job, expected) => {
    const refusal = await refusalOf(job);
    expect(refusal).toMatchObject({ line: 7, ...expected });
    expect(refusal?.message).toMatch(/^line 7: /);
  });

  it.each([[''], ['x'.repeat(257)], ['\ud800'], [1], [null], [{}]])(
    'is one whose key is %j',
    async (key) => {
      const text = `{"command":["true"],"key":${JSON.stringify(key)}}`;
      expect(await refusalOf(text)).toMatchObject({
        code: 'REQUEST_INVALID',
        field: 'key',
        line: 7,
      });
    },
  );

  it('is one with a fault in a default that only this job cannot have', async () => {
    const refusal = await refusalOf({ steps: [{ name: 'a', command }] }, { stdin: 'x' });
    expect(refusal).toMatchObject({ code: 'REQUEST_INVALID', field: 'stdin', line: 7 });
  });

  it('is not one that the store could not judge: that has no line', async () => {
    const lost = await server.connect('request');
    const other = createBatchParts(lost);
    lost.disconnect();
    const text = JSON.stringify({
      command,
      files: [{ path: 'a', blob: `sha256:${'0'.repeat(64)}` }],
    });
    const one = { line: 7, index: 0, text };
    const judged = judgeLine(one, { id: batch, options: {}, caller, permission: other.permission });
    const refusal = await judged.catch((error) => error);
    expect(refusal).toBeInstanceOf(Error);
    expect(refusal.line).toBeUndefined();
  });
});
