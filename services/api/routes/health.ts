/** Probes and metrics, without a key. */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Metrics } from '../../../shared/metrics.ts';
import { checkRedis, type RedisCheck } from '../../../shared/queue/check.ts';
import { readWorkers, type WorkerAccount } from '../../../shared/queue/workers.ts';
import type { Departure } from '../departure.ts';
import type { Server } from './server-types.ts';

const readiness = z.strictObject({
  status: z
    .enum(['ready', 'degraded', 'unready'])
    .describe('degraded: jobs are accepted, but may have to wait; unready: nothing is accepted.'),
  durability: z.enum(['strict', 'relaxed']).describe('strict: on disk before it is answered.'),
  workers: z.int(),
  problems: z.array(z.string()),
});

type Readiness = z.output<typeof readiness>;

export interface HealthParts {
  readonly redis: Redis;
  /** As it was at the start. */
  readonly check: RedisCheck;
  readonly metrics: Metrics;
  readonly departure: Departure;
  /** Why the policy in force is not the newest that was written. */
  readonly policyProblems?: () => readonly string[];
}

export function healthRoutes(server: Server, parts: HealthParts): void {
  const { metrics } = parts;
  const readinessNow = createReadiness(parts);
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
      const now = await readinessNow();
      return reply.status(now.status === 'unready' ? 503 : 200).send(now);
    },
  );

  server.get(
    '/metrics',
    { config, schema: { summary: 'Metrics for Prometheus', tags: ['health'] } },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()),
  );
}

function createReadiness(parts: HealthParts): () => Promise<Readiness> {
  const { redis, departure, policyProblems } = parts;
  let { durability } = parts.check;
  const unready = (problem: string): Readiness => ({
    status: 'unready',
    durability,
    workers: 0,
    problems: [problem],
  });
  return async () => {
    if (departure.isLeaving) return unready('this process is stopping');
    try {
      // Anew each time: a failover or an operator may have put another Redis in its place.
      const [check, workers] = await Promise.all([checkRedis(redis), readWorkers(redis)]);
      durability = check.durability;
      if (check.refusal !== undefined) return unready(`Redis refuses writes: ${check.refusal}`);
      const problems = workers.flatMap(problemsOf);
      if (workers.length === 0) problems.unshift('no worker is alive');
      problems.push(...check.faults, ...(policyProblems?.() ?? []));
      const status = problems.length === 0 ? 'ready' : 'degraded';
      return { status, durability, workers: workers.length, problems };
    } catch {
      return unready('Redis does not answer');
    }
  };
}

const problemsOf = ({ id, engineFailing, isSilent }: WorkerAccount): string[] => [
  ...(engineFailing ? [`the engine of worker ${id} fails`] : []),
  ...(isSilent ? [`worker ${id} takes no jobs, though there are some`] : []),
];
