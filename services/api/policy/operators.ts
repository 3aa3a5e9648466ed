/** What a condition may ask of a value. A negative is true exactly where its positive is not. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { utf8Bytes } from '../../../shared/contract/units.ts';
import { isRecord } from './choose.ts';
import { compileGlob, compileRegex, globSource, regexSource } from './pattern.ts';

export type Test = (subject: unknown) => boolean;

export interface Operator {
  /** What the document may compare with. */
  readonly value: z.ZodType;
  readonly compile: (value: unknown) => Test;
  /** Reads its subject with a pattern: how much of it there may be is bounded. */
  readonly isPattern: boolean;
}

const operator = <T>(
  value: z.ZodType<T>,
  compile: (value: T) => Test,
  isPattern = false,
): Operator => ({ value, compile: compile as (value: unknown) => Test, isPattern });

const not = ({ value, compile, isPattern }: Operator): Operator => ({
  value,
  isPattern,
  compile: (compared) => {
    const test = compile(compared);
    return (subject) => !test(subject);
  },
});

const anything = z.json();
const list = z.array(z.json()).min(1).max(1000);
const text = z.string().min(1);
const size = z.int().nonnegative();
const ordered = z.union([z.number(), z.string()], {
  error: () => 'expected a number, or a text to compare by its letters',
});
type Ordered = z.infer<typeof ordered>;

/** Numbers with numbers and texts with texts; anything else is in no order. */
const compare =
  (holds: (order: number) => boolean) =>
  (value: Ordered): Test =>
  (subject) => {
    if (typeof subject !== typeof value) return false;
    const came = subject as Ordered;
    return holds(came < value ? -1 : came > value ? 1 : 0);
  };

const between = operator(
  z
    .tuple([ordered, ordered], { error: () => 'expected two bounds, [lowest, highest]' })
    .refine(([low, high]) => typeof low === typeof high && low <= high, {
      message: 'expected two bounds of one kind, the lower one first',
    }),
  ([low, high]) => {
    const isFrom = compare((order) => order >= 0)(low);
    const isTo = compare((order) => order <= 0)(high);
    return (subject) => isFrom(subject) && isTo(subject);
  },
);

/** Most lists hold texts alone, and those are looked up. */
function isOneOf(values: readonly unknown[]): Test {
  const simple = new Set(values.filter((value) => typeof value !== 'object' || value === null));
  const deep = values.filter((value) => typeof value === 'object' && value !== null);
  return (subject) =>
    simple.has(subject) || deep.some((value) => isDeepStrictEqual(value, subject));
}

const onText = (test: (subject: string) => boolean): Test => {
  return (subject) => typeof subject === 'string' && test(subject);
};

const equal = operator(anything, (value) => isOneOf([value]));
const oneOf = operator(list, isOneOf);
const regex = operator(regexSource, (source) => onText(compileRegex(source)), true);
const glob = operator(globSource, (source) => onText(compileGlob(source)), true);

const contains = operator(anything, (value) => {
  const isIt = isOneOf([value]);
  return (subject) =>
    typeof subject === 'string'
      ? typeof value === 'string' && subject.includes(value)
      : Array.isArray(subject) && subject.some(isIt);
});

/** Bytes of a text, items of a list, fields of an object. */
const sizeOf = (subject: unknown): number | undefined => {
  if (typeof subject === 'string') return utf8Bytes(subject);
  if (Array.isArray(subject)) return subject.length;
  return isRecord(subject) ? Object.keys(subject).length : undefined;
};

const itemsOf = (subject: unknown): readonly unknown[] =>
  Array.isArray(subject) ? subject : [subject];

export const OPERATORS = {
  eq: equal,
  neq: not(equal),
  in: oneOf,
  not_in: not(oneOf),
  lt: operator(
    ordered,
    compare((order) => order < 0),
  ),
  lte: operator(
    ordered,
    compare((order) => order <= 0),
  ),
  gt: operator(
    ordered,
    compare((order) => order > 0),
  ),
  gte: operator(
    ordered,
    compare((order) => order >= 0),
  ),
  between,
  regex,
  not_regex: not(regex),
  glob,
  not_glob: not(glob),
  prefix: operator(text, (value) => onText((subject) => subject.startsWith(value))),
  suffix: operator(text, (value) => onText((subject) => subject.endsWith(value))),
  contains,
  not_contains: not(contains),
  // Whether there is anything at all is known before any value is tested.
  exists: operator(z.boolean(), (value) => () => value),
  size_lte: operator(size, (value) => (subject) => (sizeOf(subject) ?? Infinity) <= value),
  size_gte: operator(size, (value) => (subject) => (sizeOf(subject) ?? -1) >= value),
  subset_of: operator(list, (values) => {
    const isIn = isOneOf(values);
    return (subject) => itemsOf(subject).every(isIn);
  }),
  disjoint: operator(list, (values) => {
    const isIn = isOneOf(values);
    return (subject) => !itemsOf(subject).some(isIn);
  }),
} as const satisfies Record<string, Operator>;

export type OperatorName = keyof typeof OPERATORS;
