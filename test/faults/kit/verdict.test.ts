import { describe, expect, test } from 'vitest';
import type { Entry } from './history.ts';
import { type Evidence, type FinalRead, type ViolationKind, verdictOf } from './verdict.ts';

/** A terminal result, as far as a verdict looks at it. */
const done = (id: string, nonce: string, over: Record<string, unknown> = {}): FinalRead => ({
  id,
  text: JSON.stringify({
    id,
    state: 'done',
    outcome: { kind: 'exited', exitCode: 0 },
    stdout: `${nonce}\n`,
    labels: { nonce },
    attempt: 1,
    ...over,
  }),
});

let calls = 0;
const invoke = (nonces: string[], idempotencyKey: string | null = null): Entry => ({
  kind: 'invoke',
  call: ++calls,
  atMs: calls,
  operation: 'submit',
  nonces,
  idempotencyKey,
  id: null,
});
const ok = (id: string, text: string | null = null): Entry => ({
  kind: 'ok',
  call: calls,
  atMs: calls,
  status: 202,
  id,
  seen: { id, state: text === null ? 'queued' : 'done', text },
});
const fail = (): Entry => ({ kind: 'fail', call: calls, atMs: calls, status: 429, code: 'X' });
const unknown = (): Entry => ({ kind: 'unknown', call: calls, atMs: calls, why: 'socket hang up' });

const kindsIn = (evidence: Evidence): ViolationKind[] =>
  verdictOf(evidence).violations.map(({ kind }) => kind);

describe('a history in which everything held', () => {
  const sound: Evidence = {
    entries: [
      invoke(['one']),
      ok('job_1'),
      invoke(['two'], 'key'),
      unknown(),
      invoke(['two'], 'key'),
      ok('job_2', done('job_2', 'two', { attempt: 2 }).text),
      invoke(['three'], 'other'),
      fail(),
      invoke(['three'], 'other'),
      ok('job_3'),
      invoke(['four']),
      unknown(),
    ],
    finals: [
      done('job_1', 'one'),
      done('job_2', 'two', { attempt: 2 }),
      done('job_3', 'three', { outcome: { kind: 'lost', cause: 'worker_lost' }, stdout: '' }),
    ],
    startsSeen: new Map([['two', 2]]),
  };

  test('has no violation, and is counted', () => {
    expect(verdictOf(sound)).toEqual({
      violations: [],
      counts: { calls: 6, unknown: 2, failed: 1, accepted: 3, terminal: 3, secondStarts: 1 },
      outcomes: { exited: 2, lost: 1 },
    });
  });

  test('may lack a job of which nobody knows whether it was accepted, and may have it', () => {
    const more = { ...sound, finals: [...sound.finals, done('job_4', 'four')] };
    expect(kindsIn(more)).toEqual([]);
  });
});

describe('a violation is found:', () => {
  test('an accepted job that is not there', () => {
    expect(kindsIn({ entries: [invoke(['one']), ok('job_1')], finals: [] })).toEqual(['lost']);
  });

  test('one of a batch that is there and never ended', () => {
    const running = done('job_2', 'two', { state: 'running', outcome: null, stdout: '' });
    const entries = [invoke(['one', 'two']), ok('batch_1')];
    expect(kindsIn({ entries, finals: [done('job_1', 'one'), running] })).toEqual(['lost']);
  });

  test('a result that was another when a client saw it', () => {
    const early = done('job_1', 'one', { outcome: { kind: 'lost', cause: 'worker_lost' } }).text;
    const entries = [invoke(['one']), ok('job_1', early)];
    expect(kindsIn({ entries, finals: [done('job_1', 'one')] })).toEqual(['changed']);
  });

  test('a result that a client saw and that is gone', () => {
    const entries = [invoke(['one']), ok('job_1', done('job_1', 'one').text)];
    expect(kindsIn({ entries, finals: [] })).toEqual(['lost', 'changed']);
  });

  test('a third start that the system admits', () => {
    const entries = [invoke(['one']), ok('job_1')];
    const finals = [done('job_1', 'one', { attempt: 3 })];
    expect(kindsIn({ entries, finals })).toEqual(['started_too_often']);
  });

  test('a start that the system does not admit and a witness saw', () => {
    const entries = [invoke(['one']), ok('job_1')];
    const evidence = { entries, finals: [done('job_1', 'one')], maxStarts: 1 };
    expect(kindsIn(evidence)).toEqual([]);
    const seen = { ...evidence, startsSeen: new Map([['one', 2]]) };
    expect(kindsIn(seen)).toEqual(['started_too_often']);
  });

  test('a second start of a job that was promised one', () => {
    const entries = [invoke(['one']), ok('job_1')];
    const over = { attempt: 2, labels: { nonce: 'one', 'most-starts': '1' } };
    const finals = [done('job_1', 'one', over)];
    expect(kindsIn({ entries, finals })).toEqual(['started_too_often']);
  });

  test.each([
    ['another’s output', { stdout: 'two\n' }],
    ['no output of a program that ended by itself', { stdout: '' }],
    [
      'another’s output of a cancelled job',
      { outcome: { kind: 'cancelled', by: 'caller' }, stdout: 'tw' },
    ],
  ])('%s', (_what, over) => {
    const entries = [invoke(['one']), ok('job_1')];
    const finals = [done('job_1', 'one', over)];
    expect(kindsIn({ entries, finals })).toEqual(['foreign_result']);
  });

  test('two jobs of one submission', () => {
    const entries = [invoke(['one'], 'key'), unknown(), invoke(['one'], 'key'), ok('job_2')];
    const finals = [done('job_1', 'one'), done('job_2', 'one')];
    expect(kindsIn({ entries, finals })).toEqual(['doubled']);
  });

  test('two ids under one key', () => {
    const entries = [invoke(['one'], 'key'), ok('job_1'), invoke(['one'], 'key'), ok('job_2')];
    const finals = [done('job_1', 'one')];
    expect(kindsIn({ entries, finals })).toEqual(['two_ids_for_a_key']);
  });

  test('a job that nobody sent', () => {
    expect(kindsIn({ entries: [], finals: [done('job_1', 'one')] })).toEqual(['never_sent']);
  });

  test('a job that was refused and is there', () => {
    const evidence = { entries: [invoke(['one']), fail()], finals: [done('job_1', 'one')] };
    expect(verdictOf(evidence).violations).toEqual([
      { kind: 'never_sent', about: 'job_1: refused' },
    ]);
  });
});
