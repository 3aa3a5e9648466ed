/** Requests that are wrong as HTTP, before anybody asks what they want. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { type RawAnswer, sendRaw } from './raw-http.ts';

const server = inject('server');
const api = callerOf(server);
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const authorized = { Authorization: `Bearer ${server.key}` };
const json = { ...authorized, 'Content-Type': 'application/json' };
const post = (body?: (string | Buffer)[], headers: Record<string, string> = json) =>
  sendRaw(server, { path: '/v1/jobs', method: 'POST', headers, ...(body ? { body } : {}) });

function expectProblem(answer: RawAnswer, status: number, code: string): void {
  expect([answer.status, answer.text.slice(0, 300)]).toEqual([
    status,
    expect.stringContaining(code),
  ]);
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(answer.json()).toMatchObject({
    code,
    status,
    requestId: expect.any(String),
    detail: expect.stringMatching(/\S/),
    remedy: expect.stringMatching(/\S/),
  });
}

describe('body', () => {
  test('H06 a length above the limit is refused before a byte of it was read', async () => {
    const headers = { ...json, 'Content-Length': String(MAX_BODY_BYTES + 1) };
    expectProblem(await post(undefined, headers), 413, 'BODY_TOO_LARGE');
  });

  test('H06 a body in chunks is refused once it is past the limit', async () => {
    const chunk = Buffer.alloc(1024 * 1024, 0x20);
    const headers = { ...json, 'Transfer-Encoding': 'chunked' };
    expectProblem(await post(Array(18).fill(chunk), headers), 413, 'BODY_TOO_LARGE');
  });

  test('a body of just the limit is read', async () => {
    const start = '{"command":["true"],"reason":"';
    const body = `${start}${'x'.repeat(MAX_BODY_BYTES - start.length - 2)}"}`;
    const answer = await post([body]);
    expectProblem(answer, 400, 'REQUEST_INVALID');
    expect(answer.json()).toMatchObject({ field: 'reason' });
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'nonsense',
  ])('H11 the content type %s is not read', async (type) => {
    const answer = await post(['{"command":["true"]}'], { ...authorized, 'Content-Type': type });
    expectProblem(answer, 415, 'MEDIA_TYPE_UNSUPPORTED');
  });

  test('a body without a content type is not read', async () => {
    expectProblem(await post(['{"command":["true"]}'], authorized), 415, 'MEDIA_TYPE_UNSUPPORTED');
  });

  test.each([
    ['nothing', ''],
    ['spaces', '   '],
    ['half an object', '{"command":["true"'],
    ['two objects', '{"command":["true"]}{}'],
    ['single quotes', "{'command':['true']}"],
    ['a trailing comma', '{"command":["true"],}'],
    ['NaN', '{"command":["true"],"timeoutMs":NaN}'],
    ['bytes that are no text', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
  ])('%s is not JSON', async (_name, body) => {
    expectProblem(await post([body]), 400, 'BODY_NOT_JSON');
  });

  test('H10 H11 invalid UTF-8 in a text is refused rather than replaced', async () => {
    const body = Buffer.concat([
      Buffer.from('{"command":["echo","'),
      Buffer.from([0xe9]),
      Buffer.from('"]}'),
    ]);
    expectProblem(await post([body]), 400, 'BODY_NOT_JSON');
  });

  test('H10 a deep body does not bring the server down', async () => {
    const deep = `{"command":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    const answer = await post([deep]);
    expect(answer.status).toBe(400);
  });

  test('H11 a byte order mark before the JSON is passed over', async () => {
    const answer = await post([Buffer.from('\ufeff{"command":["true"]}')]);
    expect(answer.status).toBe(202);
  });
});

describe('headers and queries', () => {
  test.each([
    'wait=61',
    'wait=-1',
    'wait=1.5',
    'wait=',
    'wait=abc',
    'wait=1e9',
    'wait=999999999999',
  ])('Prefer: %s is refused', async (prefer) => {
    const answer = await post(['{"command":["true"]}'], { ...json, Prefer: prefer });
    expectProblem(answer, 400, 'REQUEST_INVALID');
    expect(answer.json()).toMatchObject({ field: 'Prefer' });
  });

  test('another preference is nobody’s concern', async () => {
    const answer = await post(['{"command":["true"]}'], { ...json, Prefer: 'return=minimal' });
    expect(answer.status).toBe(202);
  });

  test('an Idempotency-Key of no or too many characters is refused', async () => {
    for (const key of ['', 'x'.repeat(256)]) {
      const answer = await post(['{"command":["true"]}'], { ...json, 'Idempotency-Key': key });
      expectProblem(answer, 400, 'REQUEST_INVALID');
      expect(answer.json()).toMatchObject({ field: 'Idempotency-Key' });
    }
  });

  test.each([
    ['wait=61', 'wait'],
    ['wait=-1', 'wait'],
    ['wait=x', 'wait'],
    ['wait=1.5', 'wait'],
    ['wait=1&wait=2', 'wait'],
    ['wait=', 'wait'],
  ])('a look at a job with ?%s is refused', async (query, field) => {
    const answer = await sendRaw(server, {
      path: `/v1/jobs/job_${'0'.repeat(32)}?${query}`,
      headers: authorized,
      body: [],
    });
    expectProblem(answer, 400, 'REQUEST_INVALID');
    expect(answer.json()).toMatchObject({ field });
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=x', 'limit'],
    ['state=finished', 'state'],
    ['after=yesterday', 'after'],
    ['before=2026-01-01', 'before'],
    ['cursor=x', 'cursor'],
    ['cursor=1', 'cursor'],
    ['cursor=-1.-1', 'cursor'],
    ['cursor=1e3.0', 'cursor'],
    [`cursor=${'9'.repeat(65)}`, 'cursor'],
    ['cursor=9999999999999999.0', 'cursor'],
    [`label=${'x'.repeat(401)}`, 'label'],
    ['state=done&state=queued', 'state'],
    ['labels=x', undefined],
  ])('a list with ?%s is refused', async (query, field) => {
    const answer = await sendRaw(server, {
      path: `/v1/jobs?${query}`,
      headers: authorized,
      body: [],
    });
    expectProblem(answer, 400, 'REQUEST_INVALID');
    expect(answer.json().field).toBe(field);
  });
});

describe('what is not there', () => {
  test('H19 an id that is unknown, malformed or absurd has one and the same answer', async () => {
    const bodies = new Set<string>();
    const ids = [
      `job_${'0'.repeat(32)}`,
      `job_${'F'.repeat(32)}`,
      'job_',
      'x',
      '1',
      '*',
      'job_%00',
      '%2e%2e',
      'a:b',
      '{cofferdam}',
      `job_${'0'.repeat(33)}`,
      'x'.repeat(3_000),
      '%F0%9F%98%80',
      'results',
      '__proto__',
    ];
    for (const id of ids) {
      for (const method of ['GET', 'DELETE']) {
        const answer = await sendRaw(server, {
          path: `/v1/jobs/${id}`,
          method,
          headers: authorized,
          body: [],
        });
        expectProblem(answer, 404, 'NOT_FOUND');
        const { requestId, ...rest } = answer.json();
        expect(requestId).toBe(answer.headers['x-request-id']);
        bodies.add(JSON.stringify(rest));
      }
    }
    expect(bodies.size).toBe(1);
  });

  test('H19 a route or a method that is not there is a 404', async () => {
    for (const [method, path] of [
      ['GET', '/v1/nothing'],
      ['GET', '/v2/jobs'],
      ['PUT', '/v1/jobs'],
      ['PATCH', `/v1/jobs/job_${'0'.repeat(32)}`],
      ['POST', `/v1/jobs/job_${'0'.repeat(32)}`],
      ['GET', '/v1/jobs/'],
      ['GET', '/%'],
      ['GET', '/v1/jobs/%zz'],
      ['GET', '/.env'],
      ['GET', '/v1/../../etc/passwd'],
    ] as const) {
      const answer = await sendRaw(server, { path, method, headers: authorized, body: [] });
      expectProblem(answer, 404, 'NOT_FOUND');
    }
  });

  test('H12 a header of ten thousand characters is refused as a problem', async () => {
    const answer = await sendRaw(server, {
      path: '/v1/info',
      headers: { ...authorized, 'X-Long': 'x'.repeat(10_000) },
      body: [],
    });
    expect([400, 431]).toContain(answer.status);
    expect(answer.headers['content-type']).toContain('application/problem+json');
  });
});

test('after all of it the server still runs a job', async () => {
  expect(await api.run({ command: ['echo', 'here'] })).toMatchObject({
    stdout: 'here\n',
    attempt: 1,
  });
});
