import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Condition,
  type ConditionTree,
  compileTree,
  conditionTree,
} from '../../../services/api/policy/condition.ts';
import { SubjectTooLong } from '../../../services/api/policy/pattern.ts';

const holds = (tree: unknown, args: unknown): boolean =>
  compileTree(conditionTree.parse(tree))({ args });

describe('a condition', () => {
  it.each<[object, unknown, boolean]>([
    [{ op: 'eq', value: 1 }, 1, true],
    [{ op: 'eq', value: 1 }, '1', false],
    [{ op: 'eq', value: ['a', 'b'] }, ['a', 'b'], true],
    [{ op: 'neq', value: 'x' }, 'y', true],
    [{ op: 'in', value: ['curl', 'nc'] }, 'nc', true],
    [{ op: 'not_in', value: ['curl'] }, 'curl', false],
    [{ op: 'lt', value: 3 }, 2, true],
    [{ op: 'lte', value: 3 }, 3, true],
    [{ op: 'gt', value: 3 }, 3, false],
    [{ op: 'gte', value: 3 }, '4', false],
    [{ op: 'between', value: [1, 3] }, 3, true],
    [{ op: 'between', value: ['a', 'c'] }, 'd', false],
    [{ op: 'regex', value: '^v[0-9]+$' }, 'v12', true],
    [{ op: 'regex', value: '1' }, 1, false],
    [{ op: 'not_regex', value: '^v' }, 'w', true],
    [{ op: 'glob', value: '*.py' }, 'a.py', true],
    [{ op: 'not_glob', value: '*.py' }, 'a.py', false],
    [{ op: 'prefix', value: '/work/' }, '/work/a', true],
    [{ op: 'suffix', value: '.sh' }, 'a.py', false],
    [{ op: 'contains', value: 'b' }, 'abc', true],
    [{ op: 'contains', value: '-f' }, ['rm', '-f'], true],
    [{ op: 'not_contains', value: '-f' }, ['rm'], true],
    [{ op: 'size_lte', value: 3 }, 'é', true],
    [{ op: 'size_lte', value: 1 }, 'é', false],
    [{ op: 'size_gte', value: 2 }, ['a', 'b'], true],
    [{ op: 'size_gte', value: 2 }, { a: 1 }, false],
    [{ op: 'subset_of', value: ['a', 'b'] }, ['a', 'a'], true],
    [{ op: 'subset_of', value: ['a', 'b'] }, ['a', 'c'], false],
    [{ op: 'disjoint', value: ['a'] }, ['b', 'c'], true],
    [{ op: 'disjoint', value: ['a'] }, 'a', false],
  ])('%j of %j: %s', (condition, x, expected) => {
    expect(holds({ path: 'args.x', ...condition }, { x })).toBe(expected);
  });

  it('says what follows when nothing is there; null is nothing', () => {
    const negative = { path: 'args.x', op: 'neq', value: 1 };
    expect(holds(negative, {})).toBe(false);
    expect(holds(negative, { x: null })).toBe(false);
    expect(holds({ ...negative, onMissing: 'match' }, {})).toBe(true);
    expect(holds({ path: 'args.x', op: 'exists' }, { x: 0 })).toBe(true);
    expect(holds({ path: 'args.x', op: 'exists', value: false }, { x: null })).toBe(true);
  });

  it('asks of lists what `each` says, with and without a star', () => {
    const files = { files: [{ path: 'a.py' }, { path: 'b.sh' }] };
    const isPython = { path: 'args.files.*.path', op: 'suffix', value: '.py' };
    expect(holds(isPython, files)).toBe(true);
    expect(holds({ ...isPython, each: 'all' }, files)).toBe(false);
    expect(holds({ ...isPython, each: 'none' }, files)).toBe(false);
    const isDash = { path: 'args.command', op: 'prefix', value: '-' };
    expect(holds(isDash, { command: ['rm', '-f'] })).toBe(false);
    expect(holds({ ...isDash, each: 'any' }, { command: ['rm', '-f'] })).toBe(true);
    expect(holds({ ...isDash, each: 'all', onMissing: 'match' }, { command: [] })).toBe(true);
  });

  it('tests an argv joined by spaces', () => {
    const condition = {
      path: 'args.command',
      op: 'regex',
      value: '^git push( |$)',
      each: 'joined',
    };
    expect(holds(condition, { command: ['git', 'push', '-f'] })).toBe(true);
    expect(holds(condition, { command: ['git', 'pull'] })).toBe(false);
  });

  it('finds what values hold themselves and nothing of their prototypes', () => {
    for (const path of ['args.constructor', 'args.__proto__', 'args.x.length', 'args.x.toString']) {
      expect(holds({ path, op: 'exists' }, { x: ['a'] }), path).toBe(false);
    }
    expect(holds({ path: 'args.text.0', op: 'exists' }, { text: 'abc' })).toBe(false);
    expect(holds({ path: 'args.__proto__', op: 'exists' }, JSON.parse('{"__proto__": 1}'))).toBe(
      true,
    );
  });

  it('does not read more by patterns than is bounded, one text or many', () => {
    const many = { path: 'args.list.*', op: 'glob', value: 'x*' };
    expect(() =>
      holds({ path: 'args.x', op: 'regex', value: 'b' }, { x: 'a'.repeat(5000) }),
    ).toThrow(SubjectTooLong);
    expect(() => holds(many, { list: Array(40_000).fill('ab') })).toThrow(SubjectTooLong);
    expect(holds(many, { list: Array(30_000).fill('ab') })).toBe(false);
  });

  it.each<[object, string, string]>([
    [{ path: 'arg.x', op: 'eq', value: 1 }, 'path', 'begins with args.'],
    [{ path: 'args', op: 'eq', value: 1 }, 'path', 'a field after args.'],
    [{ path: 'effective.limits.memoryMB', op: 'gt', value: 1 }, 'path', 'memoryMb'],
    [{ path: 'args.x', op: 'equals', value: 1 }, 'op', 'came "equals"'],
    [{ path: 'args.x', op: 'in', value: 'a' }, 'value', 'array'],
    [{ path: 'args.x', op: 'eq' }, 'value', ''],
    [{ path: 'args.x', op: 'between', value: [3, 1] }, 'value', 'the lower one first'],
    [{ path: 'args.x', op: 'regex', value: '(' }, 'value', 'RE2'],
    [{ any: [] }, 'any', '>=1'],
    [{ all: [{ not: { path: 'args.x', op: 'lt', value: true } }] }, 'all.0.not.value', 'number'],
    [{ path: 'args.x', op: 'eq', value: 1, negate: true }, '', 'negate'],
  ])('that cannot be is refused where it is wrong: %j', (tree, path, words) => {
    const issues = conditionTree.safeParse(tree).error?.issues ?? [];
    expect(issues.map((issue) => issue.path.join('.'))).toContain(path);
    expect(issues.map(({ message }) => message).join()).toContain(words);
  });
});

/** The language once more, as plainly as it can be said, over flat values. */
describe('trees of conditions', () => {
  type Plain = { op: 'eq' | 'neq' | 'lt' | 'gte' | 'in' | 'not_in'; value: unknown };
  const value = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom('a', 'b'), fc.boolean());
  const simple: fc.Arbitrary<Plain> = fc.oneof(
    fc.record({ op: fc.constantFrom('eq' as const, 'neq' as const), value }),
    fc.record({ op: fc.constantFrom('lt' as const, 'gte' as const), value: fc.nat({ max: 3 }) }),
    fc.record({
      op: fc.constantFrom('in' as const, 'not_in' as const),
      value: fc.array(value, { minLength: 1, maxLength: 3 }),
    }),
  );
  const condition = fc
    .record(
      {
        path: fc.constantFrom('args.x', 'args.list', 'args.list.*', 'args.none'),
        test: simple,
        each: fc.constantFrom('any' as const, 'all' as const, 'none' as const),
        onMissing: fc.constantFrom('match' as const, 'no_match' as const),
      },
      { requiredKeys: ['path', 'test'] },
    )
    .map(({ test, ...rest }) => ({ ...rest, ...test }));
  const { tree } = fc.letrec<{ tree: object }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      condition,
      fc.record({ all: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }) }),
      fc.record({ any: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }) }),
      fc.record({ not: tie('tree') }),
    ),
  }));

  const isTrue = (one: Plain, subject: unknown): boolean => {
    const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
    const list = one.value as unknown[];
    if (one.op === 'eq') return same(subject, one.value);
    if (one.op === 'neq') return !same(subject, one.value);
    if (one.op === 'in') return list.some((item) => same(item, subject));
    if (one.op === 'not_in') return !list.some((item) => same(item, subject));
    if (typeof subject !== 'number') return false;
    return one.op === 'lt' ? subject < Number(one.value) : subject >= Number(one.value);
  };

  function model(node: ConditionTree, args: { x?: unknown; list: unknown[] }): boolean {
    if ('all' in node) return !node.all.some((one) => !model(one, args));
    if ('any' in node) return node.any.filter((one) => model(one, args)).length > 0;
    if ('not' in node) return model(node.not, args) === false;
    const { path, each, onMissing } = node as Condition;
    let values: unknown[] = [];
    if (path === 'args.x' && args.x !== undefined) values = [args.x];
    if (path === 'args.list') values = each === undefined ? [args.list] : args.list;
    if (path === 'args.list.*') values = args.list;
    if (values.length === 0) return onMissing === 'match';
    const found = values.map((one) => isTrue(node as unknown as Plain, one));
    if (each === 'all') return !found.includes(false);
    return each === 'none' ? !found.includes(true) : found.includes(true);
  }

  it('mean what a simple reading of them means', () => {
    const args = fc.record(
      { x: value, list: fc.array(value, { maxLength: 3 }) },
      { requiredKeys: ['list'] },
    );
    fc.assert(
      fc.property(tree, args, (written, asked) => {
        const parsed = conditionTree.parse(written);
        expect(compileTree(parsed)({ args: asked })).toBe(model(parsed, asked));
      }),
      { numRuns: 2000 },
    );
  });

  it('never fail on any JSON, and answer the same twice', () => {
    fc.assert(
      fc.property(tree, fc.jsonValue(), (written, asked) => {
        const compiled = compileTree(conditionTree.parse(written));
        const answer = compiled({ args: asked });
        expect(typeof answer).toBe('boolean');
        expect(compiled({ args: asked })).toBe(answer);
      }),
      { numRuns: 500 },
    );
  });
});
