import { describe, expect, it } from 'vitest';
import type { Reservation } from '../../../services/api/policy/judgement.ts';
import { allowing, ask, NOON_MS, otherCall, policyFrom, runCall } from './asking.ts';

type Of = Parameters<typeof runCall>[1];

function reserved(rule: object, of: Of = {}): readonly Reservation[] {
  const judged = ask(policyFrom({ rules: [allowing(rule)] }), runCall({ command: ['true'] }, of));
  return judged.kind === 'goes_on' ? judged.reservations : [];
}
const counters = (rule: object, of: Of = {}): string[] =>
  reserved(rule, of).map((one) => one.counter);
const bySession = (session: string | null, over: object = {}): Of => ({
  caller: { session, ...over },
});

describe('a limit', () => {
  it('of the seed is a window per session, with a ceiling of ten times it per key', () => {
    const reason = 'ten a minute';
    expect(reserved({ rate_limit: { max: 10, window: 60, reason } })).toEqual([
      {
        kind: 'window',
        rule: 'may-run',
        counter: expect.stringMatching(/^may-run:0:session:[\w-]{22}$/),
        algorithm: 'sliding',
        max: 10,
        windowMs: 60_000,
        burst: 10,
        amount: 1,
        meter: 'calls',
        onExceed: 'deny',
        reason,
        isShadow: false,
      },
      expect.objectContaining({
        counter: expect.stringMatching(/^may-run:0:grant:/),
        max: 100,
        amount: 1,
      }),
    ]);
  });

  it('per session counts sessions apart, and all of them for their key', () => {
    const rule = { rate_limit: { max: 10, window: 60 } };
    const [one, keyOfOne] = counters(rule, bySession('one'));
    const [two, keyOfTwo] = counters(rule, bySession('two'));
    const [none, keyOfNone] = counters(rule, bySession(null));
    expect(new Set([one, two, none]).size).toBe(3);
    expect(new Set([keyOfOne, keyOfTwo, keyOfNone]).size).toBe(1);
    const [foreign, foreignKey] = counters(rule, bySession('one', { grant: 'another' }));
    expect(foreign).not.toBe(one);
    expect(foreignKey).not.toBe(keyOfOne);
  });

  it('says the ceiling of the key itself, or leaves it to a wider limit beside it', () => {
    const said = reserved({ rate_limit: { max: 10, window: 60, grantMax: 25 } });
    expect(said.map(({ max }) => max)).toEqual([10, 25]);
    const beside = reserved({
      rate_limit: [
        { max: 10, window: 60 },
        { max: 500, window: 60, per: 'grant' },
      ],
    });
    expect(beside.map(({ max }) => max)).toEqual([10, 500]);
  });

  it.each([
    ['grant', { grant: 'other' }],
    ['tenant', { tenant: 'other' }],
  ])('per %s counts them apart, and nothing else', (per, other) => {
    const rule = { rate_limit: { max: 1, window: 1, per } };
    expect(counters(rule, bySession('s'))).toEqual(counters(rule, bySession(null)));
    expect(counters(rule, bySession(null, other))).not.toEqual(counters(rule));
  });

  it('per image and global is shared by all', () => {
    const of = { caller: { tenant: 'other', grant: 'other' } };
    for (const per of ['image', 'global']) {
      const rule = { rate_limit: { max: 1, window: 1, per } };
      expect(counters(rule, of)).toEqual(counters(rule));
    }
  });

  it.each([
    ['calls', 1],
    ['jobs', 1],
    ['wallMs', 10_000],
    ['cpuMs', 10_000],
    ['outputBytes', 2 * 1024 * 1024],
  ])('of %s reserves the most that a job can use: %d', (meter, amount) => {
    const rule = { rate_limit: { max: 1e9, window: 60, per: 'grant', meter } };
    expect(reserved(rule)).toMatchObject([{ meter, amount }]);
  });

  it('of running jobs holds a place for as long as the job can last', () => {
    const [place] = reserved({ concurrency: { max: 3, per: 'grant', onExceed: 'queue' } });
    expect(place).toMatchObject({ kind: 'concurrency', max: 3, onExceed: 'queue' });
    const untilMs = place?.kind === 'concurrency' ? place.untilMs : 0;
    expect(untilMs).toBeGreaterThanOrEqual(NOON_MS + 86_400_000 + 2 * 10_000);
  });

  it('saves up tokens in a bucket', () => {
    const rate_limit = { max: 60, window: 60, per: 'grant', algorithm: 'token_bucket', burst: 5 };
    expect(reserved({ rate_limit })).toMatchObject([{ algorithm: 'token_bucket', burst: 5 }]);
  });

  it('charges a call that runs nothing its call alone, and never makes it wait', () => {
    const rule = {
      name: 'look',
      tools: ['*'],
      action: 'allow',
      rate_limit: [
        { max: 5, window: 60, per: 'grant', onExceed: 'queue' },
        { max: 5, window: 60, per: 'grant', meter: 'wallMs' },
        { max: 5, window: 60, per: 'image' },
      ],
      concurrency: { max: 1, per: 'grant' },
    };
    const judged = ask(policyFrom({ rules: [rule] }), otherCall('job_list'));
    expect(judged).toMatchObject({ reservations: [{ meter: 'calls', onExceed: 'deny' }] });
  });
});
