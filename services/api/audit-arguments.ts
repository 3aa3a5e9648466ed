/** What of a call's arguments goes into the audit log: nothing, a hash, what rules left of them, or all. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../../shared/canonical-json.ts';
import { maskStrings, type Redaction } from '../../shared/redaction.ts';

export type ArgumentsKept = 'none' | 'hash' | 'redacted' | 'full';

type Arguments = object;

/** Longer arguments are not kept, only hashed. */
const MOST_CHARACTERS = 16_384;
const MASKED_IN_MS = 20;
const WITHHELD = '[withheld]';

/** Of several calls: over their texts, each with a newline behind it. */
export function hashOfArguments(calls: readonly Arguments[]): string {
  const hash = createHash('sha256');
  for (const [index, args] of calls.entries())
    hash.update(`${index > 0 ? '\n' : ''}${canonicalJson(args)}`);
  return hash.digest('hex');
}

/** What is shown of them; undefined where nothing is. */
export function shownArguments(
  args: Arguments,
  kept: ArgumentsKept,
  redactions: readonly Redaction[],
): unknown {
  if (kept === 'none' || kept === 'hash') return undefined;
  const shown = kept === 'full' ? args : withheld(args);
  const { length } = canonicalJson(shown);
  if (length > MOST_CHARACTERS) return { omitted: `${length} characters` };
  if (kept === 'full') return shown;
  try {
    return maskStrings(shown, redactions, performance.now() + MASKED_IN_MS);
  } catch (error) {
    return { omitted: (error as Error).message };
  }
}

/** What is as likely a secret as not, whatever it looks like: values of variables, standard input, contents. */
function withheld(args: Arguments): Arguments {
  const {
    env,
    stdin,
    files,
    steps,
    args: asked,
    ...rest
  } = args as Readonly<Record<string, unknown>>;
  return {
    ...rest,
    ...(isRecord(env)
      ? { env: Object.fromEntries(Object.keys(env).map((name) => [name, WITHHELD])) }
      : {}),
    ...(stdin === undefined ? {} : { stdin: WITHHELD }),
    ...(Array.isArray(files) ? { files: files.map((file) => without(file, 'content')) } : {}),
    // Of a dry run, the job that it asks about.
    ...(isRecord(asked) ? { args: withheld(asked) } : {}),
    ...(Array.isArray(steps) ? { steps: steps.map((step) => without(step, 'stdin')) } : {}),
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const without = (one: unknown, field: string): unknown =>
  isRecord(one) && one[field] !== undefined ? { ...one, [field]: WITHHELD } : one;
