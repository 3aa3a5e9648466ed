/** A secret that a caller gives is in its job and its result, and nowhere else: not in a log, a metric or the queue. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { QUEUE_PREFIX } from '../../shared/queue/options.ts';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { RUNTIME } from './attack.ts';

const secret = `canary${randomBytes(12).toString('hex')}`;
const NUISANCE = '\u001b[2J\r\n{"level":"error","msg":"forged"}\u2028\u0000end';

let server: ServerProcess;
let api: ReturnType<typeof callerOf>;
let redis: Redis;

beforeAll(async () => {
  server = await startServer({
    COFFERDAM_LOG_LEVEL: 'debug',
    COFFERDAM_DEFAULT_RUNTIME: RUNTIME,
    COFFERDAM_POOL_READY: '1',
    COFFERDAM_POOL_MAX_READY: '1',
  });
  api = callerOf(server);
  redis = new Redis({ path: path.join(server.dataDir, 'redis/redis.sock') });
  await api.run({
    command: ['sh', '-c', `cat; cat f; echo $SECRET; echo ${secret} >&2`],
    env: { SECRET: secret },
    stdin: secret,
    files: [{ path: 'f', content: secret }],
    labels: { plain: NUISANCE },
    reason: NUISANCE,
  });
  await api.run({ command: ['printf', NUISANCE.replaceAll('\0', '')] });
  const named = encodeURIComponent(NUISANCE);
  await api.send(`/v1/jobs/${named}`, { headers: { 'User-Agent': 'x{"level":"error"}' } });
});

afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});

/** Every key with its type and content, as text. */
async function contents(pattern: string): Promise<string> {
  const found: string[] = [];
  for (const key of await redis.keys(pattern)) {
    const dumped = (await redis.dumpBuffer(key))?.toString('latin1') ?? '';
    found.push(`${key} ${dumped}`);
    const type = await redis.type(key);
    if (type === 'hash') found.push(JSON.stringify(await redis.hgetall(key)));
    if (type === 'string') found.push((await redis.get(key)) ?? '');
    if (type === 'stream') found.push(JSON.stringify(await redis.xrange(key, '-', '+')));
  }
  return found.join('\n');
}

describe('a secret', () => {
  test('I12 in code, stdin, a file and the environment is in no line of the log and in no metric', async () => {
    expect(server.log().length).toBeGreaterThan(1000);
    expect(server.log()).not.toContain(secret);
    expect(await (await api.send('/metrics')).text()).not.toContain(secret);
    expect(await (await api.send('/v1/info')).text()).not.toContain(secret);
  });

  test('I14 is not in what the library of the queue keeps, which is ids', async () => {
    const queues = await contents(`${QUEUE_PREFIX}*`);
    expect(queues.length).toBeGreaterThan(10);
    expect(queues).not.toContain(secret);
  });

  test('I16 that is a key is kept as a hash, and is no key in an address', async () => {
    const made = await api.send('/v1/keys', {
      method: 'POST',
      body: { name: 'user:ann', tenant: 'default', scopes: ['exec:run'] },
    });
    const { key } = (await made.json()) as { key?: string };
    expect([made.status, typeof key]).toEqual([201, 'string']);
    expect(await contents('*')).not.toContain(key);
    expect(server.log()).not.toContain(key);
    for (const name of ['key', 'api_key', 'token', 'access_token']) {
      const response = await fetch(`${server.url}/v1/jobs?${name}=${key}`);
      expect(response.status).toBe(401);
    }
  });
});

describe('the log', () => {
  test('O08 holds one JSON object in each line, whatever a caller or a job says', () => {
    const lines = server
      .log()
      .split('\n')
      .filter((line) => line !== '');
    const objects = lines.map((line) => JSON.parse(line) as { msg?: string });
    expect(objects.length).toBeGreaterThan(5);
    expect(objects.filter(({ msg }) => msg === 'forged')).toEqual([]);
    expect(server.log()).not.toContain('\u001b[2J');
  });
});
