/** Conditions: a test of what is found at a path, and trees of them with all, any and not. Compiled once, at load. */
import { z } from 'zod';
import { choose, isRecord } from './choose.ts';
import { OPERATORS, type OperatorName, type Test } from './operators.ts';
import { compilePath, fieldPath } from './path.ts';
import { SubjectTooLong } from './pattern.ts';

const MAX_BRANCHES = 64;
/** All values of one condition together, for patterns: a list of ten thousand short texts is long too. */
const MAX_PATTERN_LENGTH = 65_536;

const NAMES = Object.keys(OPERATORS) as OperatorName[];
const isOperator = (op: unknown): op is OperatorName => NAMES.some((name) => name === op);

export interface Condition {
  readonly path: string;
  readonly op: OperatorName;
  readonly value?: unknown;
  readonly each?: 'any' | 'all' | 'none' | 'joined' | undefined;
  readonly onMissing: 'match' | 'no_match';
}

export type ConditionTree =
  | Condition
  | { readonly all: readonly ConditionTree[] }
  | { readonly any: readonly ConditionTree[] }
  | { readonly not: ConditionTree };

const conditionWith = (op: unknown): z.ZodType<Condition> =>
  z.strictObject({
    path: fieldPath,
    op: z
      .unknown()
      .refine(isOperator, `expected one of ${NAMES.join(', ')}; came ${JSON.stringify(op)}`)
      .transform((name) => name as OperatorName),
    value: !isOperator(op)
      ? z.unknown()
      : op === 'exists'
        ? OPERATORS.exists.value.default(true)
        : OPERATORS[op].value,
    each: z.enum(['any', 'all', 'none', 'joined']).optional(),
    onMissing: z.enum(['match', 'no_match']).default('no_match'),
  });

const branches = z.lazy(() => z.array(conditionTree).min(1).max(MAX_BRANCHES));

export const conditionTree: z.ZodType<ConditionTree> = choose<ConditionTree>((came) => {
  if (isRecord(came) && 'all' in came) return z.strictObject({ all: branches });
  if (isRecord(came) && 'any' in came) return z.strictObject({ any: branches });
  if (isRecord(came) && 'not' in came) return z.strictObject({ not: conditionTree });
  return conditionWith(isRecord(came) ? came.op : undefined);
});

/** Over what is known of a call (view.ts). Throws SubjectTooLong. */
export type Predicate = (view: object) => boolean;

export function compileTree(tree: ConditionTree): Predicate {
  if ('all' in tree) {
    const parts = tree.all.map(compileTree);
    return (view) => parts.every((holds) => holds(view));
  }
  if ('any' in tree) {
    const parts = tree.any.map(compileTree);
    return (view) => parts.some((holds) => holds(view));
  }
  if ('not' in tree) {
    const holds = compileTree(tree.not);
    return (view) => !holds(view);
  }
  return compileCondition(tree);
}

function compileCondition({ path, op, value, each, onMissing }: Condition): Predicate {
  const reader = compilePath(path);
  if (op === 'exists') return (view) => reader.read(view).length > 0 === value;
  const { compile, isPattern } = OPERATORS[op];
  const test = bounded(compile(value), isPattern);
  const ask = quantifier(each ?? (reader.isMany ? 'any' : 'whole'));
  return (view) => {
    const found = reader.read(view);
    const values = each !== undefined && !reader.isMany ? spread(found) : found;
    return values.length === 0 ? onMissing === 'match' : ask(values, test);
  };
}

/** `each` at a path without `*` speaks of the items of the list that is there. */
const spread = (found: readonly unknown[]): readonly unknown[] => {
  const [only] = found;
  return Array.isArray(only) ? only : found;
};

type Ask = (values: readonly unknown[], test: (values: readonly unknown[]) => Test) => boolean;

function quantifier(each: 'any' | 'all' | 'none' | 'joined' | 'whole'): Ask {
  switch (each) {
    case 'any':
      return (values, test) => values.some(test(values));
    case 'all':
      return (values, test) => values.every(test(values));
    case 'none':
      return (values, test) => !values.some(test(values));
    case 'joined':
      return (values, test) => test(values)(values.map(textOf).join(' '));
    case 'whole':
      return (values, test) => test(values)(values[0]);
  }
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

/** Refuses before the first pattern runs when there is more to read than patterns may. */
function bounded(test: Test, isPattern: boolean): (values: readonly unknown[]) => Test {
  if (!isPattern) return () => test;
  return (values) => {
    const length = values.reduce<number>(
      (sum, value) => sum + (typeof value === 'string' ? value.length : 0),
      0,
    );
    if (values.length > 1 && length > MAX_PATTERN_LENGTH)
      throw new SubjectTooLong(length, MAX_PATTERN_LENGTH);
    return test;
  };
}
