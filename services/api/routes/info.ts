/** /v1/info: what this server offers. */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Settings } from '../../../shared/config/settings.ts';
import type { Catalogue } from '../../../shared/images.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { readWorkers } from '../../../shared/queue/workers.ts';
import { MAX_WAIT_SECONDS, refusals, type Server } from './server-types.ts';

export const info = z.strictObject({
  version: z.string(),
  images: z.array(
    z.strictObject({
      name: z.string(),
      script: z.boolean().describe('Whether `script` can be used with it.'),
      digest: z.string().nullable().describe('Null when no living worker has it.'),
    }),
  ),
  defaultImage: z.string(),
  runtimes: z.array(z.string()).describe('Those that a living worker offers.'),
  limits: z.record(
    z.string(),
    z.strictObject({ default: z.number().nullable(), ceiling: z.number() }),
  ),
  maxBodyBytes: z.int(),
  maxBlobBytes: z.int(),
  maxWaitSeconds: z.int(),
  openJobs: z.int().describe('Jobs waiting or running, of everyone.'),
  workers: z.array(
    z.strictObject({
      id: z.string(),
      slots: z.int(),
      running: z.int(),
      ready: z.int().describe('Sandboxes ready for the next job.'),
    }),
  ),
});

export type Info = z.infer<typeof info>;

interface InfoParts {
  readonly redis: Redis;
  readonly settings: Settings;
  readonly catalogue: Catalogue;
  readonly version: string;
}

export function infoRoutes(server: Server, parts: InfoParts): void {
  server.get(
    '/v1/info',
    {
      config: { tool: 'sandbox_info' },
      schema: {
        summary: 'What this server offers',
        tags: ['info'],
        response: { 200: info, ...refusals() },
      },
    },
    () => readInfo(parts),
  );
}

export async function readInfo({ redis, settings, catalogue, version }: InfoParts): Promise<Info> {
  const [workers, openJobs] = await Promise.all([readWorkers(redis), redis.zcard(keys.open())]);
  const digestOf = (name: string): string | null =>
    workers.map(({ images }) => images[name]?.digest).find((digest) => digest !== undefined) ??
    null;
  return {
    version,
    images: [...catalogue.values()].map(({ name, script }) => ({
      name,
      script: script !== undefined,
      digest: digestOf(name),
    })),
    defaultImage: settings.defaultImage,
    runtimes: [...new Set(workers.flatMap(({ runtimes }) => runtimes))].sort(),
    limits: Object.fromEntries(
      Object.entries(settings.limits).map(([name, limit]) => [
        name,
        { default: limit.default ?? null, ceiling: limit.ceiling },
      ]),
    ),
    maxBodyBytes: settings.maxBodyBytes,
    maxBlobBytes: settings.blobs.maxBytes,
    maxWaitSeconds: MAX_WAIT_SECONDS,
    openJobs,
    workers: workers.map(({ id, slots, running, ready }) => ({ id, slots, running, ready })),
  };
}
