import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../../services/api/auth.ts';
import {
  createPolicy,
  type Decision,
  type Policy,
  type Reserved,
} from '../../../services/api/policy/engine.ts';
import type { Policy as Document } from '../../../services/api/policy/policy.ts';
import { AppError, type ErrorCode } from '../../../shared/errors.ts';
import { eventually, silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { callerOfTenant } from '../caller.ts';
import { allowing, LOOK, load, RUN, resolveWith, runCall, textOf } from './documents.ts';

let server: TestRedis;
let connections: [Redis, Redis];
beforeAll(async () => {
  server = await startRedis();
  connections = [await server.connect('request'), await server.connect('request')];
});
afterAll(() => server.stop());

const heard: Decision[] = [];
const engine = (document: Document, redis: Redis = connections[0]): Policy =>
  createPolicy({
    redis,
    inForce: () => document,
    onDecisions: (decisions) => heard.push(...decisions),
    log: silent,
  });

/** A key that no other test uses. */
const newCaller = (over: Partial<Caller> = {}): Caller =>
  callerOfTenant('t', { grant: randomBytes(6).toString('hex'), ...over });

async function run(policy: Policy, caller: Caller, args = { command: ['true'] }) {
  const [result] = await policy.reserve([policy.judgeRun(runCall({ caller, args }), resolveWith)]);
  if (result === undefined) throw new Error('no answer');
  return result;
}
const passed = (result: Reserved | AppError): result is Reserved => !(result instanceof AppError);

async function refusedWith(code: ErrorCode, act: () => unknown): Promise<AppError> {
  try {
    await act();
  } catch (error) {
    if (error instanceof AppError && error.code === code) return error;
    throw error;
  }
  throw new Error(`expected ${code}`);
}

const TEN_A_MINUTE = { rate_limit: { max: 10, window: 60, per: 'session', reason: '10 a minute' } };

describe('rate_limit {max: 10, window: 60} per session', () => {
  it('lets exactly 10 of 500 parallel calls through two processes', async () => {
    const document = allowing(TEN_A_MINUTE);
    const processes = connections.map((redis) => engine(document, redis));
    const caller = newCaller({ session: 's' });
    const results = await Promise.all(
      Array.from({ length: 500 }, (_, n) => run(processes[n % 2] as Policy, caller)),
    );
    expect(results.filter(passed)).toHaveLength(10);
    for (const result of results) {
      if (!(result instanceof AppError)) continue;
      expect(result.code).toBe('LIMIT_EXCEEDED');
      expect(result.retryAfterSeconds).toBeGreaterThan(50);
      expect(result.retryAfterSeconds).toBeLessThanOrEqual(60);
      expect(result.policy).toMatchObject({ decision: 'rate_limited', rule: 'run' });
    }
  });

  it('keeps two sessions apart, and those of a key beneath its ceiling', async () => {
    const policy = engine(allowing(TEN_A_MINUTE));
    const caller = newCaller();
    let admitted = 0;
    for (let session = 0; session < 15; session++) {
      let ofSession = 0;
      while (passed(await run(policy, { ...caller, session: `s${session}` }))) ofSession++;
      if (session < 10) expect(ofSession).toBe(10);
      admitted += ofSession;
    }
    expect(admitted).toBe(100);
    expect(passed(await run(policy, { ...newCaller(), session: 's0' }))).toBe(true);
  });

  it('has no way around a ceiling of the key by another session name', async () => {
    const policy = engine(
      allowing({
        rate_limit: [
          { max: 10, window: 60, per: 'session' },
          { max: 15, window: 60, per: 'grant' },
        ],
      }),
    );
    const caller = newCaller();
    const results = [];
    for (let n = 0; n < 40; n++) results.push(await run(policy, { ...caller, session: `s${n}` }));
    expect(results.filter(passed)).toHaveLength(15);
  });

  it('lets the next call through once the time that it was told is over', async () => {
    const policy = engine(allowing({ rate_limit: { max: 10, window: 1, per: 'session' } }));
    const caller = newCaller();
    for (let n = 0; n < 10; n++) expect(passed(await run(policy, caller))).toBe(true);
    const eleventh = await run(policy, caller);
    if (passed(eleventh)) throw new Error('the eleventh call went through');
    expect(eleventh.retryAfterSeconds).toBe(1);
    await sleep(1000 * (eleventh.retryAfterSeconds ?? 0));
    expect(passed(await run(policy, caller))).toBe(true);
  });

  it('charges each job of a batch, and counts them over reloads', async () => {
    const caller = newCaller();
    const calls = Array.from({ length: 8 }, () => runCall({ caller, tool: 'exec_batch' }));
    const before = engine(allowing(TEN_A_MINUTE));
    const first = await before.reserve(calls.map((call) => before.judgeRun(call, resolveWith)));
    expect(first.filter(passed)).toHaveLength(8);
    const after = engine(allowing({ ...TEN_A_MINUTE, description: 'reloaded' }));
    const second = await after.reserve(calls.map((call) => after.judgeRun(call, resolveWith)));
    expect(second.map(passed)).toEqual([...Array(2).fill(true), ...Array(6).fill(false)]);
  });
});

describe('a decision', () => {
  it('to deny says which rule, why, and of which revision, and asks no Redis', async () => {
    const document = load(
      textOf({
        rules: [RUN, { name: 'no', tools: ['exec'], action: 'deny', reason: 'Not on Sundays.' }],
      }),
    );
    const gone = await server.connect('request');
    gone.disconnect();
    const error = await refusedWith('POLICY_DENIED', () =>
      engine(document, gone).judgeRun(runCall(), resolveWith),
    );
    expect(error.message).toBe('exec is denied by the rule no: Not on Sundays.');
    expect(error.policy).toEqual({
      decision: 'deny',
      rule: 'no',
      reason: 'Not on Sundays.',
      retryAfterMs: null,
      approvalId: null,
      revision: document.revision,
    });
    expect(heard.at(-1)).toMatchObject({ decision: 'deny', rule: 'no' });
  });

  it('without a limit asks no Redis', async () => {
    const gone = await server.connect('request');
    gone.disconnect();
    const result = await run(engine(allowing({}), gone), newCaller());
    expect(result).toEqual({ holds: [], recorded: null, left: [], approval: null });
  });

  it('is heard before the call goes on, with what is left', async () => {
    const caller = newCaller();
    await run(engine(allowing(TEN_A_MINUTE)), caller);
    expect(heard.at(-1)).toMatchObject({ decision: 'allow', rule: 'run' });
    expect(heard.at(-1)?.left[0]).toMatchObject({ rule: 'run', counts: 'calls', left: 9, max: 10 });
  });

  it('over a tool that runs nothing is rules and limits in one', async () => {
    const policy = engine(
      load(textOf({ rules: [{ ...LOOK, rate_limit: { max: 1, window: 60, per: 'grant' } }] })),
    );
    const call = { tool: 'job_get', caller: newCaller(), args: {}, nowMs: Date.now() } as const;
    await policy.decide(call);
    await refusedWith('LIMIT_EXCEEDED', () => policy.decide(call));
    await refusedWith('POLICY_DENIED', () => policy.decide({ ...call, tool: 'sandbox_info' }));
  });

  it('asks for an approval where a limit that is used up says so', async () => {
    const rate_limit = { max: 1, window: 60, per: 'grant', onExceed: 'require_approval' };
    const approval = { quorum: 2, expiresIn: '10m' };
    const policy = engine(allowing({ rate_limit, approval }));
    const caller = newCaller();
    const [first, second] = [await run(policy, caller), await run(policy, caller)];
    expect(first).toMatchObject({ approval: null });
    expect(second).toMatchObject({ approval: { rule: 'run', quorum: 2, expiresInMs: 600_000 } });
    expect(heard.at(-1)?.decision).toBe('require_approval');
  });

  it('in shadow refuses nothing and says what would have been', async () => {
    const policy = engine(
      load(
        textOf({
          rules: [
            RUN,
            {
              name: 'soon',
              mode: 'shadow',
              tools: ['exec'],
              action: 'limit',
              rate_limit: { max: 1, window: 60, per: 'grant' },
            },
          ],
        }),
      ),
    );
    const caller = newCaller();
    expect(passed(await run(policy, caller))).toBe(true);
    expect(passed(await run(policy, caller))).toBe(true);
    expect(heard.at(-1)?.shadow).toContainEqual(
      expect.objectContaining({ rule: 'soon', decision: 'rate_limited' }),
    );
  });

  it('names a meter that the request can never pass, and asks for less', async () => {
    const policy = engine(
      allowing({ rate_limit: { max: 1000, window: 60, per: 'grant', meter: 'wallMs' } }),
    );
    const result = await run(policy, newCaller());
    expect(result).toMatchObject({ code: 'POLICY_DENIED', policy: { decision: 'deny' } });
    expect((result as AppError).message).toMatch(/more than the 1000.*ask for less/);
  });
});

describe('what was reserved', () => {
  it('is given back by release', async () => {
    const policy = engine(allowing({ rate_limit: { max: 1, window: 60, per: 'grant' } }));
    const caller = newCaller();
    const first = await run(policy, caller);
    if (!passed(first)) throw first;
    expect(passed(await run(policy, caller))).toBe(false);
    await policy.release(first.holds);
    expect(passed(await run(policy, caller))).toBe(true);
  });

  it('is not rejected over when Redis is away', async () => {
    const policy = engine(allowing({ concurrency: { max: 1, per: 'grant' } }));
    const first = await run(policy, newCaller());
    if (!passed(first)) throw first;
    const gone = await server.connect('request');
    gone.disconnect();
    await engine(allowing({}), gone).release(first.holds);
  });
});

describe('a check', () => {
  it('spends nothing and tells what is left', async () => {
    const policy = engine(allowing(TEN_A_MINUTE));
    const caller = newCaller();
    const before = heard.length;
    for (let n = 0; n < 12; n++) {
      const checked = await policy.check(runCall({ caller }), resolveWith);
      expect(checked).toMatchObject({ decision: 'allow', rule: 'run', retryAfterMs: null });
      expect(checked.limitsLeft[0]).toMatchObject({ left: 9, max: 10, windowMs: 60_000 });
      expect(checked.effective).toMatchObject({ image: 'base' });
    }
    expect(heard).toHaveLength(before);
  });

  it('says when the call would pass, or that it never will', async () => {
    const policy = engine(allowing({ rate_limit: { max: 1, window: 60, per: 'grant' } }));
    const caller = newCaller();
    await run(policy, caller);
    const checked = await policy.check(runCall({ caller }), resolveWith);
    expect(checked.decision).toBe('rate_limited');
    expect(checked.retryAfterMs).toBeGreaterThan(50_000);
    const none = engine(load(textOf({ rules: [] })));
    expect(await none.check(runCall({ caller }), resolveWith)).toMatchObject({
      decision: 'deny',
      rule: null,
      effective: null,
    });
  });
});

describe('Redis down', () => {
  const limited = (failMode: string): Document => allowing(TEN_A_MINUTE, { failMode });

  it('H22 refuses with 503 where the document fails closed, and lets pass where it fails open', async () => {
    const own = await startRedis();
    try {
      const redis = await own.connect('request');
      await own.kill();
      await eventually('its end', () => redis.status !== 'ready');
      const startedAt = performance.now();
      await refusedWith('STORE_UNAVAILABLE', () =>
        run(engine(limited('closed'), redis), newCaller()),
      );
      const open = await run(engine(limited('open'), redis), newCaller());
      expect(open).toEqual({ holds: [], recorded: null, left: [], approval: null });
      await refusedWith('STORE_UNAVAILABLE', () =>
        run(engine(limited('closed'), redis), newCaller()),
      );
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    } finally {
      await own.stop();
    }
  });

  it('that hangs is waited for no longer than a command may take', async () => {
    const own = await startRedis();
    try {
      const redis = await own.connect('request');
      const hand = await own.connect();
      await hand.call('CLIENT', 'PAUSE', '10000', 'ALL');
      const closed = refusedWith('STORE_UNAVAILABLE', () =>
        run(engine(limited('closed'), redis), newCaller()),
      );
      const open = run(engine(limited('open'), redis), newCaller());
      const startedAt = performance.now();
      await closed;
      expect(passed(await open)).toBe(true);
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    } finally {
      await own.stop();
    }
  });
});
