import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBlobs } from '../../../services/api/blobs.ts';
import { blobRoutes } from '../../../services/api/routes/blobs.ts';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import { blobNameOf, blobView } from '../../../shared/contract/blob.ts';
import { AppError } from '../../../shared/errors.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { callerOfTenant } from '../caller.ts';

const KEY = 'k'.repeat(40);
const MAX_BLOB_BYTES = 100_000;
const MAX_BODY_BYTES = 2_000;

let store: TestRedis;
let server: Server;
beforeAll(async () => {
  store = await startRedis();
  const blobs = createBlobs({ redis: store.redis, ttlMs: 60_000, quotaOf: () => 150_000 });
  server = await buildServer({
    decide: async () => {},
    maxBodyBytes: MAX_BODY_BYTES,
    maxTenantRequests: 1_000,
    authenticate(authorization) {
      if (authorization !== `Bearer ${KEY}`) throw new AppError('UNAUTHENTICATED');
      return callerOfTenant('t');
    },
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes(scope) {
      blobRoutes(scope, { blobs, maxBlobBytes: MAX_BLOB_BYTES });
      scope.post('/json', async ({ body }) => ({ body }));
    },
  });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await store.stop();
});

const BYTES = { 'content-type': 'application/octet-stream' };
const send = (
  method: 'PUT' | 'HEAD' | 'POST',
  url: string,
  payload?: Buffer | string,
  headers: Record<string, string> = BYTES,
) =>
  server.inject({
    method,
    url,
    headers: { authorization: `Bearer ${KEY}`, ...(payload === undefined ? {} : headers) },
    ...(payload === undefined ? {} : { payload }),
  });
const put = async (content: Buffer, headers = BYTES) =>
  send('PUT', `/v1/blobs/${await blobNameOf(content)}`, content, headers);

describe('PUT /v1/blobs/…', () => {
  it('answers 201 for a new blob and 200 for one that is there', async () => {
    const content = Buffer.from([0, 255, 10, 13, 128]);
    const blob = await blobNameOf(content);
    for (const status of [201, 200]) {
      const answer = await put(content);
      expect(answer.statusCode).toBe(status);
      expect(blobView.parse(answer.json())).toMatchObject({ blob, bytes: 5 });
    }
  });

  it('takes a name whose colon is escaped', async () => {
    const content = Buffer.from('escaped');
    const blob = await blobNameOf(content);
    const answer = await send('PUT', `/v1/blobs/${encodeURIComponent(blob)}`, content);
    expect(answer.json()).toMatchObject({ blob });
  });

  it('takes no bytes at all as the empty blob, with a content type or without', async () => {
    expect((await put(Buffer.alloc(0))).json()).toMatchObject({ bytes: 0 });
    const blob = await blobNameOf(Buffer.alloc(0));
    expect((await send('PUT', `/v1/blobs/${blob}`)).statusCode).toBe(200);
  });

  it('takes as many bytes as a blob may have, beyond what other bodies may, and no more', async () => {
    expect((await put(Buffer.alloc(MAX_BLOB_BYTES, 'x'))).statusCode).toBe(201);
    const answer = await put(Buffer.alloc(MAX_BLOB_BYTES + 1, 'x'));
    expect(answer.statusCode).toBe(413);
    expect(answer.json()).toMatchObject({ code: 'BODY_TOO_LARGE' });
  });

  it('refuses bytes with another digest, naming both', async () => {
    const blob = await blobNameOf(Buffer.from('expected'));
    const answer = await send('PUT', `/v1/blobs/${blob}`, Buffer.from('came'));
    expect(answer.statusCode).toBe(422);
    const problem = answer.json() as { code: string; detail: string };
    expect(problem.code).toBe('BLOB_DIGEST_MISMATCH');
    expect(problem.detail).toContain(blob);
    expect(problem.detail).toContain(await blobNameOf(Buffer.from('came')));
  });

  it('refuses what passes the quota, with a Retry-After', async () => {
    const answer = await put(Buffer.alloc(MAX_BLOB_BYTES, 'y'));
    expect(answer.statusCode).toBe(429);
    expect(answer.json()).toMatchObject({ code: 'BLOB_QUOTA_EXCEEDED', retryable: true });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  });

  it.each(['sha256:abc', `sha256:${'A'.repeat(64)}`, `md5:${'a'.repeat(64)}`, 'x'])(
    'refuses the name %s and says what one looks like',
    async (name) => {
      const answer = await send('PUT', `/v1/blobs/${name}`, Buffer.from('x'));
      expect(answer.statusCode).toBe(400);
      expect(answer.json()).toMatchObject({ code: 'REQUEST_INVALID', field: 'blob' });
      expect(answer.json().detail).toMatch(/expected sha256: and 64 hexadecimal digits; came "/);
    },
  );

  it.each(['application/json', 'text/plain', 'multipart/form-data; boundary=x'])(
    'refuses a body of type %s',
    async (type) => {
      const answer = await put(Buffer.from('{}'), { 'content-type': type });
      expect(answer.statusCode).toBe(415);
      expect(answer.json().detail).toBe(`expected application/octet-stream; came ${type}`);
    },
  );

  it('needs a key', async () => {
    const url = `/v1/blobs/${await blobNameOf(Buffer.from('x'))}`;
    const answer = await server.inject({ method: 'PUT', url, headers: BYTES, payload: 'x' });
    expect(answer.statusCode).toBe(401);
  });
});

describe('HEAD /v1/blobs/…', () => {
  it('tells the size and the end of a blob that is here', async () => {
    const content = Buffer.from('looked for');
    const { blob, expiresAt } = (await put(content)).json();
    const answer = await send('HEAD', `/v1/blobs/${blob}`);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['x-blob-bytes']).toBe('10');
    const apartMs = Date.parse(String(answer.headers['x-blob-expires-at'])) - Date.parse(expiresAt);
    expect(Math.abs(apartMs)).toBeLessThan(1_000);
    expect(answer.body).toBe('');
  });

  it('answers 404 for one that is not', async () => {
    const blob = await blobNameOf(Buffer.from('never put'));
    expect((await send('HEAD', `/v1/blobs/${blob}`)).statusCode).toBe(404);
  });
});

describe('every other route', () => {
  it('takes no bytes, and JSON as before', async () => {
    expect((await send('POST', '/json', Buffer.from('x'))).statusCode).toBe(415);
    const json = { 'content-type': 'application/json' };
    expect((await send('POST', '/json', '{"a":1}', json)).json()).toEqual({ body: { a: 1 } });
  });
});

describe('the document', () => {
  it('says that a blob is sent as bytes', async () => {
    const { paths } = (await server.inject('/openapi.json')).json();
    const { requestBody } = paths['/v1/blobs/{blob}'].put;
    expect(Object.keys(requestBody.content)).toEqual(['application/octet-stream']);
  });
});
