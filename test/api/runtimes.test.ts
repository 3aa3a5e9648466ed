import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntimeOffer } from '../../services/api/runtimes.ts';
import { keys } from '../../shared/queue/keys.ts';
import { offerRuntimes } from '../../shared/queue/runtimes.ts';
import { startRedis, type TestRedis } from '../shared/queue/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const offer = () => createRuntimeOffer({ redis: server.redis, default: 'runc' });

describe('a runtime', () => {
  it('that no worker ever offered is refused', async () => {
    await expect(offer().require('runsc')).rejects.toMatchObject({
      code: 'RUNTIME_UNAVAILABLE',
      field: 'runtime',
    });
  });

  it('that is the default is waited for', async () => {
    await expect(offer().require('runc')).resolves.toBeUndefined();
  });

  it('that a worker offers, or did this day, is accepted', async () => {
    await offerRuntimes(server.redis, ['runsc']);
    await expect(offer().require('runsc')).resolves.toBeUndefined();
    await server.redis.zadd(keys.runtimes(), Date.now() - 25 * 3_600_000, 'runsc');
    await expect(offer().require('runsc')).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });
});
