/** The text of a document, YAML or JSON, in our own form or a foreign one → a policy, or everything that is wrong. */
import { parseDocument } from 'yaml';
import { isRecord } from './choose.ts';
import { policyDocument } from './document.ts';
import { type Fault, faultsIn } from './fault.ts';
import { fromForeign } from './foreign/form.ts';
import { compilePolicy, type Policy } from './policy.ts';

export type Loaded = { readonly policy: Policy } | { readonly faults: readonly Fault[] };

const MAX_TEXT_LENGTH = 256 * 1024;
/** Of a text that is no YAML, the first faults explain the others. */
const MOST_TEXT_FAULTS = 10;
const MAX_DEPTH = 40;
const MAX_ALIASES = 100;

export function loadPolicy(text: string): Loaded {
  if (text.length > MAX_TEXT_LENGTH) {
    const reason = `expected at most ${MAX_TEXT_LENGTH} characters; came ${text.length}`;
    return { faults: [{ path: '', reason }] };
  }
  const read = readText(text);
  if ('faults' in read) return read;
  const translated = fromForeign(read.value);
  if ('faults' in translated) return translated;
  return policyOf(translated.written);
}

/** From a document that was read already. */
export function policyOf(written: unknown): Loaded {
  const parsed = policyDocument.safeParse(written);
  if (!parsed.success) return { faults: faultsIn(parsed.error) };
  return { policy: compilePolicy(parsed.data, written) };
}

function readText(text: string): { value: unknown } | { faults: readonly Fault[] } {
  try {
    // A list that names itself, or a thousand times a thousand, is no policy: aliases are bounded.
    const document = parseDocument(text, { uniqueKeys: true, stringKeys: true });
    const faults = document.errors
      .slice(0, MOST_TEXT_FAULTS)
      .map(({ message }) => ({ path: '', reason: oneLine(message) }));
    if (faults.length > 0) return { faults };
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    if (depthOf(value) > MAX_DEPTH) {
      return { faults: [{ path: '', reason: `expected at most ${MAX_DEPTH} levels` }] };
    }
    return { value };
  } catch (error) {
    return { faults: [{ path: '', reason: oneLine((error as Error).message) }] };
  }
}

const oneLine = (message: string): string => message.split('\n')[0]?.replace(/:$/, '') ?? message;

/** Level by level, since what is too deep is too deep for a function that calls itself. */
function depthOf(value: unknown): number {
  let level: unknown[] = [value];
  for (let depth = 0; ; depth += 1) {
    level = level.flatMap((one) =>
      Array.isArray(one) ? one : isRecord(one) ? Object.values(one) : [],
    );
    if (level.length === 0 || depth > MAX_DEPTH) return depth;
  }
}
