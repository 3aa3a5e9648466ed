/** Rows of the fault matrix: Redis is killed, busy with itself, replaced, full, forgetful, and loses the end of its file. */
import { appendFileSync, readdirSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { until } from '../e2e/watching.ts';
import { type Client, nonceJob } from './kit/client.ts';
import { show } from './kit/figures.ts';
import type { Api } from './kit/member.ts';
import { type RedisServer, startRedisServer, startSentinelGroup } from './kit/redis-servers.ts';
import { mountSmallDisk } from './kit/small-disk.ts';
import { heldLine, throughFault, untilServed } from './kit/through-fault.ts';
import { STOCK, startTrial, type Trial } from './kit/trial.ts';

/** From a Redis that answers again to a job that was sent then and has ended. */
const BACK_WITHIN_MS = 10_000;

let trial: Trial;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  await trial.stop();
  for (const release of releases.splice(0).reverse()) await release();
});

async function startWith(server: RedisServer, env: Record<string, string> = {}) {
  releases.push(() => server.stop());
  trial = await startTrial({ redisUrl: server.url, env });
  const api = await trial.world.startApi();
  const worker = await trial.world.startWorker();
  return { api, worker };
}

test('R1: Redis is killed and starts again, three times under load: nothing accepted is lost, and it is used again at once', async () => {
  const server = await startRedisServer();
  const { api } = await startWith(server);
  const backs: number[] = [];
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async (client) => {
    for (const awayMs of [0, 1_000, 3_000]) {
      await server.kill();
      await sleep(awayMs);
      await server.start();
      backs.push(await untilServed(client));
      await sleep(1_000);
    }
  });
  for (const backMs of backs) expect(backMs).toBeLessThanOrEqual(BACK_WITHIN_MS);
  show('R1', `${heldLine(held)}; each restart: ${backs.join(', ')} ms`);
});

test('R2: Redis rewrites its append-only file under load and is killed meanwhile: what it held is in the new file or the old', async () => {
  const server = await startRedisServer({ 'auto-aof-rewrite-percentage': '0' });
  const { api } = await startWith(server);
  let rewrites = 0;
  const rewrite = async (): Promise<void> => {
    await server.call('BGREWRITEAOF');
    await until('it is rewritten', 30_000, async () => {
      const info = String(await server.call('INFO', 'persistence'));
      return info.includes('aof_rewrite_in_progress:0') && info.includes('aof_rewrite_scheduled:0');
    });
    expect(String(await server.call('INFO', 'persistence'))).toContain(
      'aof_last_bgrewrite_status:ok',
    );
    rewrites++;
  };
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    for (let time = 0; time < 5; time++) {
      await sleep(500);
      await rewrite();
    }
    await server.call('BGREWRITEAOF');
    await server.kill();
    await server.start();
  });
  show('R2', `${rewrites} rewrites and one that was cut short; ${heldLine(held)}`);
});

test('R3: the primary dies under Sentinel: its replica takes over, and every promise holds', async () => {
  const group = await startSentinelGroup();
  releases.push(group.stop);
  trial = await startTrial({ redisUrl: group.url });
  const api = await trial.world.startApi();
  await trial.world.startWorker();
  let [failoverMs, backMs] = [0, 0];
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async (client) => {
    const former = await group.primary();
    await former.kill();
    failoverMs = await group.failedOver(former);
    backMs = await untilServed(client);
    // It comes back as the replica of the other.
    await former.start();
    await sleep(2_000);
  });
  expect(backMs).toBeLessThanOrEqual(BACK_WITHIN_MS);
  show('R3', `failover ${failoverMs} ms, served ${backMs} ms after it; ${heldLine(held)}`);
});

/** Whether a job that is sent now is refused with 503. */
const isRefused = async (client: Client): Promise<boolean> => {
  const ended = await client.submit(nonceJob());
  return ended?.kind === 'fail' && ended.status === 503;
};

/** What else a refusal says; only while it is known that all are refused. */
const refusalOf = async (api: Api): Promise<{ status: number; retryAfter: string | null }> => {
  const body = { command: ['true'] };
  const response = await api.caller.send('/v1/jobs', { method: 'POST', body });
  return { status: response.status, retryAfter: response.headers.get('Retry-After') };
};
const REFUSED = { status: 503, retryAfter: expect.stringMatching(/^\d+$/) };

const usedBytes = async (server: RedisServer): Promise<number> =>
  Number(String(await server.call('INFO', 'memory')).match(/used_memory:(\d+)/)?.[1]);

/** Jobs that run when the fault begins must have ended before it is over. */
async function runningJobs(client: Client) {
  const jobs = [nonceJob('sleep 3'), nonceJob('sleep 3')];
  const ids = await Promise.all(jobs.map((job) => client.submitSurely(job)));
  await until('both run', 30_000, () =>
    jobs.every(({ nonce }) => trial.programs.starts().has(nonce)),
  );
  return {
    ended: () =>
      until('what ran has ended', 30_000, async () => {
        const seen = await Promise.all(ids.map((id) => client.get(id, 2)));
        return seen.every((one) => one?.state === 'done');
      }),
  };
}

test('R4: Redis reaches its memory limit: submissions are answered 503, what runs ends, and it goes on by itself', async () => {
  const server = await startRedisServer();
  const { api } = await startWith(server);
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async (client) => {
    for (const part of [1.05, 0.8]) {
      const running = await runningJobs(client);
      await server.call('CONFIG', 'SET', 'maxmemory', Math.round((await usedBytes(server)) * part));
      await until('a submission is refused', 5_000, () => isRefused(client));
      expect(await refusalOf(api)).toEqual(REFUSED);
      await running.ended();
      expect(await isRefused(client)).toBe(true);
      await server.call('CONFIG', 'SET', 'maxmemory', 0);
      await untilServed(client);
    }
  });
  show('R4', heldLine(held));
});

test('R5: the disk of a Redis that flushes every second is full: writes are refused with 503, and it goes on by itself', async () => {
  const disk = mountSmallDisk(32);
  releases.push(disk.remove);
  const server = await startRedisServer(
    { appendfsync: 'everysec', 'auto-aof-rewrite-percentage': '0' },
    { folder: disk.folder },
  );
  const { api } = await startWith(server);
  const readiness = async () => (await api.caller.send('/readyz')).json();
  expect(await readiness()).toMatchObject({ status: 'ready', durability: 'relaxed' });
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    disk.fill();
    await until('Redis cannot write', 30_000, async () =>
      String(await server.call('INFO', 'persistence')).includes('aof_last_write_status:err'),
    );
    expect(await refusalOf(api)).toEqual(REFUSED);
    expect(await readiness()).toMatchObject({ status: 'unready' });
    await sleep(5_000);
    disk.makeRoom();
    await until('Redis can write', 30_000, async () =>
      String(await server.call('INFO', 'persistence')).includes('aof_last_write_status:ok'),
    );
  });
  expect(await readiness()).toMatchObject({ status: 'ready' });
  show('R5', heldLine(held));
});

test('R7: Redis forgets its scripts again and again: nobody notices, and nothing starts twice', async () => {
  const server = await startRedisServer();
  const { api } = await startWith(server);
  let flushes = 0;
  const held = await throughFault(trial, { apis: [api], stock: STOCK, maxStarts: 1 }, async () => {
    const endMs = Date.now() + 10_000;
    for (; Date.now() < endMs; flushes++) {
      await server.call('SCRIPT', 'FLUSH');
      await sleep(50);
    }
  });
  expect(Object.keys(held.verdict.outcomes)).toEqual(['exited']);
  expect(held.verdict.counts.failed).toBe(0);
  show('R7', `${flushes} times; ${heldLine(held)}`);
});

/** The file that Redis appends to. */
function appendedFile(server: RedisServer): string {
  const folder = path.join(server.folder, 'appendonlydir');
  const files = readdirSync(folder).filter((name) => name.endsWith('.incr.aof'));
  return path.join(folder, files.sort().at(-1) as string);
}

test('R8: the append-only file ends in half a write: Redis leaves that out, and everything confirmed is there', async () => {
  const server = await startRedisServer();
  const { api } = await startWith(server);
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async (client) => {
    await server.kill();
    appendFileSync(appendedFile(server), '*3\r\n$3\r\nSET\r\n$26\r\n{cofferdam}:torn');
    await server.start();
    await untilServed(client);
  });
  // With no job open the last writes are those of heartbeats and the sweep: without the end of one, nothing is missed.
  await sleep(6_000);
  await server.kill();
  truncateSync(appendedFile(server), statSync(appendedFile(server)).size - 5);
  await server.start();
  const client = trial.clientOf([api]);
  await untilServed(client);
  await trial.judge([client]);
  show('R8', heldLine(held));
});
