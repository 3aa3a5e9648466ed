/** Rows of the network that take a minute and more. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { LOCK_MS } from '../../../shared/queue/options.ts';
import { until } from '../../e2e/watching.ts';
import { nonceJob } from '../kit/client.ts';
import { show } from '../kit/figures.ts';
import { startRedisServer } from '../kit/redis-servers.ts';
import { startTcpProxy } from '../kit/tcp-proxy.ts';
import { heldLine, throughFault } from '../kit/through-fault.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const CUT_MS = 60_000;
/** Past its lock a worker that hears nothing ends its sandboxes; looked at every second, on a machine that is busy. */
const GONE_WITHIN_MS = LOCK_MS + 5_000;

/** Ids of the processes that have it in their command line: those of a sandbox are this machine's too. */
const processesWith = (nonce: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(nonce);
    } catch {
      return false; // it has ended meanwhile
    }
  });

let trial: Trial;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  await trial.stop();
  for (const release of releases.splice(0).reverse()) await release();
});

test('N1: a worker is cut off from Redis for a minute: it ends its sandboxes itself, its jobs end elsewhere, its late results count for nothing', async () => {
  const server = await startRedisServer();
  releases.push(() => server.stop());
  const proxy = await startTcpProxy({ port: server.port });
  releases.push(proxy.stop);
  trial = await startTrial({ redisUrl: server.url });
  const { world } = trial;
  const api = await world.startApi();
  await world.startWorker({
    env: { COFFERDAM_REDIS_URL: `redis://127.0.0.1:${proxy.port}` },
  });
  const long = nonceJob('sleep 40', { timeoutMs: 50_000 });
  const client = trial.clientOf([api]);
  const id = await client.submitSurely(long);
  await until('it runs', 30_000, () => trial.programs.starts().has(long.nonce));
  const other = await world.startWorker();
  let goneMs = 0;
  let endedMs = 0;
  const how = { apis: [api], stock: 2 * STOCK, program: 'sleep 1' };
  const held = await throughFault(trial, how, async () => {
    const [program] = processesWith(long.nonce);
    const cutAtMs = Date.now();
    proxy.hold();
    await until(
      'its program is gone',
      60_000,
      () => !processesWith(long.nonce).includes(program as string),
    );
    goneMs = Date.now() - cutAtMs;
    const result = await until('the long job has ended elsewhere', 120_000, async () => {
      const seen = await client.get(id, 10);
      return seen?.state === 'done' && JSON.parse(seen.text as string);
    });
    endedMs = Date.now() - cutAtMs;
    expect(result).toMatchObject({ outcome: { kind: 'exited' }, attempt: 2, worker: other.id });
    await sleep(Math.max(0, CUT_MS - endedMs));
    proxy.heal();
  });
  expect(goneMs).toBeLessThanOrEqual(GONE_WITHIN_MS);
  show(
    'N1',
    `60 s of silence: its program gone after ${goneMs} ms, the job ended elsewhere after ${endedMs} ms; ${heldLine(held)}`,
  );
});
