/**
 * What every row of the fault matrix needs: a Redis, a world over it, a client with a history, the witnesses, and at the
 * end the verdict and the census. Everything stops with the world.
 */
import type { Redis } from 'ioredis';
import { createLog } from '../../../shared/log.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../../helpers/redis.ts';
import {
  type Census,
  type CensusLimits,
  type CensusOf,
  expectNothingLeaked,
  takeCensus,
} from './census.ts';
import { type Client, createClient } from './client.ts';
import { createHistory, type History } from './history.ts';
import type { Api, Env } from './member.ts';
import { type ProgramWitness, watchPrograms } from './programs.ts';
import { type FinalRead, type Verdict, verdictOf } from './verdict.ts';
import { type EngineWitness, watchEngine } from './witness.ts';
import { createWorld, type World } from './world.ts';

const FINALS_WITHIN_MS = 120_000;
/** What still runs at the end of a row is nobody's; and few slots, so that a census knows what a stock may be. */
const SMALL = {
  COFFERDAM_DRAIN_MS: '2000',
  COFFERDAM_SLOTS: '2',
  COFFERDAM_POOL_MAX_READY: '2',
};
/** Sandboxes that a worker of these settings keeps ready, at most. */
export const STOCK = Number(SMALL.COFFERDAM_POOL_MAX_READY);

export interface TrialOptions {
  /** A Redis of the row's own making; without, one that keeps everything is started. */
  readonly redisUrl?: string;
  /** An engine of one's own; see CensusOf. */
  readonly engine?: CensusOf['engine'];
  readonly env?: Env;
  readonly historyFile?: string;
}

export interface Judged {
  readonly verdict: Verdict;
  readonly finals: readonly FinalRead[];
}

export interface Trial {
  readonly world: World;
  readonly redis: Redis;
  readonly history: History;
  /** The engine's account. */
  readonly engine: EngineWitness;
  /** The kernel's account. */
  readonly programs: ProgramWitness;
  /** Whose calls go to these APIs in turn. */
  clientOf(apis: readonly Api[]): Client;
  /** What there is now, to be compared with at the end; only processes that stay are compared. */
  takeCensus(): Promise<Census>;
  /** Throws unless the history held. */
  judge(
    clients: readonly Client[],
    options?: { maxStarts?: number; withinMs?: number },
  ): Promise<Judged>;
  /** Throws when something is left that was not there before. */
  expectNothingLeaked(before: Census, limits: CensusLimits): Promise<Census>;
  stop(): Promise<void>;
}

export async function startTrial(options: TrialOptions = {}): Promise<Trial> {
  const beganAtMs = Date.now();
  const own =
    options.redisUrl === undefined ? await startOperatorsRedis(...KEEPS_EVERYTHING) : undefined;
  const redisUrl = options.redisUrl ?? (own?.url as string);
  const world = createWorld({
    redisUrl,
    ...(options.engine === undefined ? {} : { engine: options.engine.socket }),
    env: { ...SMALL, ...options.env },
  });
  if (own !== undefined) world.own(own.stop);
  // It is killed on purpose: what it says of that is not of interest.
  const redis = connectRedis({ url: redisUrl }, 'patient', createLog('silent'));
  world.own(() => redis.disconnect());
  const label = `cofferdam.installation=${await nameInstallation(redis)}`;
  const engine = watchEngine({ label, socket: options.engine?.socket, sinceMs: beganAtMs });
  world.own(() => engine.stop());
  const programs = watchPrograms();
  world.own(() => programs.stop());
  const history = createHistory(options.historyFile);
  world.own(() => history.close());
  const censusOf = (): CensusOf => ({
    label,
    redis,
    members: [...world.apis, ...world.workers],
    ...(options.engine === undefined ? {} : { engine: options.engine }),
  });

  return {
    world,
    redis,
    history,
    engine,
    programs,
    clientOf: (apis) => createClient({ urls: apis.map(({ url }) => url), key: world.key, history }),
    takeCensus: () => takeCensus(censusOf()),
    async judge(clients, { maxStarts, withinMs = FINALS_WITHIN_MS } = {}) {
      const finals = (await Promise.all(clients.map((one) => one.finals(withinMs)))).flat();
      const verdict = verdictOf({
        entries: history.entries,
        finals,
        startsSeen: programs.starts(),
        ...(maxStarts === undefined ? {} : { maxStarts }),
      });
      if (verdict.violations.length > 0) {
        const lines = verdict.violations.map(({ kind, about }) => `${kind}: ${about}`);
        throw new Error(`the history did not hold:\n  ${lines.slice(0, 30).join('\n  ')}`);
      }
      return { verdict, finals };
    },
    expectNothingLeaked: (before, limits) => expectNothingLeaked(censusOf(), before, limits),
    stop: () => world.stop(),
  };
}

/** Before its first worker does it, so that the witness knows what to look at. */
async function nameInstallation(redis: Redis): Promise<string> {
  await redis.set(keys.installation(), `faults-${process.pid}-${Date.now()}`, 'NX');
  return (await redis.get(keys.installation())) as string;
}
