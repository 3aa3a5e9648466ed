import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCanceller } from '../../../services/api/canceller.ts';
import { createJobs } from '../../../services/api/jobs.ts';
import { createResults } from '../../../services/api/results.ts';
import { approvalView } from '../../../shared/contract/approval.ts';
import { jobResult } from '../../../shared/contract/result.ts';
import { readBatch, stopBatch } from '../../../shared/queue/batch-record.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { createVerifier } from '../../../shared/queue/signature.ts';
import { newApproval } from '../../shared/queue/approval.ts';
import { batchJob, batchJobs, created, released } from '../../shared/queue/batch.ts';
import { begin } from '../../shared/queue/job.ts';
import { silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { type Asked, type Office, openOffice, person, SIGNING_KEYS } from './parts.ts';

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
const no = (reason = 'no') => ({ ...YES, reason });
const boss = person('boss');
const ask = (asked?: Asked) => office.ask(asked);
const resultOf = async (job: string) =>
  jobResult.parse(JSON.parse((await redis.get(keys.result(job))) ?? 'null'));
const stateOf = async (job: string) => (await readRecord(redis, job))?.state;

describe('approving', () => {
  it('releases the job, says by whom and why, and is an act for the audit', async () => {
    const { id, job } = await ask();
    const view = await office.approvals.approve(boss, id, { ...YES, reason: 'go' });
    expect(approvalView.parse(view)).toMatchObject({
      state: 'approved',
      decisions: [{ decision: 'approve', by: { name: 'user:boss' }, reason: 'go', edit: [] }],
    });
    expect(office.entered).toMatchObject([{ id: job, lane: 'interactive' }]);
    expect(office.acts).toMatchObject([
      { act: 'approval.approve', subject: id, detail: { job, isReleased: true, reason: 'go' } },
    ]);
  });

  it('by twenty at once releases the job once, and every one of them reads that it is approved', async () => {
    const hands = await Promise.all(Array.from({ length: 20 }, () => server.connect()));
    const offices = hands.map((hand) => openOffice(hand));
    const { id, job } = await ask();
    const views = await Promise.all(
      offices.map(({ approvals }, index) => approvals.approve(person(`p${index}`), id, YES)),
    );
    expect(new Set(views.map(({ state }) => state))).toEqual(new Set(['approved']));
    expect(offices.flatMap(({ entered }) => entered)).toMatchObject([{ id: job }]);
    expect(offices.flatMap(({ acts }) => acts)).toHaveLength(1);
    expect(await redis.hget(keys.lane('interactive'), 'waiting')).toBe('1');
    for (const hand of hands) hand.disconnect();
  });

  it('is refused to the key that asked, and to another key of the same name', async () => {
    const { id, job } = await ask();
    const asker = person('asker');
    const namesake = person('asker', { grant: 'second-key' });
    const renamed = person('other', { grant: asker.grant });
    for (const one of [asker, namesake, renamed]) {
      for (const deciding of [
        office.approvals.approve(one, id, YES),
        office.approvals.deny(one, id, no()),
      ]) {
        await expect(deciding).rejects.toMatchObject({ code: 'APPROVAL_NOT_YOURS' });
      }
    }
    expect(await stateOf(job)).toBe('awaiting_approval');
    expect(office.acts).toEqual([]);
  });

  it('is for those whom the rule names', async () => {
    const { id } = await ask({ demand: { approvers: ['user:boss'] } });
    await expect(office.approvals.approve(person('other'), id, YES)).rejects.toMatchObject({
      code: 'APPROVAL_NOT_YOURS',
      message: 'expected one of user:boss; came user:other',
    });
    expect((await office.approvals.approve(boss, id, YES)).state).toBe('approved');
  });

  it('waits for the quorum, in which a person counts once', async () => {
    const { id, job } = await ask({ demand: { quorum: 2 } });
    expect((await office.approvals.approve(boss, id, YES)).state).toBe('pending');
    const again = await office.approvals.approve({ ...boss, grant: 'second-key' }, id, YES);
    expect(again).toMatchObject({ state: 'pending', decisions: [{}] });
    expect(await stateOf(job)).toBe('awaiting_approval');
    expect((await office.approvals.approve(person('two'), id, YES)).state).toBe('approved');
    expect(await stateOf(job)).toBe('queued');
  });

  it('is answered as unknown for another tenant, but for an administrator', async () => {
    const { id } = await ask();
    const foreign = person('boss', { tenant: 'other' });
    const unknown = office.approvals.get(boss, `apr_${'0'.repeat(32)}`);
    await expect(unknown).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(office.approvals.get(foreign, id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(office.approvals.approve(foreign, id, YES)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const admin = { ...foreign, scopes: new Set(['policy:approve', 'admin'] as const) };
    expect((await office.approvals.approve(admin, id, YES)).state).toBe('approved');
  });
});

describe('denying', () => {
  it('ends the job with the rule and the reason', async () => {
    const { id, job } = await ask();
    const view = await office.approvals.deny(boss, id, no('use less memory'));
    expect(view).toMatchObject({
      state: 'denied',
      decisions: [{ decision: 'deny', reason: 'use less memory' }],
    });
    expect(await resultOf(job)).toMatchObject({
      outcome: { kind: 'denied', rule: 'big-jobs', reason: 'use less memory' },
      fault: 'policy',
      ran: 'no',
      approvalId: id,
    });
    expect(office.acts).toMatchObject([{ act: 'approval.deny', subject: id }]);
  });

  it('once is enough, whatever the quorum', async () => {
    const { id, job } = await ask({ demand: { quorum: 2 } });
    await office.approvals.approve(person('two'), id, YES);
    await office.approvals.deny(boss, id, no());
    expect(await stateOf(job)).toBe('done');
  });
});

describe('what was decided', () => {
  it('stays: the same again changes nothing, anything else is refused', async () => {
    const { id } = await ask();
    await office.approvals.approve(boss, id, YES);
    expect(await office.approvals.approve(person('late'), id, YES)).toMatchObject({
      state: 'approved',
      decisions: [{ by: { name: 'user:boss' } }],
    });
    await expect(office.approvals.deny(person('late'), id, no())).rejects.toMatchObject({
      code: 'APPROVAL_DECIDED',
      message: 'expected a pending approval; it is approved by user:boss',
    });
    const denied = await ask();
    await office.approvals.deny(boss, denied.id, no());
    expect((await office.approvals.deny(boss, denied.id, no('again'))).decisions).toHaveLength(1);
    await expect(office.approvals.approve(boss, denied.id, YES)).rejects.toMatchObject({
      code: 'APPROVAL_DECIDED',
    });
    expect(office.acts).toHaveLength(2);
  });

  it.each(['approve', 'deny', 'cancel'])(
    'is one thing when all decide at once, whoever is first: %s',
    async (first) => {
      const results = createResults({ redis, subscriber: redis, instance: 'i', log: silent });
      const { entrance } = office.parts;
      const jobs = createJobs({ redis, results, entrance });
      for (let round = 0; round < 20; round++) {
        const { id, job } = await ask();
        const deeds = {
          approve: () => office.approvals.approve(boss, id, YES),
          deny: () => office.approvals.deny(person('two'), id, no()),
          cancel: () => jobs.cancel({ tenant: 'default' }, job),
        };
        const names = [first, ...Object.keys(deeds).filter((name) => name !== first)];
        await Promise.allSettled(names.map((name) => deeds[name as keyof typeof deeds]()));
        const { state } = await office.approvals.get(boss, id);
        expect(['approved', 'denied', 'cancelled']).toContain(state);
        // A job that was approved first is cancelled as one that waits in the queue.
        const { outcome } = await resultOf(job);
        expect(outcome?.kind).toBe(state === 'denied' ? 'denied' : 'cancelled');
      }
    },
  );
});

describe('an edit', () => {
  const editable = {
    request: { command: ['true'], timeoutMs: 90_000, limits: { memoryMb: 512 } },
    demand: { mayEdit: ['timeoutMs', 'limits.memoryMb'] },
  };

  it('changes the job before it runs, and signs it anew', async () => {
    const { id, job, approval } = await ask(editable);
    const edit = { timeoutMs: 5000, limits: { memoryMb: 64 } };
    const view = await office.approvals.approve(boss, id, { ...YES, edit });
    expect(view).toMatchObject({
      state: 'approved',
      request: { timeoutMs: 5000, limits: { memoryMb: 64 } },
      decisions: [{ edit: ['timeoutMs', 'limits.memoryMb'] }],
    });
    expect(view.fingerprint).not.toBe(approval.fingerprint);
    const begun = await begin(redis, job);
    if (begun.kind !== 'started') throw new Error(begun.kind);
    expect(JSON.parse(begun.spec)).toMatchObject({ timeoutMs: 5000, limits: { memoryMb: 64 } });
    const { spec, record } = begun;
    const signed = { id: job, tenant: 'default', spec, expiresAtMs: record.expiresAt };
    const signature = (await redis.hget(keys.job(job), 'signature')) ?? '';
    expect(createVerifier(SIGNING_KEYS)(signed, signature)).toBeUndefined();
  });

  it('elsewhere is refused with the paths that are allowed, and nothing is decided', async () => {
    const { id, job } = await ask(editable);
    for (const edit of [{ image: 'x' }, { command: ['sh'] }, { limits: { cpus: 2 } }, {}]) {
      await expect(office.approvals.approve(boss, id, { ...YES, edit })).rejects.toMatchObject({
        code: 'REQUEST_INVALID',
        message: expect.stringContaining('timeoutMs, limits.memoryMb'),
      });
    }
    expect(await stateOf(job)).toBe('awaiting_approval');
  });

  it('is refused where the rule lets nothing be edited', async () => {
    const { id } = await ask();
    const edit = { timeoutMs: 5000 };
    await expect(office.approvals.approve(boss, id, { ...YES, edit })).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringContaining('nothing be edited'),
    });
  });

  it('H40 is what the next of a quorum has to see: approving what was shown before is refused', async () => {
    const { id, job, approval } = await ask({
      ...editable,
      demand: { ...editable.demand, quorum: 2 },
    });
    const seen = { ...YES, fingerprint: approval.fingerprint };
    await office.approvals.approve(person('one'), id, YES);
    const edited = await office.approvals.approve(boss, id, { ...seen, edit: { timeoutMs: 5000 } });
    expect(edited.state).toBe('pending');
    await expect(office.approvals.approve(person('two'), id, seen)).rejects.toMatchObject({
      code: 'POLICY_CHANGED',
    });
    await expect(
      office.approvals.deny(person('two'), id, { ...no(), fingerprint: seen.fingerprint }),
    ).rejects.toMatchObject({ code: 'POLICY_CHANGED' });
    const fresh = { ...YES, fingerprint: edited.fingerprint };
    expect((await office.approvals.approve(person('two'), id, fresh)).state).toBe('approved');
    expect(await stateOf(job)).toBe('queued');
  });

  it('that comes after the decision is refused, for it changed nothing', async () => {
    const { id } = await ask(editable);
    await office.approvals.approve(boss, id, YES);
    const edit = { timeoutMs: 1 };
    await expect(office.approvals.approve(boss, id, { ...YES, edit })).rejects.toMatchObject({
      code: 'APPROVAL_DECIDED',
    });
  });
});

describe('the owner of a job that waits', () => {
  const jobsOf = () => {
    const results = createResults({ redis, subscriber: redis, instance: 'i', log: silent });
    return createJobs({ redis, results, entrance: office.parts.entrance });
  };

  it('sees its state and which approval it waits for, and finds it in the list', async () => {
    const { id, job } = await ask();
    const view = jobResult.parse(JSON.parse((await jobsOf().get(boss, job, 0)).json));
    expect(view).toMatchObject({ state: 'awaiting_approval', outcome: null, approvalId: id });
    const page = await jobsOf().list(boss, {
      state: 'awaiting_approval',
      label: undefined,
      afterMs: undefined,
      beforeMs: undefined,
      batch: undefined,
      limit: 10,
      cursor: undefined,
    });
    expect(page.jobs).toMatchObject([{ id: job, state: 'awaiting_approval' }]);
  });

  it('cancels it with its batch', async () => {
    const batch = await created(redis);
    const approvals = [0, 1, 2].map(() => newApproval({ batch }));
    const jobs = approvals.map((approval, index) => batchJob(index, { approval }));
    await released(redis, batch, [...jobs, ...batchJobs(2, 3)]);
    await stopBatch(redis, batch);
    const { entrance } = office.parts;
    await createCanceller({ redis, entrance, log: silent }).cancel(batch);
    expect((await readBatch(redis, batch))?.view).toMatchObject({
      state: 'cancelled',
      counts: { total: 5, queued: 0, done: 5 },
      outcomes: { cancelled: 5 },
    });
    for (const { id } of approvals) {
      expect((await office.approvals.get(boss, id)).state).toBe('cancelled');
    }
  });

  it('cancels it, which ends the approval', async () => {
    const { id, job } = await ask();
    const { json } = await jobsOf().cancel(boss, job);
    expect(JSON.parse(json)).toMatchObject({ outcome: { kind: 'cancelled', by: 'caller' } });
    expect((await office.approvals.get(boss, id)).state).toBe('cancelled');
  });
});
