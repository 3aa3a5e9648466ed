/**
 * Where a condition looks: `args.command.0`, `effective.limits.memoryMb`, `args.files.*.path`. Only what a value holds
 * itself is found, never what its prototype lends it. `*` takes every item of a list and every field of an object.
 */
import { z } from 'zod';
import { LIMITS } from '../../../shared/config/limits.ts';

const MAX_LENGTH = 256;
const MAX_PARTS = 16;

const LIMIT_FIELDS = Object.keys(LIMITS).filter(
  (name) => !/^(timeout|expiresIn|retain)Ms$/.test(name),
);

/** What is known beforehand, so that a misspelt path is a fault of the document and not a rule that never matches. */
const FIELDS: Readonly<Record<string, readonly string[] | undefined>> = {
  args: undefined,
  effective: [
    'timeoutMs',
    'limits',
    'image',
    'runtime',
    'isolation',
    'group',
    'env',
    'files',
    'steps',
    'collect',
    'cwd',
    'onLost',
    'expiresInMs',
    'retainMs',
  ],
  caller: ['name', 'tenant', 'grant', 'session', 'scopes', 'roles'],
  tool: ['name'],
  time: ['epochMs', 'hour', 'minute', 'weekday', 'date'],
};

function faultOf(parts: readonly string[]): string | undefined {
  const [root = '', first, second] = parts;
  if (!Object.hasOwn(FIELDS, root)) {
    return `expected a path that begins with ${Object.keys(FIELDS).join('., ')}.`;
  }
  if (first === undefined || parts.includes('')) return `expected a field after ${root}.`;
  const known = FIELDS[root];
  if (known !== undefined && first !== '*' && !known.includes(first)) {
    return `expected ${root}. and one of ${known.join(', ')}`;
  }
  const isLimit = root === 'effective' && first === 'limits' && second !== undefined;
  if (isLimit && second !== '*' && !LIMIT_FIELDS.includes(second)) {
    return `expected effective.limits. and one of ${LIMIT_FIELDS.join(', ')}`;
  }
  return parts.length > MAX_PARTS ? `expected at most ${MAX_PARTS} parts` : undefined;
}

export const fieldPath = z
  .string()
  .max(MAX_LENGTH)
  .superRefine((path, context) => {
    const fault = faultOf(path.split('.'));
    if (fault === undefined) return;
    context.addIssue({ code: 'custom', message: `${fault}; came ${JSON.stringify(path)}` });
  });

export interface Reader {
  readonly isMany: boolean;
  /** What is there; nothing where nothing is, and null is nothing. */
  readonly read: (root: unknown) => readonly unknown[];
}

export function compilePath(path: string): Reader {
  const parts = path.split('.');
  const isMany = parts.includes('*');
  const read = (root: unknown): readonly unknown[] => {
    let found: unknown[] = [root];
    for (const part of parts) {
      found = found.flatMap((value) => stepInto(value, part));
      if (found.length === 0) return found;
    }
    return found;
  };
  return { isMany, read: isMany ? read : (root) => readOne(root, parts) };
}

function readOne(root: unknown, parts: readonly string[]): readonly unknown[] {
  let value = root;
  for (const part of parts) {
    if (!holds(value, part)) return [];
    value = value[part];
  }
  return value === undefined || value === null ? [] : [value];
}

/** The indexes of a list are its fields; its length is not. */
const holds = (value: unknown, part: string): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  Object.hasOwn(value, part) &&
  (!Array.isArray(value) || /^\d+$/.test(part));

function stepInto(value: unknown, part: string): unknown[] {
  if (part !== '*') return holds(value, part) ? present([value[part]]) : [];
  return typeof value === 'object' && value !== null ? present(Object.values(value)) : [];
}

const present = (values: unknown[]): unknown[] =>
  values.filter((value) => value !== undefined && value !== null);
