/**
 * APIs and workers as real processes of their own over one Redis. Everything that is started here is stopped here, last
 * first.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../helpers/redis.ts';
import { Api, type Env, type Member, type StartOptions, Worker } from './member.ts';

export interface WorldOptions {
  readonly redisUrl: string;
  /** Where the engine of its workers listens, as COFFERDAM_ENGINE says it; the machine's own without. */
  readonly engine?: string;
  /** Settings of every process. */
  readonly env?: Env;
}

export interface World {
  readonly redisUrl: string;
  /** The key of its one tenant, which every API of it takes. */
  readonly key: string;
  readonly apis: readonly Api[];
  readonly workers: readonly Worker[];
  startApi(options?: StartOptions): Promise<Api>;
  startWorker(options?: StartOptions): Promise<Worker>;
  /** Something else that is to be stopped with it. */
  own(release: () => unknown): void;
  stop(): Promise<void>;
}

export function createWorld({ redisUrl, engine, env = {} }: WorldOptions): World {
  const key = randomBytes(24).toString('hex');
  const releases: (() => unknown)[] = [];
  const apis: Api[] = [];
  const workers: Worker[] = [];

  const withSettings = (options: StartOptions): StartOptions => {
    const dataDir = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-faults-'));
    releases.push(() => rmSync(dataDir, { recursive: true, force: true }));
    return {
      ...options,
      env: {
        COFFERDAM_REDIS_URL: redisUrl,
        COFFERDAM_DEV_KEY: key,
        COFFERDAM_DATA_DIR: dataDir,
        ...(engine === undefined ? {} : { COFFERDAM_ENGINE: engine }),
        ...env,
        ...options.env,
      },
    };
  };
  const started = async <M extends Member>(member: M, members: M[]): Promise<M> => {
    releases.push(() => member.stop());
    await member.start();
    members.push(member);
    return member;
  };

  return {
    redisUrl,
    key,
    apis,
    workers,
    async startApi(options = {}) {
      return started(new Api(withSettings(options), { key, port: await freePort() }), apis);
    },
    startWorker: (options = {}) => started(new Worker(withSettings(options)), workers),
    own: (release) => releases.push(release),
    async stop() {
      const failures: unknown[] = [];
      for (let release = releases.pop(); release !== undefined; release = releases.pop()) {
        try {
          await release();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw new AggregateError(failures, 'not everything stopped');
    },
  };
}
