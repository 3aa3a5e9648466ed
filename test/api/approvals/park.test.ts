import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Notice } from '../../../services/api/approvals/park.ts';
import { approvalSummary } from '../../../shared/contract/approval.ts';
import { AppError } from '../../../shared/errors.ts';
import { readApproval } from '../../../shared/queue/approval-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { demanded, type Office, openOffice, person } from './parts.ts';

let server: TestRedis;
let redis: Redis;
let office: Office;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  office = openOffice(redis);
});

const YES = { reason: null, edit: null, fingerprint: null };
const boss = person('boss');

describe('an approval that is remembered', () => {
  const demand = { rememberMs: 60_000 };
  const request = { command: ['make', 'big'] };

  it('holds for the same request of the same key under the same policy, and for no other', async () => {
    const { id } = await office.ask({ demand, request });
    await office.approvals.approve(boss, id, YES);
    const same = await office.parking.demand(demanded({ demand, request }));
    expect(same).toBeNull();
    const others = [
      { demand, request: { command: ['make', 'bigger'] } },
      { demand, request: { ...request, timeoutMs: 2000 } },
      { demand, request: { ...request, callback: 'https://other.example/' } },
      { demand, request: { ...request, labels: { env: 'prod' } } },
      { demand: { ...demand, rule: 'other-rule' }, request },
      { demand, request, caller: person('else') },
      { demand, request, caller: person('asker', { grant: 'second-key' }) },
      { demand, request, caller: person('asker', { tenant: 'other' }) },
      { demand, request, revision: 'r2' },
    ];
    for (const other of others) {
      expect(await office.parking.demand(demanded(other))).not.toBeNull();
    }
  });

  it('does not come of a denial, nor where the rule remembers nothing', async () => {
    const denied = await office.ask({ demand, request });
    await office.approvals.deny(boss, denied.id, { ...YES, reason: 'no' });
    expect(await office.parking.demand(demanded({ demand, request }))).not.toBeNull();
    const once = await office.ask({ request });
    await office.approvals.approve(boss, once.id, YES);
    expect(await office.parking.demand(demanded({ demand, request }))).not.toBeNull();
  });

  it('is over when its time is', async () => {
    const { id } = await office.ask({ demand: { rememberMs: 150 }, request });
    await office.approvals.approve(boss, id, YES);
    const short = demanded({ demand: { rememberMs: 150 }, request });
    expect(await office.parking.demand(short)).toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await office.parking.demand(short)).not.toBeNull();
  });

  it('after an edit holds for what was approved, not for what was asked', async () => {
    const edited = { ...demand, mayEdit: ['timeoutMs'] };
    const { id } = await office.ask({ demand: edited, request: { ...request, timeoutMs: 9000 } });
    await office.approvals.approve(boss, id, { ...YES, edit: { timeoutMs: 5000 } });
    const asked = (timeoutMs: number) =>
      office.parking.demand(demanded({ demand: edited, request: { ...request, timeoutMs } }));
    expect(await asked(9000)).not.toBeNull();
    expect(await asked(5000)).toBeNull();
  });
});

describe('what is shown of a request', () => {
  it('has its secrets masked, in names and values, and an edit still starts from what was sent', async () => {
    const { id, approval } = await office.ask({
      request: { command: ['login', 'hush-abc'], env: { TOKEN: 'hush-abc' } },
      demand: { mayEdit: ['timeoutMs'] },
    });
    expect(approval.shown).not.toContain('hush');
    expect((await office.approvals.get(boss, id)).request).toMatchObject({
      command: ['login', '***'],
      env: { TOKEN: '***' },
    });
    const view = await office.approvals.approve(boss, id, { ...YES, edit: { timeoutMs: 5 } });
    expect(JSON.stringify(view)).not.toContain('hush');
    expect(await redis.hget(keys.job(view.job), 'spec')).toContain('hush-abc');
    expect(JSON.stringify(await redis.hgetall(keys.approval(id)))).not.toContain('hush');
  });
});

describe('an approval', () => {
  it('ends no later than the job may start', async () => {
    const expiresAtMs = Date.now() + 1000;
    const { approval } = await office.ask({
      job: { expiresAtMs },
      demand: { expiresInMs: 60_000 },
    });
    expect(approval.expiresAtMs).toBe(expiresAtMs);
  });
});

describe('a notice', () => {
  const demand = { notify: ['slack', 'pager'] };

  it('goes once to each notifier of the rule, without the request', async () => {
    const { id } = await office.ask({ demand });
    await office.parking.announce([id]);
    expect(office.notices).toMatchObject([
      { id: `${id}.slack`, type: 'approval.requested', notifier: 'slack', tenant: 'default' },
      { id: `${id}.pager`, notifier: 'pager' },
    ]);
    for (const { data } of office.notices) expect(approvalSummary.parse(data).id).toBe(id);
    expect(await redis.zcard(keys.unannouncedApprovals())).toBe(0);
    await office.parking.announceForgotten();
    expect(office.notices).toHaveLength(2);
  });

  it('that could not be taken over is left to the sweep, which sends it under the same id', async () => {
    const heard: Notice[] = [];
    let isDown = true;
    const later = openOffice(redis, async (notice) => {
      if (isDown) throw new Error('down');
      heard.push(notice);
    });
    const { id } = await later.ask({ demand });
    await later.parking.announce([id]);
    isDown = false;
    await later.parking.announceForgotten();
    expect(heard).toEqual([]);
    await redis.zadd(keys.unannouncedApprovals(), Date.now() - 60_000, id);
    await later.parking.announceForgotten();
    expect(heard.map((notice) => notice.id)).toEqual([`${id}.slack`, `${id}.pager`]);
    expect(await redis.zcard(keys.unannouncedApprovals())).toBe(0);
  });

  it('that is refused for good is not tried again, and one that fails keeps no other back', async () => {
    const heard: string[] = [];
    const refusing = openOffice(redis, async ({ notifier }) => {
      if (notifier === 'slack') throw new AppError('CALLBACK_REFUSED');
      heard.push(notifier);
    });
    const { id } = await refusing.ask({ demand });
    await refusing.parking.announce([id]);
    expect(heard).toEqual(['pager']);
    expect(await redis.zcard(keys.unannouncedApprovals())).toBe(0);
    const failing = openOffice(redis, async ({ notifier }) => {
      if (notifier === 'slack') throw new Error('down');
      heard.push(notifier);
    });
    const second = await failing.ask({ demand });
    await failing.parking.announce([second.id]);
    expect(heard).toEqual(['pager', 'pager']);
    expect(await redis.zrange(keys.unannouncedApprovals(), 0, -1)).toEqual([second.id]);
  });

  it('is not sent of what was decided meanwhile', async () => {
    const { id } = await office.ask({ demand });
    await office.approvals.approve(boss, id, YES);
    await office.parking.announce([id]);
    expect(office.notices).toEqual([]);
    expect((await readApproval(redis, id))?.state).toBe('approved');
  });
});
