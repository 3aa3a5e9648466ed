/** What nobody may see or make up: secrets of a job outside of its sandbox, and jobs that the API did not sign. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditPage } from '../../shared/contract/audit.ts';
import { connectRedis } from '../../shared/queue/connection.ts';
import { keys } from '../../shared/queue/keys.ts';
import { type Caller, callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { eventually, silent } from '../shared/queue/redis.ts';

let server: ServerProcess;
let caller: Caller;
beforeAll(async () => {
  const env = { COFFERDAM_LOG_LEVEL: 'debug', COFFERDAM_SLOTS: '1', COFFERDAM_RESERVED_SLOTS: '0' };
  server = await startServer(env);
  caller = callerOf(server);
});
afterAll(() => server.stop());

describe('a secret of a job', () => {
  test('I12 is in its sandbox, and in no log, metric or audit record; nor is the key of its caller', async () => {
    const canary = 'canary-9d41c7';
    const result = await caller.run({
      script: `echo ${canary} | wc -c; printenv TOKEN | wc -c; wc -c <held; wc -c`,
      env: { TOKEN: canary },
      stdin: canary,
      files: [{ path: 'held', content: canary }],
    });
    expect(result.stdout.split(/\s+/).filter(Boolean)).toEqual(['14', '14', '13', '13']);
    const refused = await caller.send('/v1/jobs', {
      method: 'POST',
      body: { command: ['true'], env: { TOKEN: canary }, image: 'none' },
    });
    expect(refused.status).toBe(422);
    const metrics = await (await caller.send('/metrics')).text();
    const audit = await (await caller.send('/v1/audit?limit=1000')).text();
    expect(auditPage.parse(JSON.parse(audit)).records.length).toBeGreaterThan(1);
    for (const seen of [server.log(), metrics, audit]) {
      expect(seen.length).toBeGreaterThan(100);
      expect(seen).not.toContain(canary);
      expect(seen).not.toContain(server.key);
    }
  });
});

describe('a job that was changed while it waited', () => {
  test('H40 is not run, and the worker says so', async () => {
    const blocker = await caller.submit({ command: ['sleep', '30'] });
    await eventually('it runs', async () => (await caller.get(blocker.id)).state === 'running');
    const { id } = await caller.submit({ command: ['echo', 'as it was sent'] });
    const redis = connectRedis(
      { socket: path.join(server.dataDir, 'redis/redis.sock') },
      'patient',
      silent,
    );
    try {
      const spec = String(await redis.hget(keys.job(id), 'spec'));
      expect(spec).toContain('as it was sent');
      await redis.hset(keys.job(id), 'spec', spec.replace('as it was sent', 'as it was forged'));
    } finally {
      redis.disconnect();
    }
    await caller.send(`/v1/jobs/${blocker.id}`, { method: 'DELETE' });
    expect(await caller.get(id, 30)).toMatchObject({
      outcome: { kind: 'lost', cause: 'spec_forged' },
      ran: 'no',
      retryable: false,
      stdout: '',
    });
    const lines = () => server.log().match(/.*a job is not what was accepted.*/g) ?? [];
    await eventually('it is logged', () => lines().length > 0);
    const said = lines();
    expect(said).toHaveLength(1);
    expect(said[0]).toContain(id);
    expect(said[0]).toContain('"flaw":"wrong"');
    expect(said[0]).toContain('"level":"error"');
  });
});
