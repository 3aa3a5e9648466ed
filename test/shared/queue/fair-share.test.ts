import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { admitJob } from '../../../shared/queue/admit.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { costOf, type Entry, entriesOf } from '../../../shared/queue/fair-share.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { settleJob } from '../../../shared/queue/settle.ts';
import { admission, admitted, begin, begun, settle, settlement } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

interface Turn extends Entry {
  readonly tenant: string;
}

/** A job of a tenant, with the turn that it got. */
async function enters(
  tenant: string,
  { weight = 1, cap = null }: { weight?: number; cap?: number | null } = {},
): Promise<Turn> {
  const share = { cost: costOf(weight), maxOpenJobs: 100_000, maxRunningJobs: cap };
  const job = admission({ tenant, share });
  const reply = await admitJob(redis, job);
  if (reply.kind !== 'accepted') throw new Error(reply.kind);
  return { id: job.id, lane: job.lane, tenant, priority: reply.priority };
}

const enterAll = async (tenant: string, count: number, weight = 1): Promise<Turn[]> => {
  const turns: Turn[] = [];
  for (let at = 0; at < count; at++) turns.push(await enters(tenant, { weight }));
  return turns;
};

/** As the queue runs them: the least priority first, and of equals the one that came first. */
const inOrder = (turns: readonly Turn[]): Turn[] =>
  turns.toSorted((one, other) => one.priority - other.priority);

const runs = async (id: string): Promise<void> => {
  await settle(redis, id, await begun(redis, id));
};

const laneOf = () => redis.hgetall(keys.lane('interactive'));

describe('whose turn it is', () => {
  it('is at once that of a tenant that comes anew beside a thousand waiting jobs of another', async () => {
    const many = await enterAll('many', 1000);
    for (const { id } of many.slice(0, 10)) await runs(id);
    const one = await enters('one');
    const waiting = inOrder([...many.slice(10), one]);
    expect(waiting.findIndex(({ id }) => id === one.id)).toBeLessThanOrEqual(1);
    expect(waiting.filter(({ tenant }) => tenant === 'many').map(({ id }) => id)).toEqual(
      many.slice(10).map(({ id }) => id),
    );
  });

  it('goes from tenant to tenant where each has jobs waiting', async () => {
    const all = [...(await enterAll('a', 20)), ...(await enterAll('b', 20))];
    const tenants = inOrder(all).map(({ tenant }) => tenant);
    for (let at = 0; at < 40; at += 2) {
      expect(tenants.slice(at, at + 2).toSorted()).toEqual(['a', 'b']);
    }
  });

  it('comes as often as a tenant’s weight says', async () => {
    const all = [...(await enterAll('light', 40)), ...(await enterAll('heavy', 40, 3))];
    const first = inOrder(all).slice(0, 40);
    expect(first.filter(({ tenant }) => tenant === 'heavy').length).toBeGreaterThanOrEqual(29);
    expect(first.filter(({ tenant }) => tenant === 'light').length).toBeGreaterThanOrEqual(10);
  });

  it('does not come sooner for a tenant that was away: what it did not use is gone', async () => {
    const busy = await enterAll('busy', 30);
    for (const { id } of busy.slice(0, 20)) await runs(id);
    const late = await enterAll('late', 10);
    const tenants = inOrder([...busy.slice(20), ...late]).map(({ tenant }) => tenant);
    expect(tenants.slice(0, 8).filter((tenant) => tenant === 'late').length).toBeLessThanOrEqual(5);
  });

  it('says to a tenant with something waiting how far it is ahead', async () => {
    const ahead = async () => {
      const reply = await admitJob(redis, admission({ tenant: 'a' }));
      return reply.kind === 'accepted' ? reply.ahead : Number.NaN;
    };
    expect(await ahead()).toBe(0);
    expect(await ahead()).toBe(1);
    expect(await ahead()).toBe(2);
  });
});

describe('the time of a lane', () => {
  it('is the turn of what ran last, and never goes back', async () => {
    const turns = await enterAll('a', 4);
    await begun(redis, turns[2]?.id as string);
    expect(await laneOf()).toMatchObject({ time: '2', waiting: '3' });
    await begun(redis, turns[0]?.id as string);
    expect(await laneOf()).toMatchObject({ time: '2', waiting: '2' });
  });

  it('is not moved by a job that is cancelled while it waits', async () => {
    const turns = await enterAll('a', 4);
    expect(await settle(redis, turns[3]?.id as string, null, { from: 'queued' })).toBe('settled');
    expect(await laneOf()).toEqual({ waiting: '3', 'of:a': '4' });
  });

  it('begins anew when nothing waits', async () => {
    const turns = await enterAll('a', 3);
    for (const { id } of turns) await begun(redis, id);
    expect(await laneOf()).toEqual({});
    expect((await enters('a')).priority).toBe(1);
  });

  it('is one of each lane', async () => {
    await enterAll('a', 5);
    await admitted(redis, { tenant: 'a', lane: 'bulk' });
    expect(await redis.hgetall(keys.lane('bulk'))).toEqual({ waiting: '1', 'of:a': '1' });
  });

  it('counts a job once, however often it is begun', async () => {
    const [first] = await enterAll('a', 3);
    await begun(redis, first?.id as string);
    await begun(redis, first?.id as string, 'w2');
    expect(await laneOf()).toMatchObject({ waiting: '2' });
  });
});

describe('a job that had its turn', () => {
  it('and was handed back is next again, and moves nobody else’s turn', async () => {
    const many = await enterAll('many', 50);
    const id = many[0]?.id as string;
    await handBackJob(redis, { id, start: await begun(redis, id), ran: 'no' });
    await begun(redis, id);
    const one = await enters('one');
    const place = inOrder([...many.slice(1), one]).findIndex(({ tenant }) => tenant === 'one');
    expect(place).toBeLessThanOrEqual(1);
  });

  it('and was parked does not lose to jobs that came after it', async () => {
    const capped = [await enters('capped', { cap: 1 }), await enters('capped', { cap: 1 })];
    for (let at = 0; at < 48; at++) capped.push(await enters('capped', { cap: 1 }));
    const others = await enterAll('other', 50);
    const [first] = capped as [Turn];
    const start = await begun(redis, first.id);
    for (const { id } of capped.slice(1)) {
      expect(await begin(redis, id)).toEqual({ kind: 'parked' });
    }
    for (const { id } of others.slice(0, 49)) await runs(id);
    const { released } = await settleJob(redis, settlement(first.id, start));
    expect(released.map(({ id }) => id)).toEqual([capped[1]?.id]);
    expect(released[0]?.priority).toBeLessThanOrEqual(others[49]?.priority as number);
  });
});

describe('entries as a script returns them', () => {
  it('are read by fours, and a torn one is none', () => {
    expect(entriesOf(['a', 'bulk', 3, 0, 'b', 'interactive', '4', 1])).toEqual([
      { id: 'a', lane: 'bulk', priority: 3, isBack: false },
      { id: 'b', lane: 'interactive', priority: 4, isBack: true },
    ]);
    expect(entriesOf(['a', 'bulk', 3])).toEqual([]);
  });
});
