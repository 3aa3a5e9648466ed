import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type NewApproval,
  readApproval,
  readApprovals,
} from '../../../shared/queue/approval-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { newApproval, parked } from './approval.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

describe('the record of an approval', () => {
  it('is read as it was written, whatever people wrote', async () => {
    const odd = 'a\n"b" \\ \u0000 ü 🙂 {} ]]';
    const approval: NewApproval = newApproval({
      name: odd,
      reason: odd,
      approvers: ['role:ops', odd],
      mayEdit: ['timeoutMs'],
      notify: ['slack'],
      quorum: 3,
      rememberMs: 5,
      onExpire: 'approve',
      shown: JSON.stringify({ script: odd, list: [], none: {} }),
      request: JSON.stringify({ script: 'secret', files: [] }),
    });
    const { job } = await parked(server.redis, approval);
    const record = await readApproval(server.redis, approval.id);
    expect(record).toMatchObject({
      state: 'pending',
      job,
      tenant: 'default',
      grant: approval.grant,
      name: odd,
      reason: odd,
      approvers: ['role:ops', odd],
      mayEdit: ['timeoutMs'],
      notify: ['slack'],
      quorum: 3,
      rememberMs: 5,
      onExpire: 'approve',
      createdAt: approval.createdAtMs,
      expiresAt: approval.expiresAtMs,
      fingerprint: approval.fingerprint,
      shown: { script: odd, list: [], none: {} },
      request: { script: 'secret', files: [] },
      decisions: [],
    });
    expect(record?.batch).toBeUndefined();
  });

  it('keeps what was sent only where something of it may be edited', async () => {
    const { approval } = await parked(server.redis);
    expect((await readApproval(server.redis, approval.id))?.request).toBeUndefined();
  });

  it('is marked as unannounced only where somebody is to be told', async () => {
    const told = await parked(server.redis, { notify: ['slack'] });
    const quiet = await parked(server.redis);
    const marked = await server.redis.zrange(keys.unannouncedApprovals(), 0, -1);
    expect(marked).toContain(told.approval.id);
    expect(marked).not.toContain(quiet.approval.id);
  });

  it('leaves the lists once it can be gone', async () => {
    const tenant = 'lists';
    const old = await parked(server.redis, { createdAtMs: 1_000 }, { tenant });
    const edge = await parked(server.redis, { createdAtMs: 2_000 }, { tenant });
    const young = await parked(server.redis, { forgetBeforeMs: 2_000 }, { tenant });
    const list = () => server.redis.zrange(keys.tenantApprovals(tenant), 0, -1);
    expect(await list()).not.toContain(old.approval.id);
    // What is forgotten was asked for before the given time, not at it.
    expect(await list()).toEqual([edge.approval.id, young.approval.id]);
    expect(await server.redis.zscore(keys.approvals(), edge.approval.id)).toBe('2000');
  });

  it('is read among many, in their order', async () => {
    const [a, b] = await Promise.all([parked(server.redis), parked(server.redis)]);
    const read = await readApprovals(server.redis, [b.approval.id, 'apr_none', a.approval.id]);
    expect(read.map((one) => one?.job)).toEqual([b.job, undefined, a.job]);
  });
});
