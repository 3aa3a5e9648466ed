/** Servers that start, stop, are killed, and stand beside each other. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../helpers/redis.ts';
import { callerOf, startServer } from '../helpers/server.ts';
import { type CommandProcess, cofferdam, run } from './command-line.ts';
import {
  sandboxesOf,
  sandboxRunning,
  until,
  untilDone,
  untilGone,
  untilRunning,
  workerOf,
} from './watching.ts';

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

const tempFolder = (): string => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-life-'));
  releases.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

/** A server whose data folder outlives it. */
async function serve(dataDir: string, settings: Record<string, string> = {}) {
  const env = {
    COFFERDAM_DATA_DIR: dataDir,
    COFFERDAM_PORT: '0',
    COFFERDAM_SLOTS: '1',
    ...settings,
  };
  const command: CommandProcess = cofferdam(['serve'], { env });
  releases.push(async () => {
    command.kill('SIGTERM');
    await command.exitCode;
  });
  const url = await until('the server is up', 40_000, () => {
    const said = command.stdout() + command.stderr();
    return said.match(/"url":"(http:[^"]+)".*"api started"/)?.[1];
  });
  const key = readFileSync(path.join(dataDir, 'key'), 'utf8').trim();
  const api = callerOf({ url, key });
  return { api, command, worker: (await workerOf(api)).id };
}

/** The processes of redis-server that a server has as its children. */
const redisOf = ({ pid }: CommandProcess): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .map(Number)
    .filter((child) => readFileSync(`/proc/${child}/comm`, 'utf8').startsWith('redis'));

describe('SIGTERM', () => {
  test('a server that is told twice ends at once, and leaves no Redis behind', async () => {
    const { api, command } = await serve(tempFolder());
    const { id } = await api.submit({ command: ['sleep', '20.0625'], timeoutMs: 30_000 });
    await untilRunning(api, id);
    const [redis] = redisOf(command);
    command.kill('SIGTERM');
    await until('it stops', 10_000, () =>
      (command.stdout() + command.stderr()).includes('"stopping"'),
    );
    command.kill('SIGTERM');
    await command.exitCode;
    await until('its Redis is gone', 10_000, () => !existsSync(`/proc/${redis}`));
  });

  test('a server that is told to stop lets its job end and keeps the result', async () => {
    const dataDir = tempFolder();
    const first = await serve(dataDir);
    const { id } = await first.api.submit({ command: ['sh', '-c', 'echo a; sleep 2; echo b'] });
    await untilRunning(first.api, id);
    first.command.kill('SIGTERM');
    expect(await first.command.exitCode).toBe(0);
    expect(await sandboxesOf(first.worker)).toEqual([]);
    const second = await serve(dataDir);
    expect(await second.api.get(id)).toMatchObject({
      state: 'done',
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: 'a\nb\n',
      attempt: 1,
      worker: first.worker,
    });
  });

  test('a job that outlasts the drain is started again by the next server', async () => {
    const dataDir = tempFolder();
    const first = await serve(dataDir, { COFFERDAM_DRAIN_MS: '500' });
    const { id } = await first.api.submit({ command: ['sh', '-c', 'sleep 4; echo end'] });
    await sandboxRunning('sleep 4');
    first.command.kill('SIGTERM');
    expect(await first.command.exitCode).toBe(0);
    expect(await sandboxesOf(first.worker)).toEqual([]);
    const second = await serve(dataDir);
    const result = await untilDone(second.api, id);
    expect(result).toMatchObject({ stdout: 'end\n', attempt: 2, worker: second.worker });
  });

  test('whoever waits for a job is answered before the server goes', async () => {
    const { api, command } = await serve(tempFolder(), { COFFERDAM_DRAIN_MS: '3000' });
    const { id } = await api.submit({ command: ['sleep', '1.5'] });
    await untilRunning(api, id);
    const waiting = api.send(`/v1/jobs/${id}?wait=30`);
    await api.get(id);
    command.kill('SIGTERM');
    expect((await waiting).status).toBe(200);
    expect(await command.exitCode).toBe(0);
  });

  test('queued jobs are kept for the next server', async () => {
    const dataDir = tempFolder();
    const first = await serve(dataDir);
    const jobs = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        first.api.submit({ command: ['sh', '-c', `sleep 0.5; echo ${at}`] }),
      ),
    );
    first.command.kill('SIGTERM');
    expect(await first.command.exitCode).toBe(0);
    const second = await serve(dataDir);
    for (const [at, { id }] of jobs.entries()) {
      expect((await untilDone(second.api, id)).stdout).toBe(`${at}\n`);
    }
  });
});

describe('SIGKILL', () => {
  test('a job of a killed server is done by the next one, and the old sandboxes are swept', async () => {
    const dataDir = tempFolder();
    const first = await serve(dataDir);
    const { id } = await first.api.submit({
      command: ['sh', '-c', 'sleep 3.0625; echo end'],
      timeoutMs: 30_000,
    });
    const { id: kept } = await first.api.submit({ command: ['echo', 'queued'] });
    const sandbox = await sandboxRunning('sleep 3.0625');
    first.command.kill('SIGKILL');
    await first.command.exitCode;
    const second = await serve(dataDir);
    expect((await untilDone(second.api, kept)).stdout).toBe('queued\n');
    expect(await untilDone(second.api, id)).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: 'end\n',
      attempt: 2,
    });
    await untilGone(sandbox, 40_000);
    await until('the old sandboxes are gone', 40_000, async () => {
      const left = await sandboxesOf(first.worker);
      return left.length === 0;
    });
  }, 120_000);

  test('a server whose Redis is killed ends with a fault instead of accepting what it cannot keep', async () => {
    const { command, worker } = await serve(tempFolder(), { COFFERDAM_DRAIN_MS: '2000' });
    const redis = redisOf(command);
    expect(redis).toHaveLength(1);
    process.kill(redis[0] as number, 'SIGKILL');
    expect(await command.exitCode).toBe(1);
    expect(await sandboxesOf(worker)).toEqual([]);
  });
});

describe('beside each other', () => {
  test('a second server on one data folder refuses in words, and the first goes on', async () => {
    const dataDir = tempFolder();
    const first = await serve(dataDir);
    const second = await run(['serve'], {
      env: { COFFERDAM_DATA_DIR: dataDir, COFFERDAM_PORT: '0' },
    });
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`in use by process ${first.command.pid}`);
    expect(second.stderr).toContain('COFFERDAM_DATA_DIR');
    expect(await first.api.run({ command: ['echo', 'x'] })).toMatchObject({ stdout: 'x\n' });
  });

  test('two servers on one engine, each with its own Redis, leave each other’s sandboxes alone', async () => {
    const first = await startServer({ COFFERDAM_SLOTS: '1' });
    releases.push(() => first.stop());
    const api = callerOf(first);
    const { id } = await api.submit({
      command: ['sh', '-c', 'sleep 13; echo end'],
      timeoutMs: 30_000,
      onLost: 'fail',
    });
    await sandboxRunning('sleep 13');
    const second = await startServer({ COFFERDAM_SLOTS: '1' });
    releases.push(() => second.stop());
    await callerOf(second).run({ command: ['true'] });
    expect(await untilDone(api, id)).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: 'end\n',
      attempt: 1,
    });
  });
});

describe('a Redis of the operator', () => {
  const redisWith = async (...options: string[]): Promise<string> => {
    const redis = await startOperatorsRedis(...options);
    releases.push(redis.stop);
    return redis.url;
  };

  test('that may drop jobs is refused with the commands that mend it', async () => {
    const url = await redisWith('--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru');
    const env = { COFFERDAM_REDIS_URL: url, COFFERDAM_DATA_DIR: tempFolder(), COFFERDAM_PORT: '0' };
    const { code, stderr } = await run(['serve'], { env });
    expect(code).toBe(1);
    expect(stderr).toContain('CONFIG SET maxmemory-policy noeviction');
    expect(stderr).toContain('CONFIG SET appendonly yes');
    const doctor = await run(['doctor'], { env });
    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toContain('CONFIG SET appendonly yes');
  });

  test('that keeps everything is served from, and left as it is', async () => {
    const url = await redisWith(...KEEPS_EVERYTHING);
    const { api, command } = await serve(tempFolder(), { COFFERDAM_REDIS_URL: url });
    expect(await api.run({ command: ['echo', 'x'] })).toMatchObject({ stdout: 'x\n' });
    command.kill('SIGTERM');
    expect(await command.exitCode).toBe(0);
  });
});
