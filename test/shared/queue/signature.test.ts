import { describe, expect, it } from 'vitest';
import { createSeal, createSigner, createVerifier } from '../../../shared/queue/signature.ts';

const old = { id: 'old', secret: 'o'.repeat(32) };
const fresh = { id: 'new', secret: 'n'.repeat(32) };
const job = { id: 'job_1', tenant: 'a', spec: '{"argv":["true"]}', expiresAtMs: 1000 };

describe('the signature of a job', () => {
  it('holds for the job as it was signed', () => {
    const signature = createSigner([old])(job);
    expect(signature).toMatch(/^old:[\w-]{43}$/);
    expect(createVerifier([old])(job, signature)).toBeUndefined();
  });

  it.each([
    ['spec', { spec: '{"argv":["true"]} ' }],
    ['tenant', { tenant: 'b' }],
    ['id', { id: 'job_2' }],
    ['time to start', { expiresAtMs: 1001 }],
  ])('does not hold for another %s', (_, change) => {
    const signature = createSigner([old])(job);
    expect(createVerifier([old])({ ...job, ...change }, signature)).toBe('wrong');
  });

  it('does not hold when what is signed moves from one part to the next', () => {
    const signature = createSigner([old])({ ...job, id: 'job_1"', tenant: 'a' });
    expect(createVerifier([old])({ ...job, id: 'job_1', tenant: '"a' }, signature)).toBe('wrong');
  });

  it.each([
    [undefined, 'unsigned'],
    ['', 'unsigned'],
    ['old', 'wrong'],
    ['old:', 'wrong'],
    ['other:AAAA', 'unknown_key'],
    [`old:${'A'.repeat(43)}`, 'wrong'],
    [`old:${'A'.repeat(5000)}`, 'wrong'],
  ])('%s is %s', (signature, flaw) => {
    expect(createVerifier([old])(job, signature)).toBe(flaw);
  });

  it('by one key is none of another key that has the same id', () => {
    const signature = createSigner([old])(job);
    expect(createVerifier([{ ...fresh, id: 'old' }])(job, signature)).toBe('wrong');
  });

  it('is made with the first key, and holds with any: keys are rotated without a pause', () => {
    const byOld = createSigner([old])(job);
    const byNew = createSigner([fresh, old])(job);
    expect(byNew).toMatch(/^new:/);
    const during = createVerifier([fresh, old]);
    expect([during(job, byOld), during(job, byNew)]).toEqual([undefined, undefined]);
    expect(createVerifier([fresh])(job, byOld)).toBe('unknown_key');
  });

  it('is empty without a key, and without one nothing is verified', () => {
    expect(createSigner([])(job)).toBe('');
    expect(createVerifier([])(job, 'anything')).toBeUndefined();
  });
});

describe('the seal of an audit chain', () => {
  const head = { chain: 'c', seq: 3, hash: 'h' };
  const seal = createSeal([old]).of('c', 3, 'h');

  it('holds for the head it was made for, and no other', () => {
    expect(createSeal([fresh, old]).check(head, seal)).toBe('good');
    expect(createSeal([old]).check({ ...head, seq: 2 }, seal)).toBe('wrong');
    expect(createSeal([old]).check({ ...head, chain: 'd' }, seal)).toBe('wrong');
  });

  it('counts as none without its key', () => {
    expect(createSeal([fresh]).check(head, seal)).toBe('none');
    expect(createSeal([]).of('c', 3, 'h')).toBe('');
    expect(createSeal([]).check(head, '')).toBe('none');
  });
});
