/**
 * X1: every fault of this machine at random, for as long as asked, under clients that send, cancel and repeat. What is
 * done follows from the seed; when exactly it meets what the system does at the time does not.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nonceJob } from '../kit/client.ts';
import { startPrivateDockerd } from '../kit/private-dockerd.ts';
import { startRedisServer } from '../kit/redis-servers.ts';
import { startTcpProxy } from '../kit/tcp-proxy.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';
import type { Verdict } from '../kit/verdict.ts';
import { startClients } from './clients.ts';
import { chooseFault, ENGINE_KILLED, faultsOn } from './faults.ts';
import { randomOf } from './random.ts';

const WORKERS = 2;
const APIS = 2;
/** After the last fault: stalled jobs start again, handed back ones wait for their pause to be over. */
const SETTLES_WITHIN_MS = 180_000;
const QUIET_WITHIN_MS = 90_000;
/** Events of a moment later are of the same moment. */
const UNDER_WAY_MS = 500;
const RECOVERED_WITHIN_MS = 60_000;

export interface ChaosOptions {
  readonly minutes: number;
  readonly seed: number;
  /** From the end of one fault to the next, on average. */
  readonly pauseMs: number;
  readonly historyFile: string;
  readonly say: (line: string) => void;
  /** Ends it early: everything stops, nothing is judged. */
  readonly signal: AbortSignal;
}

export interface ChaosReport {
  /** Promise → what speaks against it; undefined when it was kept. */
  readonly kept: Readonly<Record<string, string | undefined>>;
  readonly verdict: Verdict | undefined;
  readonly struck: Readonly<Record<string, number>>;
  /** Shims and groups of containers that the engine forgot when it was killed. */
  readonly enginesOwn: readonly string[];
}

export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const redis = await startRedisServer();
  const network = await startTcpProxy({ port: redis.port });
  const engine = await startPrivateDockerd().catch(async (error: unknown) => {
    await network.stop();
    await redis.stop();
    throw error;
  });
  const { folder, name } = engine.host;
  const trial = await startTrial({
    redisUrl: redis.url,
    historyFile: options.historyFile,
    engine: {
      socket: engine.address,
      root: path.join(folder, 'data'),
      run: path.join(folder, 'exec'),
      groups: `${name}/cofferdam`,
      pid: () => engine.pid,
    },
  });
  trial.world.own(() => redis.stop());
  trial.world.own(() => network.stop());
  trial.world.own(() => engine.close());
  try {
    return await Promise.race([
      run(trial, { redis, network, engine }, options),
      told(options.signal),
    ]);
  } finally {
    await trial.stop();
  }
}

/** Rejects once it is told to end. */
const told = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('told to end')), { once: true });
  });

type Broken = Pick<Parameters<typeof faultsOn>[0], 'redis' | 'network' | 'engine'>;

async function run(trial: Trial, broken: Broken, options: ChaosOptions): Promise<ChaosReport> {
  const { world, history } = trial;
  const random = randomOf(options.seed);
  for (let count = 0; count < APIS; count++) await world.startApi();
  const throughProxy = { COFFERDAM_REDIS_URL: `redis://127.0.0.1:${broken.network.port}` };
  for (let count = 0; count < WORKERS; count++) await world.startWorker({ env: throughProxy });
  const { apis, workers } = world;
  const before = await trial.takeCensus();
  const client = trial.clientOf(apis);
  const clients = startClients(client, random.branch());
  const faults = faultsOn({ ...broken, apis, workers });
  const struck: Record<string, number> = {};
  const atCrashes = new Set<string>();
  const pauses = random.branch();
  for (const end = Date.now() + options.minutes * 60_000; Date.now() < end; ) {
    await sleep(options.pauseMs * pauses.between(0.5, 1.5), undefined, { signal: options.signal });
    const fault = chooseFault(faults, random);
    history.fault(fault.name);
    const startedAtMs = Date.now();
    await fault.strike(random);
    struck[fault.name] = (struck[fault.name] ?? 0) + 1;
    if (fault.name === ENGINE_KILLED) {
      for (const id of trial.engine.remaining(startedAtMs + UNDER_WAY_MS)) atCrashes.add(id);
    }
    options.say(`${fault.name}, for ${((Date.now() - startedAtMs) / 1000).toFixed(1)} s`);
  }

  const kept: Record<string, string | undefined> = {};
  const holds = async <T>(promise: string, check: () => Promise<T>): Promise<T | undefined> => {
    kept[promise] = undefined;
    try {
      return await check();
    } catch (error) {
      kept[promise] = error instanceof Error ? error.message : String(error);
      return undefined;
    }
  };
  await holds('every client came through', () => clients.stop());
  await holds('a job runs when all is over', async () => {
    const ended = Date.now() + RECOVERED_WITHIN_MS;
    const id = await client.submitSurely(nonceJob());
    while ((await client.get(id, 5))?.state !== 'done') {
      if (Date.now() > ended) throw new Error(`it did not end within ${RECOVERED_WITHIN_MS} ms`);
    }
  });
  const judged = await holds('nothing lost, doubled, changed or started too often', () =>
    trial.judge([client], { withinMs: SETTLES_WITHIN_MS }),
  );
  // A sandbox that was being made or removed when the engine died may be out of its books, with a shim that still waits.
  const isEngines = (orphan: string): boolean => atCrashes.has(orphan.split(' ').at(-1) as string);
  const limits = { stock: WORKERS * STOCK, withinMs: QUIET_WITHIN_MS, isEngines };
  const after = await holds('nothing left behind', () => trial.expectNothingLeaked(before, limits));
  const enginesOwn = after?.orphans.filter(isEngines) ?? [];
  return { kept, verdict: judged?.verdict, struck, enginesOwn };
}
