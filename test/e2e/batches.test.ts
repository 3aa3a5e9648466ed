/** Batches over HTTP: what becomes of their jobs, and how that is seen. */
import { describe, expect, inject, test } from 'vitest';
import { batchJobId } from '../../services/api/batch-job.ts';
import { batchView } from '../../shared/contract/batch.ts';
import {
  batchesOf,
  expectEachOnce,
  expectRefused,
  expectSound,
  GROUPED,
  linesOf,
  ndjson,
  sh,
} from './batch-api.ts';
import { until, untilDone, untilRunning } from './watching.ts';

const server = inject('server');
const batches = batchesOf(server);
const { api } = batches;
const stranger = batchesOf({ url: server.url, key: server.otherKey });
const echoes = (count: number, before = '') =>
  Array.from({ length: count }, (_, at) => sh(`${before}echo ${at}`));

describe('a batch', () => {
  test.each(['json', 'ndjson'] as const)('sent as %s ends with one result a job', async (form) => {
    const jobs = [sh('echo a'), { ...sh('exit 3'), key: 'three' }, sh('kill -9 $$')];
    const { id, ...seen } =
      form === 'json'
        ? await batches.submit({ defaults: GROUPED, jobs })
        : await batches.submitLines([{ batch: { defaults: GROUPED } }, ...jobs]);
    expect(seen).toMatchObject({ counts: { total: 3 }, skipped: 0, errors: [] });
    const over = await batches.untilOver(id);
    expect(batchView.parse(over)).toMatchObject({
      state: 'done',
      counts: { total: 3, queued: 0, running: 0, done: 3 },
      outcomes: { exited_zero: 1, exited_nonzero: 1, signaled: 1, cancelled: 0 },
    });
    const lines = await batches.results(id);
    expectEachOnce(lines, 3);
    const three = lines.find(({ index }) => index === 1);
    expect(three).toMatchObject({ key: 'three', outcome: { kind: 'exited', exitCode: 3 } });
  });

  test('gives its defaults to every job, joined where both have a map', async () => {
    const defaults = {
      ...sh('echo "$A $B $(cat /work/f)"; pwd; cat'),
      env: { A: 'default', B: 'default' },
      labels: { of: 'defaults', run: 'r1' },
      files: [{ path: 'f', content: 'file' }],
      stdin: 'input',
      cwd: 'sub',
      limits: { stdoutBytes: 100, cpuMs: 5_000 },
      ...GROUPED,
    };
    const jobs = [
      {},
      { env: { B: 'own' }, labels: { of: 'own' } },
      { files: [{ path: 'f', content: 'own' }], stdin: 'other', cwd: 'own' },
      { limits: { stdoutBytes: 4 }, truncate: 'head' },
      { script: 'echo another program', stdin: '' },
    ];
    const { id } = await batches.submit({ defaults, jobs });
    await batches.untilOver(id);
    const byIndex = (await batches.results(id)).toSorted((a, b) => a.index - b.index);
    expect(byIndex.map(({ stdout }) => stdout)).toEqual([
      'default default file\n/work/sub\ninput',
      'default own file\n/work/sub\ninput',
      'default default own\n/work/own\nother',
      'defa',
      'another program\n',
    ]);
    expect(byIndex.map(({ labels }) => labels)).toEqual([
      { of: 'defaults', run: 'r1' },
      { of: 'own', run: 'r1' },
      ...Array.from({ length: 3 }, () => ({ of: 'defaults', run: 'r1' })),
    ]);
  });

  test('counts so that every look adds up, from the first to the last', async () => {
    const jobs = echoes(60).map((job, at) => (at % 7 === 0 ? sh(`exit ${at % 3}`) : job));
    const { id, ...first } = await batches.submit({ defaults: GROUPED, jobs });
    expectSound({ id, ...first });
    let before = 0;
    await until('done', 60_000, async () => {
      const view = await batches.get(id);
      expectSound(view);
      expect(view.counts.total).toBe(60);
      expect(view.counts.done).toBeGreaterThanOrEqual(before);
      before = view.counts.done;
      return view.state === 'done';
    });
  });

  test('is waited for as long as was asked, and no longer', async () => {
    const { id } = await batches.submit({ jobs: [sh('sleep 3; echo end')] });
    expect((await batches.get(id, 1)).state).toBe('running');
    expect((await batches.get(id, 60)).state).toBe('done');
    expect((await batches.get(id, 60)).state).toBe('done');
    const refused = await api.send(`/v1/batches/${id}?wait=61`);
    await expectRefused(refused, { status: 400, code: 'REQUEST_INVALID', field: 'wait' });
  });

  test('has jobs that are jobs like any other', async () => {
    const jobs = [{ ...sh('echo made > out; echo said'), collect: ['out'] }];
    const { id } = await batches.submit({ jobs });
    await batches.untilOver(id);
    const [line] = await batches.results(id);
    const { index, key, cursor, ...result } = line ?? expect.unreachable();
    expect([index, key, cursor]).toEqual([0, null, expect.any(String)]);
    expect(await api.get(result.id)).toEqual(result);
    const [artifact] = result.artifacts;
    expect(artifact).toMatchObject({ path: 'out', bytes: 5 });
    expect(await (await api.send(artifact?.url ?? '')).text()).toBe('made\n');
  });

  test('lets one of its jobs be cancelled alone', async () => {
    const jobs = [{ ...sh('sleep 50'), timeoutMs: 60_000 }, sh('echo b')];
    const { id } = await batches.submit({ jobs });
    const job = batchJobId(id, 0, null);
    await untilRunning(api, job);
    await api.send(`/v1/jobs/${job}`, { method: 'DELETE' });
    await untilDone(api, job);
    expect(await batches.untilOver(id)).toMatchObject({
      state: 'done',
      outcomes: { exited_zero: 1, cancelled: 1 },
    });
  });

  test('is not there for another tenant, nor are its jobs', async () => {
    const { id } = await batches.submit({ jobs: [sh('echo secret; sleep 2')] });
    for (const [method, route] of [
      ['GET', `/v1/batches/${id}`],
      ['GET', `/v1/batches/${id}/results`],
      ['GET', `/v1/batches/${id}/results?follow=true`],
      ['DELETE', `/v1/batches/${id}`],
    ] as const) {
      const response = await stranger.api.send(route, { method });
      await expectRefused(response, { status: 404, code: 'NOT_FOUND' });
    }
    expect((await batches.untilOver(id)).outcomes.exited_zero).toBe(1);
    const [line] = await batches.results(id);
    expect((await stranger.api.send(`/v1/jobs/${line?.id}`)).status).toBe(404);
  });

  test.each(['bat_x', `bat_${'0'.repeat(32)}`, 'nope', '..%2f'])('%s is not there', async (id) => {
    for (const route of [`/v1/batches/${id}`, `/v1/batches/${id}/results`]) {
      await expectRefused(await api.send(route), { status: 404, code: 'NOT_FOUND' });
    }
  });
});

describe('results', () => {
  test('are there while the batch runs, and what follows comes as it ends', async () => {
    const jobs = [sh('echo first'), { ...sh('sleep 50'), timeoutMs: 60_000 }];
    const { id } = await batches.submit({ jobs });
    const early = await until('the first result', 30_000, async () => {
      const lines = await batches.results(id);
      return lines.length > 0 && lines;
    });
    expect(early.map(({ index, stdout }) => [index, stdout])).toEqual([[0, 'first\n']]);
    const following = batches.results(id, '?follow=true');
    await batches.cancel(id);
    const all = await following;
    expect(all[0]).toEqual(early[0]);
    expect(all.map(({ outcome }) => outcome.kind)).toEqual(['exited', 'cancelled']);
  });

  test('go on after the cursor of every line, with nothing twice and nothing missing', async () => {
    const { id } = await batches.submit({ defaults: GROUPED, jobs: echoes(25) });
    const followed = await batches.results(id, '?follow=true');
    expectEachOnce(followed, 25);
    expect(await batches.results(id)).toEqual(followed);
    for (const [at, { cursor }] of followed.entries()) {
      expect(await batches.results(id, `?cursor=${cursor}`)).toEqual(followed.slice(at + 1));
    }
  });

  test('are followed by ten at once, each seeing all', async () => {
    const { id } = await batches.submit({ defaults: GROUPED, jobs: echoes(40) });
    const seen = await Promise.all(
      Array.from({ length: 10 }, () => batches.results(id, '?follow=true')),
    );
    for (const lines of seen) expect(lines).toEqual(seen[0]);
    expectEachOnce(seen[0] ?? [], 40);
  });

  test('refuse a cursor that is not one of theirs', async () => {
    const { id } = await batches.submit({ defaults: GROUPED, jobs: echoes(2) });
    const other = await batches.submit({ defaults: GROUPED, jobs: echoes(2) });
    const [line] = await batches.results(id, '?follow=true');
    const [foreign] = await batches.results(other.id, '?follow=true');
    const cursor = line?.cursor ?? '';
    const moved = cursor.replace(/^\d+/, (at) => String(Number(at) + 1));
    for (const bad of ['', '0', '1', '-1', 'x', moved, `${cursor}0`, foreign?.cursor]) {
      const response = await batches.resultsOf(id, `?cursor=${bad}`);
      await expectRefused(response, { status: 400, code: 'REQUEST_INVALID', field: 'cursor' });
    }
    const response = await batches.resultsOf(id, '?follow=yes');
    await expectRefused(response, { status: 400, code: 'REQUEST_INVALID', field: 'follow' });
  });

  test('come as lines of JSON that nothing in a program’s output can break', async () => {
    const jobs = [
      sh('printf "a\\nb\\r\\n\\342\\200\\250{\\"index\\":9}\\n"'),
      sh('printf "\\377"'),
    ];
    const { id } = await batches.submitLines(ndjson([{ batch: { defaults: GROUPED } }, ...jobs]));
    await batches.untilOver(id);
    const response = await batches.resultsOf(id);
    expect(response.headers.get('content-type')).toContain('application/x-ndjson');
    const byIndex = linesOf(await response.text()).toSorted((a, b) => a.index - b.index);
    expect(byIndex.map(({ stdout }) => stdout)).toEqual(['a\nb\r\n\u2028{"index":9}\n', '/w==']);
  });
});
