/** Uploads of batches: what is refused and where, what is left out, and what is the same again. */
import { describe, expect, inject, test } from 'vitest';
import type { BatchAccepted } from '../../shared/contract/batch.ts';
import {
  batchesOf,
  expectEachOnce,
  expectRefused,
  figureOf,
  GROUPED,
  HEAD,
  keyed,
  NONCE,
  named,
  ndjson,
  sh,
} from './batch-api.ts';

const server = inject('server');
const batches = batchesOf(server);
const { api } = batches;
const started = (): Promise<number> => figureOf(api, 'jobs_ended_total');

describe('a refused job', () => {
  const bad = { command: ['true'], timeoutMs: -1 };

  test('refuses a JSON batch as a whole: nothing of it is accepted', async () => {
    const before = await figureOf(api, 'jobs_accepted_total');
    const response = await batches.send({ jobs: [NONCE, NONCE, bad, NONCE] });
    const problem = await expectRefused(response, {
      status: 400,
      code: 'REQUEST_INVALID',
      line: 3,
      field: 'timeoutMs',
    });
    expect(problem.detail).toContain('line 3');
    expect(problem.batch).toBeUndefined();
    expect(await figureOf(api, 'jobs_accepted_total')).toBe(before);
  });

  test.each([
    ['no JSON', '{"command":', 400, 'BODY_NOT_JSON'],
    ['no object', '[]', 400, 'REQUEST_INVALID'],
    ['a second head', HEAD, 400, 'REQUEST_INVALID'],
    ['no program', {}, 400, 'REQUEST_INVALID'],
    ['a field that is unknown', { ...NONCE, comand: [] }, 400, 'REQUEST_INVALID'],
    ['an empty key', { ...NONCE, key: '' }, 400, 'REQUEST_INVALID'],
    ['a limit above its ceiling', { ...NONCE, timeoutMs: 1e9 }, 422, 'LIMIT_ABOVE_CEILING'],
    ['an image that is not there', { ...NONCE, image: 'nope' }, 422, 'IMAGE_UNKNOWN'],
  ])('in a stream, %s, is named with its line and its batch', async (_name, line, status, code) => {
    const response = await batches.sendLines([HEAD, NONCE, '', line, NONCE]);
    const { batch, detail } = await expectRefused(response, { status, code, line: 4 });
    expect(detail).toContain('line 4');
    const over = await batches.untilOver(batch ?? '');
    expect(over.state).toBe('cancelled');
  });

  test.each(['json', 'ndjson'] as const)('is left out of %s when that is asked', async (form) => {
    const options = { onInvalid: 'skip', defaults: GROUPED };
    const jobs = [NONCE, bad, { ...NONCE, image: 'nope' }, NONCE];
    const { id, skipped, errors, counts } =
      form === 'json'
        ? await batches.submit({ ...options, jobs })
        : await batches.submitLines([{ batch: options }, ...jobs]);
    const offset = form === 'json' ? 1 : 2;
    expect({ skipped, total: counts.total }).toEqual({ skipped: 2, total: 2 });
    expect(errors).toMatchObject([
      { line: 1 + offset, code: 'REQUEST_INVALID', field: 'timeoutMs' },
      { line: 2 + offset, code: 'IMAGE_UNKNOWN', field: 'image' },
    ]);
    await batches.untilOver(id);
    const lines = await batches.results(id);
    expect(lines.map(({ index }) => index).toSorted()).toEqual([0, 3]);
  });

  test('is one of the first hundred that are shown, all being counted', async () => {
    const lines = [{ batch: { onInvalid: 'skip' } }, ...Array.from({ length: 150 }, () => bad)];
    const { skipped, errors, counts } = await batches.submitLines(lines);
    expect([skipped, errors.length, counts.total]).toEqual([150, 100, 0]);
  });
});

describe('an upload', () => {
  test.each([
    ['no jobs', { jobs: [] }, 'jobs'],
    ['jobs that are no list', { jobs: 'x' }, 'jobs'],
    ['more than ten thousand', { jobs: Array.from({ length: 10_001 }, () => ({})) }, 'jobs'],
    ['an unknown option', { jobs: [NONCE], parallel: 1 }, undefined],
    ['no parallel job', { jobs: [NONCE], maxParallel: 0 }, 'maxParallel'],
    ['defaults that cannot be', { jobs: [NONCE], defaults: { env: 1 } }, 'defaults.env'],
    ['a default that is unknown', { jobs: [NONCE], defaults: { key: 'a' } }, 'defaults'],
  ])('with %s is refused', async (_name, body, field) => {
    const expected = { status: 400, code: 'REQUEST_INVALID' };
    await expectRefused(
      await batches.send(body),
      field === undefined ? expected : { ...expected, field },
    );
  });

  test('of an empty stream, and of another type, is refused', async () => {
    for (const text of ['', '\n\n']) {
      const response = await batches.sendLines(text);
      await expectRefused(response, { status: 400, code: 'REQUEST_INVALID' });
    }
    const headers = { 'Content-Type': 'text/plain' };
    const response = await batches.send(ndjson([NONCE]), headers);
    await expectRefused(response, { status: 415, code: 'MEDIA_TYPE_UNSUPPORTED' });
  });

  test('takes lines with carriage returns, blank lines and no newline at its end', async () => {
    const text = `${JSON.stringify(HEAD)}\r\n\r\n${JSON.stringify(NONCE)}\r\n${JSON.stringify(NONCE)}`;
    const { id, counts } = await batches.submitLines(text);
    expect(counts.total).toBe(2);
    expect((await batches.untilOver(id)).outcomes.exited_zero).toBe(2);
  });

  test('with a line that is too long is refused by its number', async () => {
    const long = JSON.stringify({ ...NONCE, stdin: 'x'.repeat(17 * 1024 * 1024) });
    // The second goes over the connection of the first, which must not hold what was left unread.
    for (let again = 0; again < 2; again++) {
      const response = await batches.sendLines([HEAD, NONCE, long]);
      const expected = { status: 413, code: 'LINE_TOO_LONG', line: 3 };
      const { batch } = await expectRefused(response, expected);
      expect((await batches.untilOver(batch ?? '')).state).toBe('cancelled');
    }
  });

  test('of bytes that are no text is refused by its line', async () => {
    const body = Buffer.concat([Buffer.from(ndjson([HEAD, NONCE])), Buffer.from([0xff, 0x0a])]);
    const response = await batches.send(body, { 'Content-Type': 'application/x-ndjson' });
    await expectRefused(response, { status: 400, code: 'BODY_NOT_JSON', line: 3 });
  });
});

describe('a refused upload', () => {
  const FILLER = Array.from({ length: 100_000 }, () => NONCE);

  test.each([
    ['in its first line', [{ batch: { maxParallel: 0 } }, ...FILLER]],
    ['in its second line', [HEAD, { nothing: 1 }, ...FILLER]],
    ['before its jobs', [{ batch: { maxParallel: 7 } }, ...FILLER]],
  ])('%s leaves its connection to the next request', async (_where, lines) => {
    const headers = named();
    await batches.submitLines([HEAD, NONCE], headers);
    const text = ndjson(lines);
    for (let round = 0; round < 3; round++) {
      const response = await batches.sendLines(text, headers);
      expect(response.status).toBeGreaterThanOrEqual(400);
      await response.text();
      expect((await api.send('/v1/info')).status).toBe(200);
    }
  });
});

describe('the same again', () => {
  test('under one Idempotency-Key is the same batch, and no job is doubled', async () => {
    const headers = named();
    const before = await started();
    const lines = [HEAD, ...keyed(20), ...Array.from({ length: 20 }, () => NONCE)];
    const first = await batches.submitLines(lines, headers);
    await batches.untilOver(first.id);
    const results = await batches.results(first.id);
    const again = await batches.submitLines(lines, headers);
    expect(again.id).toBe(first.id);
    expect(again.counts).toMatchObject({ total: 40, done: 40 });
    expect(await batches.results(first.id)).toEqual(results);
    expect(new Set(results.map(({ stdout }) => stdout)).size).toBe(40);
    expect((await started()) - before).toBe(40);
  });

  test('as JSON, ten times at once, is one batch', async () => {
    const headers = named();
    const body = { defaults: GROUPED, jobs: keyed(10) };
    const all = await Promise.all(Array.from({ length: 10 }, () => batches.submit(body, headers)));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    const { id } = all[0] as BatchAccepted;
    expect((await batches.untilOver(id)).counts).toMatchObject({ total: 10, done: 10 });
    expectEachOnce(await batches.results(id), 10);
  });

  test('with another body, or other options, is refused', async () => {
    const headers = named();
    await batches.submit({ defaults: GROUPED, jobs: keyed(2) }, headers);
    const other = await batches.send({ defaults: GROUPED, jobs: keyed(3) }, headers);
    await expectRefused(other, { status: 422, code: 'IDEMPOTENCY_KEY_REUSED' });
    const stream = named();
    await batches.submitLines([HEAD, ...keyed(2)], stream);
    const options = await batches.sendLines([{ batch: { maxParallel: 3 } }, ...keyed(2)], stream);
    await expectRefused(options, { status: 422, code: 'IDEMPOTENCY_KEY_REUSED' });
    const [, changed] = keyed(2);
    const job = await batches.sendLines([HEAD, changed, { ...sh('echo'), key: 'k0' }], stream);
    await expectRefused(job, { status: 422, code: 'JOB_KEY_REUSED', field: 'key' });
  });

  test('with a job more after its end is refused: it is closed', async () => {
    const headers = named();
    await batches.submitLines([HEAD, ...keyed(2)], headers);
    const more = await batches.sendLines([HEAD, ...keyed(3)], headers);
    await expectRefused(more, { status: 409, code: 'BATCH_CLOSED' });
  });

  test('as a key within one upload is one job', async () => {
    const { id } = await batches.submitLines([HEAD, ...keyed(3), ...keyed(3)]);
    expect((await batches.untilOver(id)).counts.total).toBe(3);
    const different = await batches.sendLines([HEAD, ...keyed(1), { ...sh('echo'), key: 'k0' }]);
    await expectRefused(different, { status: 422, code: 'JOB_KEY_REUSED' });
  });
});
