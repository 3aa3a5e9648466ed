/** What one tenant can take from the others by holding on, by many small requests and by large ones that look small. */
import http from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTenantServer } from '../../helpers/tenants.ts';

const MOST = 20;
const MIB = 1024 * 1024;

let server: Awaited<ReturnType<typeof startTenantServer<'greedy' | 'modest'>>>;
beforeAll(async () => {
  server = await startTenantServer(
    { greedy: {}, modest: {} },
    { COFFERDAM_MAX_TENANT_REQUESTS: String(MOST) },
  );
});
afterAll(() => server.stop());

/** A request that stays open, once its head is here; its status, and how it is let go. */
function open(key: string, path: string): Promise<{ status: number; text: string; end(): void }> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${key}` };
    const request = http.get(server.url + path, { headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('error', () => {});
      const end = (): void => void request.destroy();
      const status = response.statusCode ?? 0;
      if (status === 200) resolve({ status, text, end });
      else response.once('end', () => resolve({ status, text, end }));
    });
    request.on('error', reject);
  });
}

describe('H39 requests that last', () => {
  test('are bounded for each tenant, streams and waits together, and free what they held', async () => {
    const { greedy, modest } = server.callers;
    const { id } = await greedy.submit({ command: ['sleep', '50'] });
    const path = `/v1/jobs/${id}/events`;
    const streams = await Promise.all(
      Array.from({ length: MOST }, () => open(server.keys.greedy, path)),
    );
    expect(streams.map(({ status }) => status)).toEqual(Array(MOST).fill(200));
    for (const refused of [path, `/v1/jobs/${id}?wait=30`, '/v1/info']) {
      const response = await greedy.send(refused);
      expect([response.status, response.headers.get('retry-after')]).toEqual([429, '1']);
      expect(await response.json()).toMatchObject({ code: 'TOO_MANY_OPEN_REQUESTS' });
    }
    expect(await modest.run({ command: ['echo', 'unharmed'] })).toMatchObject({
      stdout: 'unharmed\n',
    });
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    for (const { end } of streams) end();
    await expect
      .poll(async () => (await greedy.send(`/v1/jobs/${id}`)).status, { timeout: 10_000 })
      .toBe(200);
    await greedy.send(`/v1/jobs/${id}`, { method: 'DELETE' });
  });
});

describe('H07 a body that is packed', () => {
  test.each(['gzip', 'deflate', 'br', 'GZIP', 'identity, gzip', 'x-unknown'])(
    'as %s is refused and never unpacked',
    async (encoding) => {
      const bomb = gzipSync(Buffer.alloc(64 * MIB, ' '));
      for (const path of ['/v1/jobs', '/v1/batches', '/mcp']) {
        const response = await server.callers.modest.send(path, {
          method: 'POST',
          body: bomb,
          headers: { 'Content-Encoding': encoding },
        });
        const { code } = (await response.json()) as { code: string };
        expect([response.status, code]).toEqual([415, 'MEDIA_TYPE_UNSUPPORTED']);
      }
    },
  );

  test('as itself is taken', async () => {
    const response = await server.callers.modest.send('/v1/jobs', {
      method: 'POST',
      body: { command: ['true'] },
      headers: { 'Content-Encoding': 'identity' },
    });
    expect(response.status).toBe(202);
  });
});

describe('H09 H10 a body', () => {
  test('that is nested without end is refused, in every place that takes JSON', async () => {
    const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    for (const path of ['/v1/jobs', '/v1/batches', '/v1/policy/check', '/mcp']) {
      for (const body of [`{"command":${deep(100_000)}}`, deep(1_000_000), `{"a":${deep(65)}}`]) {
        const response = await server.callers.modest.send(path, {
          method: 'POST',
          body,
          headers: { Accept: 'application/json, text/event-stream' },
        });
        expect(response.status, path).toBeGreaterThanOrEqual(400);
        expect(response.status, path).toBeLessThan(500);
      }
    }
  });

  test('with the keys of prototypes changes no object, wherever they stand', async () => {
    const { modest } = server.callers;
    for (const key of ['__proto__', 'constructor', 'prototype']) {
      for (const body of [
        `{"command":["true"],"${key}":{"polluted":1}}`,
        `{"command":["true"],"limits":{"${key}":{"memoryMb":1}}}`,
        `{"command":["true"],"files":[{"path":"a","content":"b","${key}":{"x":1}}]}`,
        `{"defaults":{"${key}":{"image":"node"}},"jobs":[{"command":["true"]}]}`,
      ]) {
        const path = body.includes('"jobs"') ? '/v1/batches' : '/v1/jobs';
        const response = await modest.send(path, { method: 'POST', body });
        expect(response.status, body).toBe(400);
      }
    }
    // As the names of labels and variables they are text like any other.
    const named = { command: ['sh', '-c', 'env'], labels: { constructor: 'x' } };
    const { stdout, labels } = await modest.run(named);
    expect(stdout).not.toContain('polluted');
    expect(labels).toEqual({ constructor: 'x' });
  });
});

describe('H03 an id', () => {
  test('is 128 random bits: none follows from another', async () => {
    const { modest } = server.callers;
    const ids: string[] = [];
    for (let one = 0; one < 50; one++) ids.push((await modest.submit({ command: ['true'] })).id);
    expect(ids.filter((id) => !/^job_[0-9a-f]{32}$/.test(id))).toEqual([]);
    // Each of the 32 digits takes many values, so that none of them is a counter or a clock.
    for (let at = 4; at < 36; at++) {
      expect(new Set(ids.map((id) => id[at])).size, `digit ${at}`).toBeGreaterThan(7);
    }
  });
});

describe('H21 the address that a request says it comes from', () => {
  test('changes nothing: who is counted is the key', async () => {
    const { greedy } = server.callers;
    const { id } = await greedy.submit({ command: ['sleep', '30'] });
    const streams = await Promise.all(
      Array.from({ length: MOST }, () => open(server.keys.greedy, `/v1/jobs/${id}/events`)),
    );
    for (const address of ['10.0.0.1', '127.0.0.1', '::1']) {
      const headers = {
        'X-Forwarded-For': address,
        'X-Real-IP': address,
        Forwarded: `for=${address}`,
      };
      expect((await greedy.send('/v1/info', { headers })).status).toBe(429);
    }
    for (const { end } of streams) end();
  });
});
