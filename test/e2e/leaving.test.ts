/** An API process that is told to stop, as a load balancer before it sees that. */
import { afterEach, expect, test } from 'vitest';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../helpers/redis.ts';
import { callerOf, startServer } from '../helpers/server.ts';
import { until } from './watching.ts';

const NOTICE_MS = 2_000;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

test('an API that is told to stop says so on /readyz first, and takes calls until its notice is over', async () => {
  const redis = await startOperatorsRedis(...KEEPS_EVERYTHING);
  releases.push(redis.stop);
  const server = await startServer(
    { COFFERDAM_REDIS_URL: redis.url, COFFERDAM_STOP_NOTICE_MS: String(NOTICE_MS) },
    { command: 'api' },
  );
  const api = callerOf(server);
  expect((await api.send('/readyz')).status).toBe(200);
  const toldAtMs = performance.now();
  const exit = server.stop('SIGTERM');
  const ready = await until('it says that it leaves', NOTICE_MS, async () => {
    const answer = await api.send('/readyz');
    return answer.status === 503 && ((await answer.json()) as object);
  });
  expect(ready).toMatchObject({ status: 'unready', problems: ['this process is stopping'] });
  expect((await api.send('/healthz')).status).toBe(200);
  const { id } = await api.submit({ command: ['true'] });
  expect(await api.get(id)).toMatchObject({ state: 'queued' });
  expect(await exit).toBe(0);
  expect(performance.now() - toldAtMs).toBeGreaterThanOrEqual(NOTICE_MS);
  await expect(api.send('/healthz')).rejects.toThrow();
});
