/** What the server says of itself, and who may hear it. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { sendRaw } from './raw-http.ts';

const server = inject('server');
const api = callerOf(server);
const stranger = (route: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(server.url + route, { headers, signal: AbortSignal.timeout(15_000) });

describe('without a key', () => {
  test('the probes answer', async () => {
    expect(await (await stranger('/healthz')).json()).toEqual({ status: 'ok' });
    const ready = await stranger('/readyz');
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({
      status: 'ready',
      durability: 'strict',
      workers: 1,
      problems: [],
    });
  });

  test('the metrics are text for Prometheus, with the jobs counted in them', async () => {
    await api.run({ command: ['true'] });
    const response = await stranger('/metrics');
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    expect(text).toMatch(/jobs_accepted_total [1-9]/);
    expect(text).toMatch(/jobs_ended_total\{outcome="exited"\} [1-9]/);
    expect(text).toMatch(/pool_sandboxes\{state="ready"\} \d/);
    expect(text).not.toContain('job_');
  });
});

describe('/v1/info', () => {
  test('names the images, limits and workers', async () => {
    const info = (await (await api.send('/v1/info')).json()) as {
      images: { name: string }[];
      limits: Record<string, unknown>;
    };
    expect(info).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      defaultImage: 'base',
      runtimes: expect.arrayContaining(['runc']),
      maxBodyBytes: 16 * 1024 * 1024,
      maxWaitSeconds: 60,
      workers: [{ id: expect.any(String), slots: expect.any(Number) }],
    });
    expect(info.images.map(({ name }) => name)).toEqual(['base', 'python', 'node']);
    for (const image of info.images) {
      expect(image).toMatchObject({ script: true, digest: expect.stringMatching(/^sha256:/) });
    }
    expect(info.limits.timeoutMs).toEqual({ default: 10_000, ceiling: 600_000 });
    expect(info.limits.cpuMs).toMatchObject({ default: null });
  });
});

describe('/openapi.json', () => {
  interface Operation {
    summary?: string;
    parameters?: { name: string; in: string; schema?: unknown }[];
    requestBody?: { content: Record<string, { schema: Record<string, unknown> }> };
    responses: Record<
      string,
      { description?: string; content?: Record<string, { schema: unknown }> }
    >;
  }
  interface Document {
    openapi: string;
    info: { title: string; version: string };
    paths: Record<string, Record<string, Operation>>;
    components?: Record<string, Record<string, unknown>>;
  }
  const read = async (): Promise<Document> =>
    (await (await stranger('/openapi.json')).json()) as Document;

  const OPERATIONS = [
    ['post', '/v1/jobs'],
    ['get', '/v1/jobs'],
    ['get', '/v1/jobs/{id}'],
    ['delete', '/v1/jobs/{id}'],
    ['get', '/v1/jobs/{id}/events'],
    ['get', '/v1/jobs/{id}/artifacts.tar'],
    ['get', '/v1/info'],
    ['get', '/healthz'],
    ['get', '/readyz'],
    ['get', '/metrics'],
  ] as const;

  test('is OpenAPI 3.1 with every operation of the contract', async () => {
    const document = await read();
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(document.info).toMatchObject({ title: 'Cofferdam', version: expect.any(String) });
    for (const [method, route] of OPERATIONS) {
      const operation = document.paths[route]?.[method];
      expect([route, operation?.summary]).toEqual([route, expect.any(String)]);
      expect(Object.keys(operation?.responses ?? {}).length).toBeGreaterThan(0);
    }
    const artifact = Object.keys(document.paths).find((route) => /artifacts\/\{/.test(route));
    expect(artifact).toBeDefined();
  });

  test('is a valid document: parameters declared, responses described, references kept', async () => {
    const document = await read();
    for (const [route, operations] of Object.entries(document.paths)) {
      const inPath = [...route.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name).sort();
      for (const operation of Object.values(operations)) {
        const declared = (operation.parameters ?? []).filter((one) => one.in === 'path');
        expect([route, declared.map(({ name }) => name).sort()]).toEqual([route, inPath]);
        for (const [status, response] of Object.entries(operation.responses)) {
          expect(status).toMatch(/^([1-5]\d\d|[1-5]XX|default)$/);
          expect(response.description).toEqual(expect.any(String));
        }
      }
    }
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)];
    for (const [, pointer = ''] of references) {
      const found = pointer
        .split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
      expect([pointer, found]).toEqual([pointer, expect.anything()]);
    }
  });

  test('holds the request and the result, closed to unknown fields', async () => {
    const document = await read();
    const submit = document.paths['/v1/jobs']?.post;
    const request = submit?.requestBody?.content['application/json']?.schema;
    expect(request).toMatchObject({ type: 'object', additionalProperties: false });
    expect(Object.keys(request?.properties as object)).toEqual(
      expect.arrayContaining([
        'command',
        'script',
        'steps',
        'image',
        'limits',
        'timeoutMs',
        'onLost',
      ]),
    );
    for (const status of ['200', '202']) {
      const schema = JSON.stringify(submit?.responses[status]?.content);
      for (const word of [
        'outcome',
        'fault',
        'retryable',
        'stdoutCutAt',
        'out_of_memory',
        'sandbox_lost',
      ]) {
        expect(schema).toContain(word);
      }
    }
  });

  test('tells of the refusals and of the headers that a client can send', async () => {
    const document = await read();
    const submit = document.paths['/v1/jobs']?.post;
    const headers = (submit?.parameters ?? []).filter((one) => one.in === 'header');
    expect(headers.map(({ name }) => name.toLowerCase()).sort()).toEqual([
      'idempotency-key',
      'prefer',
    ]);
    expect(Object.keys(submit?.responses ?? {})).toEqual(
      expect.arrayContaining(['400', '401', '413', '415', '422', '503']),
    );
    const get = document.paths['/v1/jobs/{id}']?.get;
    expect(Object.keys(get?.responses ?? {})).toEqual(
      expect.arrayContaining(['200', '401', '404']),
    );
  });
});

describe('a key', () => {
  const ROUTES = [
    '/v1/info',
    '/v1/jobs',
    `/v1/jobs/job_${'0'.repeat(32)}`,
    '/v1/no-such-route',
    '/v1',
  ];

  test.each([
    ['none', {}],
    ['a wrong one', { Authorization: `Bearer ${'x'.repeat(47)}` }],
    ['one character more', { Authorization: `Bearer ${server.key}x` }],
    ['one character less', { Authorization: `Bearer ${server.key.slice(0, -1)}` }],
    ['an empty one', { Authorization: 'Bearer ' }],
    [
      'another scheme',
      { Authorization: `Basic ${Buffer.from(`:${server.key}`).toString('base64')}` },
    ],
    ['no scheme', { Authorization: server.key }],
    ['another header', { 'X-Api-Key': server.key }],
    ['a very long one', { Authorization: `Bearer ${server.key}${'x'.repeat(4_000)}` }],
  ])('%s is a 401 that says how to send one', async (_name, headers) => {
    for (const route of ROUTES) {
      const response = await stranger(route, headers as Record<string, string>);
      expect([route, response.status]).toEqual([route, 401]);
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      expect(response.headers.get('content-type')).toContain('application/problem+json');
      expect(await response.json()).toMatchObject({
        code: 'UNAUTHENTICATED',
        status: 401,
        requestId: response.headers.get('x-request-id'),
        remedy: expect.stringContaining('Bearer'),
      });
    }
  });

  test('in the query is no key', async () => {
    for (const name of ['key', 'token', 'access_token', 'api_key']) {
      expect((await stranger(`/v1/info?${name}=${server.key}`)).status).toBe(401);
    }
  });

  test('is asked for before the body is looked at', async () => {
    const response = await fetch(`${server.url}/v1/jobs`, { method: 'POST', body: 'not json' });
    expect(response.status).toBe(401);
  });

  test('is asked for however the path is written', async () => {
    const paths = [
      '//v1/info',
      '/%761/info',
      '/%76%31/jobs',
      '/V1/info',
      '/v1%2finfo',
      '/./v1/info',
      '/x/../v1/info',
      '/v1;/info',
      '/v1\\info',
    ];
    for (const path of paths) {
      for (const method of ['GET', 'POST']) {
        const answer = await sendRaw(server, { path, method, body: [] });
        expect([path, answer.status]).toEqual([path, expect.toBeOneOf([401, 404])]);
      }
    }
  });
});
