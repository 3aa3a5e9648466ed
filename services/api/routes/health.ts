/** Probes and metrics, without a key. */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Metrics } from '../../../shared/metrics.ts';
import { checkRedis, type RedisCheck } from '../../../shared/queue/check.ts';
import { readWorkers, type WorkerAccount } from '../../../shared/queue/workers.ts';
import type { Server } from './server-types.ts';

const readiness = z.strictObject({
  status: z
    .enum(['ready', 'degraded', 'unready'])
    .describe('degraded: jobs are accepted, but may have to wait; unready: nothing is accepted.'),
  durability: z.enum(['strict', 'relaxed']).describe('strict: on disk before it is answered.'),
  workers: z.int(),
  problems: z.array(z.string()),
});

export function healthRoutes(
  server: Server,
  parts: {
    redis: Redis;
    /** As it was at the start. */
    check: RedisCheck;
    metrics: Metrics;
    /** Why the policy in force is not the newest that was written. */
    policyProblems?: () => readonly string[];
  },
): void {
  const { redis, metrics } = parts;
  let last = parts.check;
  const config = { isPublic: true };

  server.get(
    '/healthz',
    { config, schema: { summary: 'Whether this process lives', tags: ['health'] } },
    async () => ({ status: 'ok' }),
  );

  server.get(
    '/readyz',
    {
      config,
      schema: {
        summary: 'Whether this server can take and run jobs',
        tags: ['health'],
        response: { 200: readiness, 503: readiness },
      },
    },
    async (_request, reply) => {
      try {
        // Anew each time: a failover or an operator may have put another Redis in its place.
        const [check, workers] = await Promise.all([checkRedis(redis), readWorkers(redis)]);
        last = check;
        if (check.refusal !== undefined) {
          return reply.status(503).send(unready(check, `Redis refuses writes: ${check.refusal}`));
        }
        return readyWith(check, workers, parts.policyProblems?.() ?? []);
      } catch {
        return reply.status(503).send(unready(last, 'Redis does not answer'));
      }
    },
  );

  server.get(
    '/metrics',
    { config, schema: { summary: 'Metrics for Prometheus', tags: ['health'] } },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()),
  );
}

type Readiness = z.output<typeof readiness>;

const unready = ({ durability }: RedisCheck, problem: string): Readiness => ({
  status: 'unready',
  durability,
  workers: 0,
  problems: [problem],
});

function readyWith(
  { durability, faults }: RedisCheck,
  workers: readonly WorkerAccount[],
  policyProblems: readonly string[],
): Readiness {
  const failing = workers.filter(({ engineFailing }) => engineFailing);
  const unable = workers.filter(({ quarantined }) => quarantined > 0);
  const problems = [
    ...(workers.length === 0 ? ['no worker is alive'] : []),
    ...failing.map(({ id }) => `the engine of worker ${id} fails`),
    ...unable.map(({ id, quarantined }) => `worker ${id} cannot remove ${quarantined} sandboxes`),
    ...faults,
    ...policyProblems,
  ];
  const status = problems.length === 0 ? 'ready' : 'degraded';
  return { status, durability, workers: workers.length, problems };
}
