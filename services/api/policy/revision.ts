/** The name of what a document says: the same for the same rules, however they are spelt, spaced and ordered. */
import { createHash } from 'node:crypto';
import { isRecord } from './choose.ts';

const DIGITS = 12;

/** JSON with the fields of objects in order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isRecord(value)) return JSON.stringify(value ?? null);
  const fields = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${fields.join()}}`;
}

export const revisionOf = (written: unknown): string =>
  createHash('sha256').update(canonical(written)).digest('hex').slice(0, DIGITS);
