import { expect, it } from 'vitest';

// Plain JavaScript, run by Node without a build: it has no types.
const { judge, judgeSet } = await import(new URL('./tally.mjs', import.meta.url).href);

const check = (status: string) => ({ id: 'a-check', status, errorMessage: 'why' });

it.each([
  ['passes when every check does', ['SUCCESS', 'INFO'], false, 'passed'],
  ['fails with one of its checks', ['SUCCESS', 'FAILURE'], false, 'failed'],
  ['fails by a warning too', ['SUCCESS', 'WARNING'], false, 'failed'],
  ['passes when it fails as is expected', ['SUCCESS', 'FAILURE'], true, 'passed'],
  ['fails when it passes though it is expected to fail', ['SUCCESS'], true, 'failed'],
  ['does not count when it checked nothing', ['INFO'], false, 'not counted'],
])('a scenario %s', (_, statuses, isListed, is) => {
  expect(judge({ checks: statuses.map(check), isListed }).is).toBe(is);
});

it.each([true, false])('a scenario that left no results fails, expected to or not', (isListed) => {
  expect(judge({ checks: undefined, isListed }).is).toBe('failed');
});

it('what was skipped, and a listed name that nothing asks for, are failures by name', () => {
  const noted = new Map<string, string>();
  judgeSet({
    asked: ['ran', 'skipped', 'lost'],
    listed: new Set(['lost', 'unknown']),
    results: new Map([
      ['ran', [check('SUCCESS')]],
      ['lost', [check('FAILURE')]],
    ]),
    note: (name: string, { is }: { is: string }) => noted.set(name, is),
  });
  expect(Object.fromEntries(noted)).toEqual({
    ran: 'passed',
    skipped: 'failed',
    lost: 'passed',
    unknown: 'failed',
  });
});
