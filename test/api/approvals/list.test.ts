import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApprovalQuery, listApprovals } from '../../../services/api/approvals/list.ts';
import { approvalPage } from '../../../shared/contract/approval.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { parked, yes } from '../../shared/queue/approval.ts';
import { startRedis, type TestRedis } from '../../shared/queue/redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());

async function listAll(tenant: string | null, query: Partial<ApprovalQuery> = {}) {
  const ids: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const asked = { state: undefined, limit: 7, ...query, cursor };
    const page = approvalPage.parse(await listApprovals(redis, tenant, asked));
    ids.push(...page.approvals.map(({ id }) => id));
    if (page.next === null) return ids;
    cursor = page.next;
  }
}

describe('a list of approvals', () => {
  it('has the newest first, of one tenant or of all, and neither skips nor repeats one', async () => {
    const own: string[] = [];
    for (let at = 0; at < 30; at++) {
      const over = { createdAtMs: 1000 + Math.floor(at / 9) };
      own.push((await parked(redis, over, { tenant: 'one' })).approval.id);
    }
    const other = (await parked(redis, { createdAtMs: 5000 }, { tenant: 'two' })).approval.id;
    const listed = await listAll('one');
    expect(listed).toHaveLength(30);
    expect(new Set(listed)).toEqual(new Set(own));
    expect(new Set(listed.slice(0, 3))).toEqual(new Set(own.slice(27)));
    expect((await listAll(null))[0]).toBe(other);
    expect(await listAll(null)).toHaveLength(31);
  });

  it('goes on behind more of one millisecond than are looked at together', async () => {
    for (let at = 0; at < 120; at++) await parked(redis, { createdAtMs: 7 }, { tenant: 'crowded' });
    expect(new Set(await listAll('crowded', { limit: 50 })).size).toBe(120);
  });

  it('can be of one state alone, and leaves out what is not kept any more', async () => {
    const tenant = 'states';
    const [a, b, c] = await Promise.all([1, 2, 3].map(() => parked(redis, {}, { tenant })));
    if (a === undefined || b === undefined || c === undefined) throw new Error('three');
    await yes(redis, b, { tenant });
    await redis.del(keys.approval(c.approval.id));
    expect(await listAll(tenant, { state: 'pending' })).toEqual([a.approval.id]);
    expect(await listAll(tenant, { state: 'approved' })).toEqual([b.approval.id]);
    expect(await listAll(tenant)).toHaveLength(2);
  });

  it('refuses a cursor that no page gave', async () => {
    const query = { state: undefined, limit: 1, cursor: 'x' };
    await expect(listApprovals(redis, 't', query)).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      field: 'cursor',
    });
  });
});
