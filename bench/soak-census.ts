/** What a soak looks at, again and again: processes, Redis's data, and what the engine holds. */
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import type { PrivateDockerd } from '../test/faults/kit/private-dockerd.ts';
import { descriptorsOf, residentMb } from './memory.ts';

const MIB = 1024 * 1024;

export const FIGURES = [
  'API, MiB',
  'worker, MiB',
  'redis, MiB',
  'dockerd, MiB',
  'containerd, MiB',
  'data in Redis, MiB',
  'API, descriptors',
  'worker, descriptors',
  'redis, descriptors',
  'dockerd, descriptors',
  'containerd, descriptors',
  'keys in Redis',
  'sandboxes',
  'shims',
  'mounts',
] as const;

export type Figure = (typeof FIGURES)[number];
export type Figures = Readonly<Record<Figure, number>>;
export type TakeCensus = () => Promise<Figures>;

export function createCensus(of: {
  pids: { api: number; worker: number; redis: number };
  engine: PrivateDockerd;
  redis: Redis;
}): TakeCensus {
  const { engine, redis } = of;
  const containerd = engine.pidsOf('containerd.toml')[0];
  if (containerd === undefined) throw new Error('the private engine has no containerd');
  const { api, worker, redis: redisServer } = of.pids;
  return async () => ({
    'API, MiB': residentMb(api),
    'worker, MiB': residentMb(worker),
    'redis, MiB': residentMb(redisServer),
    'dockerd, MiB': residentMb(engine.pid),
    'containerd, MiB': residentMb(containerd),
    'data in Redis, MiB': usedBytes(await redis.info('memory')) / MIB,
    'API, descriptors': descriptorsOf(api),
    'worker, descriptors': descriptorsOf(worker),
    'redis, descriptors': descriptorsOf(redisServer),
    'dockerd, descriptors': descriptorsOf(engine.pid),
    'containerd, descriptors': descriptorsOf(containerd),
    'keys in Redis': await redis.dbsize(),
    sandboxes: (await engine.sandboxes()).length,
    shims: engine.pidsOf('containerd-shim').length,
    mounts: readFileSync(`/proc/${engine.pid}/mounts`, 'utf8').split('\n').length - 1,
  });
}

const usedBytes = (info: string): number => Number(info.match(/^used_memory:(\d+)/m)?.[1]);
