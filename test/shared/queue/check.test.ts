import { describe, expect, it } from 'vitest';
import { checkRedis, requireUsableRedis } from '../../../shared/queue/check.ts';
import { withRedis } from './redis.ts';

const SAFE = { appendonly: 'yes', 'maxmemory-policy': 'noeviction' };

describe('the look at a Redis before anything is entrusted to it', () => {
  it('finds nothing wrong with one that keeps every write, and calls it strict', async () => {
    const check = await withRedis({ ...SAFE, appendfsync: 'always' }, ({ redis }) =>
      checkRedis(redis),
    );
    expect(check).toMatchObject({ durability: 'strict', faults: [] });
    expect(check.version).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('calls one relaxed that may lose its last second', async () => {
    const check = await withRedis({ ...SAFE, appendfsync: 'everysec' }, ({ redis }) =>
      checkRedis(redis),
    );
    expect(check).toMatchObject({ durability: 'relaxed', faults: [] });
  });

  it('calls one relaxed that does not let us read its configuration', async () => {
    const options = { ...SAFE, appendfsync: 'always', 'rename-command': 'CONFIG NOCONFIG' };
    const check = await withRedis(options, ({ redis }) => checkRedis(redis));
    expect(check).toMatchObject({ durability: 'relaxed', faults: [] });
  });

  it('names every fault at once, each with what was expected, what came and its mend', async () => {
    const options = { appendonly: 'no', 'maxmemory-policy': 'allkeys-lru' };
    const { faults } = await withRedis(options, ({ redis }) => checkRedis(redis));
    expect(faults).toHaveLength(2);
    expect(faults[0]).toMatch(/^maxmemory-policy: expected noeviction.*came allkeys-lru.*Mend: /);
    expect(faults[1]).toMatch(/^appendonly: expected yes.*came no.*Mend: /);
  });

  it('refuses a replica, and says what to name instead', async () => {
    const options = { ...SAFE, replicaof: '127.0.0.1 1' };
    await withRedis(options, async ({ redis }) => {
      await expect(requireUsableRedis(redis)).rejects.toThrow(/came a replica.*redis\+sentinel:/);
    });
  });

  it('refuses one with a fault, and says all of them', async () => {
    const options = { appendonly: 'no', 'maxmemory-policy': 'volatile-lru' };
    await withRedis(options, async ({ redis }) => {
      await expect(requireUsableRedis(redis)).rejects.toThrow(
        /cannot be used:\n {2}maxmemory-policy.*\n {2}appendonly/,
      );
    });
  });
});
