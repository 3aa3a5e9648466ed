/** Keys and tenants through the doors that people use: the command line, several API processes, other people’s ids. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ApiKeyView } from '../../shared/contract/api-key.ts';
import { blobNameOf } from '../../shared/contract/blob.ts';
import { KEEPS_EVERYTHING, type OperatorsRedis, startOperatorsRedis } from '../helpers/redis.ts';
import { type Caller, callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { batchesOf, GROUPED, sh } from './batch-api.ts';
import { run } from './command-line.ts';
import { until } from './watching.ts';

const server = inject('server');
const env = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };
const cofferdam = (...args: string[]) => run(args, { env });
/** No two runs of these tests meet. */
const TENANT = `t-${randomBytes(6).toString('hex')}`;

/** A key by the command line, and its id. */
async function makeKey(...args: string[]): Promise<{ id: string; key: string }> {
  const { code, stdout, stderr } = await cofferdam('keys', 'create', '--name', 'test', ...args);
  if (code !== 0) throw new Error(stderr);
  return { id: stderr.match(/^id ([0-9a-f]{16}),/)?.[1] ?? '', key: stdout.trim() };
}
const scopes = (...names: string[]): string[] => names.flatMap((name) => ['--scope', name]);
const EXEC = scopes('exec:run', 'exec:batch', 'exec:read', 'exec:cancel');

beforeAll(async () => {
  expect(await cofferdam('tenants', 'set', TENANT, '--weight', '2')).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await cofferdam('tenants', 'remove', TENANT);
});

describe('cofferdam keys', () => {
  test('create prints the key alone, and it runs jobs until it is revoked', async () => {
    const made = await cofferdam(
      'keys',
      'create',
      '--tenant',
      TENANT,
      '--name',
      'agent:ci',
      ...EXEC,
    );
    expect(made.stdout).toMatch(/^cfd_[0-9a-f]{16}_[A-Za-z0-9_-]{43}\n$/);
    expect(made.stderr).toMatch(/^id [0-9a-f]{16}, valid\n$/);
    const key = made.stdout.trim();
    const own = { env: { ...env, COFFERDAM_DEV_KEY: key } };
    expect(await run(['exec', '--', 'echo', 'in'], own)).toMatchObject({ code: 0, stdout: 'in\n' });
    const id = key.slice(4, 20);
    expect((await cofferdam('keys', 'revoke', id)).stdout).toMatch(`${id} of agent:ci: revoked `);
    const refused = await run(['exec', '--', 'echo', 'in'], own);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('UNAUTHENTICATED: the key was revoked at ');
  });

  test('list shows them with their use, and as JSON what the contract says', async () => {
    const { id, key } = await makeKey('--tenant', TENANT, '--expires', '1h', ...EXEC);
    await callerOf({ url: server.url, key }).run(sh('true'));
    const listed = async (): Promise<ApiKeyView | undefined> => {
      const { stdout } = await cofferdam('keys', 'list', '--tenant', TENANT, '--json');
      return (JSON.parse(stdout) as ApiKeyView[]).find((one) => one.id === id);
    };
    await until('its use is written', 10_000, async () => (await listed())?.lastUsedAt != null);
    const text = (await cofferdam('keys', 'list')).stdout;
    expect(text).toMatch(/^ID +TENANT +NAME +SCOPES +STATE +LAST USED\n/);
    expect(text).toMatch(new RegExp(`^${id} +${TENANT} +test +exec:run,.* valid until `, 'm'));
    expect(text).not.toContain(key.slice(21));
  });

  test.each([
    ['an unknown scope', ['--tenant', TENANT, '--scope', 'exec:all'], 'REQUEST_INVALID: scopes.0'],
    ['an unknown tenant', ['--tenant', 'nobody', '--scope', 'admin'], 'TENANT_UNKNOWN: tenant'],
    ['no scope', ['--tenant', TENANT], "required option '--scope"],
    ['an expiry that is none', ['--tenant', TENANT, '--expires', 'soon'], 'expected a time from'],
  ])('create with %s fails, and says what was expected', async (_, args, words) => {
    const { code, stdout, stderr } = await cofferdam('keys', 'create', '--name', 'x', ...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(words);
  });

  test('revoke of an unknown id fails', async () => {
    const { code, stderr } = await cofferdam('keys', 'revoke', '0123456789abcdef');
    expect([code, stderr]).toEqual([1, expect.stringContaining('NOT_FOUND')]);
  });

  test('with a key that may not administer is refused by the name of the scope', async () => {
    const { key } = await makeKey('--tenant', TENANT, ...scopes('exec:read'));
    const { code, stderr } = await run(['keys', 'list'], {
      env: { ...env, COFFERDAM_DEV_KEY: key },
    });
    expect(code).toBe(1);
    expect(stderr).toContain('FORBIDDEN: expected a key with the scope admin; ');
  });
});

describe('cofferdam tenants', () => {
  test('sets, lists and removes; what it sets is in force', async () => {
    const name = `${TENANT}-b`;
    expect((await cofferdam('tenants', 'set', name, '--max-open-jobs', '1')).stdout).toContain(
      name,
    );
    const { key } = await makeKey('--tenant', name, ...EXEC);
    const api = callerOf({ url: server.url, key });
    const { id } = await api.submit(sh('sleep 30'));
    const full = await api.send('/v1/jobs', { method: 'POST', body: sh('true') });
    expect(await full.json()).toMatchObject({ code: 'TOO_MANY_OPEN_JOBS' });
    await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
    expect((await cofferdam('tenants', 'list')).stdout).toMatch(
      new RegExp(`^${name} +1 +1 +-`, 'm'),
    );
    expect(await cofferdam('tenants', 'remove', name)).toMatchObject({ code: 0 });
    expect((await cofferdam('tenants', 'list')).stdout).not.toContain(name);
    await until(
      'its keys are revoked',
      1_000,
      async () => (await api.send('/v1/info')).status === 401,
    );
  });

  test('refuses those of the file', async () => {
    const { code, stderr } = await cofferdam('tenants', 'set', 'other', '--weight', '9');
    expect([code, stderr]).toEqual([1, expect.stringContaining('TENANT_FIXED: name: expected')]);
  });
});

describe('scopes', () => {
  test('H04 a key does what it has, and is told what it lacks', async () => {
    const { key } = await makeKey('--tenant', TENANT, ...scopes('exec:run'));
    const api = callerOf({ url: server.url, key });
    const { id } = await api.run(sh('true'));
    for (const [method, route, scope] of [
      ['GET', `/v1/jobs/${id}`, 'exec:read'],
      ['GET', `/v1/jobs/${id}/events`, 'exec:read'],
      ['DELETE', `/v1/jobs/${id}`, 'exec:cancel'],
      ['POST', '/v1/batches', 'exec:batch'],
      ['GET', '/v1/keys', 'admin'],
    ] as const) {
      const body = method === 'POST' ? { jobs: [sh('true')] } : undefined;
      const response = await api.send(route, { method, ...(body ? { body } : {}) });
      expect([route, response.status]).toEqual([route, 403]);
      expect(await response.json()).toMatchObject({
        code: 'FORBIDDEN',
        detail: `expected a key with the scope ${scope}; the scopes of this one: exec:run`,
      });
    }
  });
});

describe('what belongs to another tenant', () => {
  /** An answer without what is each request's own. */
  const answerOf = async (api: Caller, method: string, route: string) => {
    const response = await api.send(route, { method });
    const text = await response.text();
    const { requestId: _, ...problem } = text === '' ? { requestId: '' } : JSON.parse(text);
    const { 'x-request-id': __, date: ___, ...headers } = Object.fromEntries(response.headers);
    return { status: response.status, problem, headers };
  };

  test('H02 answers exactly as what there is not: jobs, batches, events, artifacts, blobs', async () => {
    const owner = batchesOf(server);
    const content = randomBytes(16).toString('hex');
    const blob = await blobNameOf(Buffer.from(content));
    await owner.api.send(`/v1/blobs/${blob}`, {
      method: 'PUT',
      body: content,
      headers: { 'Content-Type': 'application/octet-stream' },
    });
    const job = await owner.api.run({ ...sh('echo x > kept'), collect: ['kept'] });
    expect(job.outcome).toMatchObject({ kind: 'exited', exitCode: 0 });
    const batch = await owner.submit({ defaults: GROUPED, jobs: [sh('true')] });
    await owner.untilOver(batch.id);

    const { key } = await makeKey('--tenant', TENANT, ...EXEC, '--scope', 'admin');
    const stranger = callerOf({ url: server.url, key });
    const other = callerOf({ url: server.url, key: server.otherKey });
    const unknown: Readonly<Record<string, string>> = {
      [job.id]: `job_${'0'.repeat(32)}`,
      [batch.id]: `bat_${'0'.repeat(32)}`,
      [blob]: `sha256:${'0'.repeat(64)}`,
    };
    for (const [method, route] of [
      ['GET', `/v1/jobs/${job.id}`],
      ['GET', `/v1/jobs/${job.id}?wait=1`],
      ['DELETE', `/v1/jobs/${job.id}`],
      ['GET', `/v1/jobs/${job.id}/events`],
      ['GET', `/v1/jobs/${job.id}/artifacts/kept`],
      ['GET', `/v1/jobs/${job.id}/artifacts.tar`],
      ['GET', `/v1/batches/${batch.id}`],
      ['GET', `/v1/batches/${batch.id}/results`],
      ['GET', `/v1/batches/${batch.id}/events`],
      ['GET', `/v1/jobs?batch=${batch.id}`],
      ['DELETE', `/v1/batches/${batch.id}`],
      ['HEAD', `/v1/blobs/${blob}`],
    ] as const) {
      const id = Object.keys(unknown).find((one) => route.includes(one)) ?? '';
      for (const api of [stranger, other]) {
        const foreign = await answerOf(api, method, route);
        const none = await answerOf(api, method, route.replace(id, unknown[id] ?? ''));
        expect([route, foreign]).toEqual([route, none]);
        expect(foreign.status).toBe(404);
      }
    }
    const naming = async (name: string) => {
      const body = { ...sh('true'), files: [{ path: 'f', blob: name }] };
      const response = await stranger.send('/v1/jobs', { method: 'POST', body });
      const { requestId: _, ...problem } = (await response.json()) as Record<string, unknown>;
      return JSON.stringify(problem).replaceAll(name, 'NAME');
    };
    expect(await naming(blob)).toBe(await naming(unknown[blob] ?? ''));
    expect(await owner.api.get(job.id)).toEqual(job);
  });
});

describe('two API processes', () => {
  let redis: OperatorsRedis;
  let apis: ServerProcess[] = [];
  beforeAll(async () => {
    redis = await startOperatorsRedis(...KEEPS_EVERYTHING);
    const shared = { COFFERDAM_REDIS_URL: redis.url, COFFERDAM_DEV_KEY: 'k'.repeat(36) };
    const options = { command: 'api' } as const;
    apis = [await startServer(shared, options), await startServer(shared, options)];
  });
  afterAll(async () => {
    await Promise.all(apis.map((api) => api.stop()));
    await redis.stop();
  });

  test('H01 share keys and tenants, and both refuse what was revoked by one within a second', async () => {
    const [first, second] = apis.map((api) => callerOf(api)) as [Caller, Caller];
    const put = { method: 'PUT', body: { maxOpenJobs: 1 } };
    expect((await first.send('/v1/tenants/acme', put)).status).toBe(201);
    const wanted = { tenant: 'acme', name: 'x', scopes: ['exec:run'] };
    const made = await first.send('/v1/keys', { method: 'POST', body: wanted });
    const { id, key } = (await made.json()) as { id: string; key: string };
    const holders = apis.map(({ url }) => callerOf({ url, key })) as [Caller, Caller];

    // At once, and by the process that has heard of neither.
    expect(await holders[1].submit(sh('true'))).toMatchObject({ state: 'queued' });
    const more = await holders[0].send('/v1/jobs', { method: 'POST', body: sh('true') });
    expect(more.status).toBe(429);

    // In use on both all the while, so that each has it in memory.
    const statuses = { before: new Set<number>(), after: new Set<number>() };
    let revokedAtMs = Number.POSITIVE_INFINITY;
    const use = async (holder: Caller): Promise<void> => {
      while (Date.now() < revokedAtMs + 2_000) {
        const sentAtMs = Date.now();
        const { status } = await holder.send('/v1/info');
        if (sentAtMs > revokedAtMs + 1_000) statuses.after.add(status);
        else if (sentAtMs < revokedAtMs) statuses.before.add(status);
        await sleep(10);
      }
    };
    const using = Promise.all(holders.map(use));
    await sleep(1_000);
    expect((await second.send(`/v1/keys/${id}`, { method: 'DELETE' })).status).toBe(200);
    revokedAtMs = Date.now();
    await using;
    expect([...statuses.after]).toEqual([401]);
    expect(statuses.before).toContain(200);
  });
});
