/** API and worker as the users of Redis that they should be, and over TLS. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { callerOf, startProcess, startServer } from '../helpers/server.ts';
import { batchesOf, GROUPED, sh } from './batch-api.ts';
import { startRedisWithUsers, type User } from './redis-users.ts';

/** Two processes start, each with an engine to ask. */
const LONG_MS = 180_000;

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

const folder = (): string => {
  const made = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-redis-users-'));
  releases.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
};

async function startRedis(...options: string[]) {
  const redis = await startRedisWithUsers(...options);
  releases.push(redis.stop);
  return redis;
}

/** API and worker, each a process and a user of its own. */
async function startBoth(urlOf: (user: User) => string, env: Record<string, string> = {}) {
  const signed = { COFFERDAM_SIGNING_KEYS: `first:${'k'.repeat(40)}`, ...env };
  const api = await startServer(
    { ...signed, COFFERDAM_REDIS_URL: urlOf('api') },
    { command: 'api' },
  );
  releases.push(() => api.stop());
  const worker = await startProcess(
    'worker',
    {
      ...signed,
      COFFERDAM_REDIS_URL: urlOf('worker'),
      COFFERDAM_DATA_DIR: folder(),
      COFFERDAM_SLOTS: '2',
    },
    { up: /"worker":"([^"]+)".*"worker started"/, isDetached: false },
  );
  releases.push(() => worker.stop());
  return { api, worker };
}

describe('the users of deploy/redis/users.acl', () => {
  test('are all that API and worker need, for everything that jobs do', {
    timeout: LONG_MS,
  }, async () => {
    const { urlOf } = await startRedis();
    const { api, worker } = await startBoth(urlOf);
    const caller = callerOf(api);
    expect(
      await caller.run({
        files: [{ path: 'in', content: 'hello\n' }],
        command: ['sh', '-c', 'cat in | tee out; exit 3'],
        collect: ['out'],
      }),
    ).toMatchObject({
      outcome: { kind: 'exited', exitCode: 3 },
      stdout: 'hello\n',
      artifacts: [{ path: 'out', bytes: 6 }],
    });
    const long = await caller.submit({ command: ['sleep', '60'] });
    await caller.get(long.id, 2);
    await caller.send(`/v1/jobs/${long.id}`, { method: 'DELETE' });
    expect((await caller.get(long.id, 20)).outcome).toMatchObject({ kind: 'cancelled' });
    const batches = batchesOf(api);
    const jobs = Array.from({ length: 30 }, (_, at) => sh(`echo ${at}`));
    const { id } = await batches.submit({ defaults: GROUPED, jobs });
    expect(await batches.untilOver(id)).toMatchObject({ outcomes: { exited_zero: 30 } });
    const refused = [api.log(), worker.log()].flatMap((log) =>
      log.split('\n').filter((line) => /NOPERM|permission/i.test(line)),
    );
    expect(refused).toEqual([]);
  });
});

describe('TLS to Redis', () => {
  test('a job runs where Redis speaks TLS alone, and its certificate is checked', {
    timeout: LONG_MS,
  }, async () => {
    const certificates = folder();
    const own = (name: string): string => path.join(certificates, name);
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=redis']
        .concat(['-addext', 'subjectAltName=IP:127.0.0.1'])
        .concat(['-keyout', own('key.pem'), '-out', own('cert.pem')]),
      { stdio: 'ignore' },
    );
    const { urlOf } = await startRedis(
      ...['--tls-cert-file', own('cert.pem'), '--tls-key-file', own('key.pem')],
      ...['--tls-ca-cert-file', own('cert.pem'), '--tls-auth-clients', 'no'],
    );
    const trusting = { NODE_EXTRA_CA_CERTS: own('cert.pem') };
    const { api } = await startBoth((user) => urlOf(user, 'rediss'), trusting);
    expect(await callerOf(api).run({ command: ['echo', 'sealed'] })).toMatchObject({
      stdout: 'sealed\n',
    });
    const stranger = new Redis(urlOf('api', 'rediss'), {
      lazyConnect: true,
      retryStrategy: () => null,
    });
    releases.push(() => stranger.disconnect());
    const why: string[] = [];
    stranger.on('error', (error) => why.push(error.message));
    await stranger.connect().catch((error: Error) => why.push(error.message));
    expect(why.join('\n')).toMatch(/self.signed|certificate/i);
  });
});
