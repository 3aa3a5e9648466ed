import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Attempts } from '../../services/worker/attempts.ts';
import { createBlobCache } from '../../services/worker/blob-cache.ts';
import { createGenuineCheck, type IsGenuine } from '../../services/worker/genuine.ts';
import { LiveOutputs } from '../../services/worker/live.ts';
import { GuestLostError } from '../../services/worker/protocol/session.ts';
import { type Sandbox, SandboxUnavailableError } from '../../services/worker/sandbox/sandbox.ts';
import { blobNameOf } from '../../shared/contract/blob.ts';
import { jobResult } from '../../shared/contract/result.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { putBlob, readBlob } from '../../shared/queue/blobs.ts';
import { cancelRunning } from '../../shared/queue/cancel.ts';
import { readRecord } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { createSigner } from '../../shared/queue/signature.ts';
import { admission, admitted, begin, begun, hold } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';
import { MemoryEngine, SHAPE } from './pool/memory-engine.ts';
import { done, output, started, stepEnd } from './protocol/frames.ts';
import { aSpec } from './spec.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

type Script = (sandbox: Sandbox) => void;
const endsWell: Script = ({ session }) =>
  session.receive(Buffer.concat([started(0), output('hi'), stepEnd({ stdoutTotal: 2 }), done()]));
const isLost: Script = ({ session }) => {
  session.receive(started(0));
  session.fail(new GuestLostError('gone'));
};

/** A worker whose sandboxes do as these scripts say, one after another; null where none is to be had. */
function aWorker(...scripts: (Script | null)[]) {
  return aWorkerThat(() => true, ...scripts);
}

function aWorkerThat(isGenuine: IsGenuine, ...scripts: (Script | null)[]) {
  const engine = new MemoryEngine();
  const outcomes: string[] = [];
  const out = new Set<Sandbox>();
  const reusable: boolean[] = [];
  const attempts = new Attempts({
    redis: server.redis,
    live: new LiveOutputs({ redis: server.redis, log: silent }),
    isGenuine,
    worker: 'w1',
    clock: { nowMs: Date.now },
    streamBytes: 1000,
    blobs: createBlobCache({
      read: (tenant, blob) => readBlob(server.redis, tenant, blob),
      maxBytes: 1000,
      onFetch: () => {},
    }),
    release: () => {},
    offers: (runtime) => runtime === 'runc',
    log: silent,
    onDone: ({ kind }) => outcomes.push(kind),
    leases: {
      async lease() {
        const script = scripts.shift();
        if (script === null || script === undefined) throw new SandboxUnavailableError('none');
        const nonce = String(engine.orders.length);
        const sandbox = await engine.create({ shape: SHAPE, uid: 1, nonce, deadlineMs: 0 });
        out.add(sandbox);
        setImmediate(() => script(sandbox));
        return sandbox;
      },
      isEngineFailing: () => false,
      retire: (sandbox, { isReusable }) => {
        out.delete(sandbox);
        reusable.push(isReusable);
      },
    },
  });
  return { attempts, outcomes, out, reusable };
}

const aJob = (over: Partial<JobSpec> = {}): Promise<string> =>
  admitted(server.redis, { spec: JSON.stringify(aSpec(over)) });
const recordOf = (id: string) => readRecord(server.redis, id);
const resultOf = async (id: string) =>
  jobResult.parse(JSON.parse((await server.redis.get(keys.result(id))) ?? 'null'));

/** As the queue has it done, with the job in hand. */
const attemptOf = async (attempts: Attempts, id: string) =>
  attempts.attempt(id, await hold(server.redis, id));

describe('an attempt at a job', () => {
  it('says of its sandbox that it may be used again only after a program that ended by itself', async () => {
    const { attempts, reusable } = aWorker(endsWell, isLost);
    await attemptOf(attempts, await aJob());
    await attemptOf(attempts, await aJob());
    expect(reusable).toEqual([true, false]);
  });

  it('runs it, settles it and lets the sandbox go', async () => {
    const { attempts, outcomes, out } = aWorker(endsWell);
    const id = await aJob();
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({
      outcome: { kind: 'exited' },
      stdout: 'hi',
      attempt: 1,
    });
    expect(outcomes).toEqual(['exited']);
    expect(out.size).toBe(0);
    expect(attempts.runningIds()).toEqual([]);
  });

  it('whose end Redis refuses for a while is settled with what it was, once Redis takes it', async () => {
    let goOn = (): void => {};
    const { attempts, outcomes } = aWorker((sandbox) => {
      goOn = () => endsWell(sandbox);
    });
    const refuse = (replicas: number) =>
      server.redis.config('SET', 'min-replicas-to-write', replicas);
    const id = await aJob({ onLost: 'fail' });
    const attempt = attemptOf(attempts, id);
    await eventually('it runs', async () => (await recordOf(id))?.state === 'running');
    await refuse(1);
    goOn();
    await attempt;
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(await recordOf(id)).toMatchObject({ state: 'running' });
    await refuse(0);
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({ outcome: { kind: 'exited' }, stdout: 'hi' });
    expect(outcomes).toEqual(['exited']);
  });

  it('of which Redis refused the start, so that the queue gave it up, is brought into the queue again', async () => {
    const { attempts, outcomes } = aWorker(endsWell);
    const id = await aJob();
    await server.redis.zrem(keys.unqueued(), id);
    await attempts.abandon(id);
    expect(await server.redis.zscore(keys.unqueued(), id)).not.toBeNull();
    expect(await recordOf(id)).toMatchObject({ state: 'queued', starts: 0 });
    expect(outcomes).toEqual([]);
  });

  it('does nothing for a job that is done', async () => {
    const { attempts, outcomes } = aWorker(endsWell, endsWell);
    const id = await aJob();
    await attemptOf(attempts, id);
    await attempts.settled();
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(outcomes).toEqual(['exited']);
  });

  it('that the platform lost is made again after a moment, and a second loss is the end', async () => {
    const { attempts, outcomes } = aWorker(isLost, isLost);
    const id = await aJob();
    expect(await attemptOf(attempts, id)).toMatchObject({ kind: 'hand_back' });
    expect(await recordOf(id)).toMatchObject({ state: 'queued', starts: 1 });
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({
      outcome: { kind: 'lost', cause: 'sandbox_lost' },
      fault: 'platform',
      ran: 'yes',
      attempt: 2,
    });
    expect(outcomes).toEqual(['lost']);
  });

  it('whose runtime is not offered here is for another worker, and counts as no start and no failed try', async () => {
    const { attempts, outcomes } = aWorker(endsWell);
    const id = await aJob({ runtime: 'runsc' });
    for (let tries = 0; tries < 10; tries++) {
      expect(await attemptOf(attempts, id)).toMatchObject({ kind: 'hand_back' });
    }
    expect(await recordOf(id)).toMatchObject({ state: 'queued', starts: 0, handedBack: 0 });
    expect(outcomes).toEqual([]);
  });

  it('that the platform lost is the only one where the caller wants no second', async () => {
    const { attempts } = aWorker(isLost);
    const id = await aJob({ onLost: 'fail' });
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({ outcome: { kind: 'lost' }, attempt: 1 });
  });

  it('is not made where the caller wants no second and a worker died with the first', async () => {
    const { attempts } = aWorker(endsWell);
    const id = await aJob({ onLost: 'fail' });
    await begun(server.redis, id, 'dead');
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({
      outcome: { kind: 'lost', cause: 'worker_lost' },
      ran: 'unknown',
    });
  });

  it('for which there is no sandbox is handed back for later, and costs no start, however often', async () => {
    for (const onLost of ['retry', 'fail'] as const) {
      const { attempts } = aWorker(null, null, null, endsWell);
      const id = await aJob({ onLost });
      for (let times = 1; times <= 3; times++) {
        expect(await attemptOf(attempts, id)).toMatchObject({ kind: 'hand_back' });
        expect(await recordOf(id)).toMatchObject({ state: 'queued', starts: 0, handedBack: times });
      }
      expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
      await attempts.settled();
      expect(await resultOf(id)).toMatchObject({ outcome: { kind: 'exited' }, attempt: 1 });
    }
  });

  it('for which there is never a sandbox is given up, and says that nothing ran', async () => {
    const { attempts } = aWorker();
    const id = await aJob();
    let next = await attemptOf(attempts, id);
    for (let times = 1; next.kind === 'hand_back' && times < 20; times++) {
      expect(next.afterMs).toBeGreaterThan(0);
      expect(next.afterMs).toBeLessThanOrEqual(15_000);
      next = await attemptOf(attempts, id);
    }
    expect(await resultOf(id)).toMatchObject({
      outcome: { kind: 'lost', cause: 'sandbox_unavailable' },
      ran: 'no',
      retryable: true,
    });
  });

  it('still loses no second start to a want of sandboxes before the first', async () => {
    const { attempts } = aWorker(null, isLost, endsWell);
    const id = await aJob();
    expect(await attemptOf(attempts, id)).toMatchObject({ kind: 'hand_back' });
    expect(await attemptOf(attempts, id)).toMatchObject({ kind: 'hand_back' });
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({ outcome: { kind: 'exited' }, attempt: 2 });
  });

  it('of a job that expired, or started too often, settles it without a run', async () => {
    const { attempts, outcomes } = aWorker();
    const expired = await admitted(server.redis, { expiresAtMs: 1 });
    await attemptOf(attempts, expired);
    expect((await resultOf(expired)).outcome).toEqual({ kind: 'expired' });
    const exhausted = await aJob();
    await begin(server.redis, exhausted);
    await begin(server.redis, exhausted);
    await attemptOf(attempts, exhausted);
    expect(await resultOf(exhausted)).toMatchObject({ outcome: { kind: 'lost' }, ran: 'unknown' });
    expect(outcomes).toEqual(['expired', 'lost']);
  });

  it('of a job whose spec cannot be read settles it as ours to answer for', async () => {
    for (const spec of ['not json', '{}', JSON.stringify({ ...aSpec(), version: 9 })]) {
      const id = await admitted(server.redis, { spec });
      await attemptOf(aWorker(endsWell).attempts, id);
      expect(await resultOf(id)).toMatchObject({
        outcome: { kind: 'lost', cause: 'spec_unreadable' },
        fault: 'platform',
        ran: 'no',
      });
    }
  });

  it('of a job that nobody signed, or that was changed since, ends it without a sandbox', async () => {
    const signingKeys = [{ id: 'k', secret: 's'.repeat(32) }];
    const isGenuine = createGenuineCheck(signingKeys, silent);
    const job = admission({ spec: JSON.stringify(aSpec()) });
    const signature = createSigner(signingKeys)(job);
    const change = (id: string, field: string, value: string) =>
      server.redis.hset(keys.job(id), field, value);
    const cases: [string, (id: string) => unknown][] = [
      ['as it was', () => {}],
      ['no signature', (id) => change(id, 'signature', '')],
      ['another spec', (id) => change(id, 'spec', JSON.stringify(aSpec({ cwd: 'a' })))],
      ['another tenant', (id) => change(id, 'tenant', 'other')],
      ['a later end', (id) => change(id, 'expiresAt', String(job.expiresAtMs + 1))],
    ];
    for (const [what, tamper] of cases) {
      await server.redis.flushall();
      await admitted(server.redis, { ...job, signature });
      await tamper(job.id);
      const { attempts, out } = aWorkerThat(isGenuine, endsWell);
      expect(await attemptOf(attempts, job.id)).toEqual({ kind: 'ended' });
      await attempts.settled();
      const isGood = what === 'as it was';
      expect(await resultOf(job.id), what).toMatchObject({
        outcome: isGood ? { kind: 'exited' } : { kind: 'lost', cause: 'spec_forged' },
        ran: isGood ? 'yes' : 'no',
        retryable: false,
      });
      expect(out.size).toBe(0);
    }
  });

  it('masks what the policy wants masked before anything is stored', async () => {
    const { attempts } = aWorker(endsWell);
    const id = await aJob({ redact: [{ pattern: 'h', replacement: '#' }] });
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    expect(await resultOf(id)).toMatchObject({ stdout: '#i', stdoutBytes: 2 });
  });

  it('does not run what it could not mask', async () => {
    const id = await aJob({ redact: [{ pattern: '(', replacement: '#' }] });
    await attemptOf(aWorker(endsWell).attempts, id);
    expect((await resultOf(id)).outcome).toEqual({ kind: 'lost', cause: 'spec_unreadable' });
  });

  it('of a job that names a blob of its tenant has the content of it', async () => {
    const { attempts } = aWorker(endsWell);
    const content = Buffer.from('the content');
    const blob = await blobNameOf(content);
    const put = { tenant: 'default', blob, content, lifeMs: 60_000, quotaBytes: 10_000 };
    await putBlob(server.redis, put);
    const id = await aJob({ files: [{ path: 'a', blob, executable: false }] });
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect((await resultOf(id)).outcome).toEqual({ kind: 'exited', exitCode: 0 });
  });

  it('of a job whose blob is gone, or another tenant’s, ends it without a sandbox', async () => {
    const content = Buffer.from('of another');
    const blob = await blobNameOf(content);
    const put = { tenant: 'other', blob, content, lifeMs: 60_000, quotaBytes: 10_000 };
    await putBlob(server.redis, put);
    const { attempts, outcomes } = aWorker();
    const id = await aJob({ files: [{ path: 'a', blob, executable: false }] });
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await resultOf(id)).toMatchObject({
      outcome: { kind: 'could_not_start', stage: 'files', errno: 'ENOENT' },
      fault: 'caller',
      ran: 'no',
    });
    expect(outcomes).toEqual(['could_not_start']);
  });

  it('whose blob cannot be read for now is handed back, and costs no start', async () => {
    const { attempts } = aWorker(endsWell);
    const content = Buffer.from('behind a wrong type');
    const blob = await blobNameOf(content);
    await server.redis.lpush(keys.blob('default', blob), 'x');
    const id = await aJob({ files: [{ path: 'a', blob, executable: false }] });
    expect(await attemptOf(attempts, id)).toMatchObject({ kind: 'hand_back' });
    expect(await recordOf(id)).toMatchObject({ state: 'queued', starts: 0 });
    await server.redis.del(keys.blob('default', blob));
    const put = { tenant: 'default', blob, content, lifeMs: 60_000, quotaBytes: 10_000 };
    await putBlob(server.redis, put);
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect((await resultOf(id)).outcome).toEqual({ kind: 'exited', exitCode: 0 });
  });

  it('is ended by a cancellation, and the job is cancelled', async () => {
    const { attempts } = aWorker(({ session }) => session.receive(started(0)));
    const id = await aJob();
    const attempt = attemptOf(attempts, id);
    await eventually('it running', () => attempts.runningIds().includes(id));
    attempts.end(id, { kind: 'cancelled', by: 'caller' });
    expect(await attempt).toEqual({ kind: 'ended' });
    expect((await resultOf(id)).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
  });

  it('is not made for a job that was cancelled while its first worker died', async () => {
    const { attempts } = aWorker(endsWell);
    const id = await aJob();
    await begun(server.redis, id, 'dead');
    await cancelRunning(server.redis, id, 'caller');
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect((await resultOf(id)).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
  });

  it('writes nothing of a job that another worker has begun since', async () => {
    const { attempts, outcomes } = aWorker((sandbox) => {
      void begun(server.redis, id, 'other').then(() => endsWell(sandbox));
    });
    const id = await aJob();
    expect(await attemptOf(attempts, id)).toEqual({ kind: 'ended' });
    await attempts.settled();
    expect(await recordOf(id)).toMatchObject({ state: 'running', worker: 'other' });
    expect(outcomes).toEqual([]);
  });

  it('that its worker gives up while draining goes back into the queue for another', async () => {
    const { attempts } = aWorker(({ session }) => session.receive(started(0)));
    const id = await aJob();
    const attempt = attemptOf(attempts, id);
    await eventually('it running', () => attempts.runningIds().includes(id));
    attempts.end(id, { kind: 'draining' });
    expect(await attempt).toEqual({ kind: 'hand_back', afterMs: 0 });
    expect(await recordOf(id)).toMatchObject({ state: 'queued', starts: 1 });
  });
});
