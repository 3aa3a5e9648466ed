/**
 * The policy that all processes have in force, in Redis: the document as text, its revision, where it came from. It is
 * replaced as a whole and only by who knows what it replaces; the kill switch that workers look at moves with it.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { keys } from './keys.ts';
import { defineScript } from './script.ts';

const policyRecord = z.object({
  document: z.string(),
  revision: z.string(),
  source: z.enum(['file', 'put']),
  /** Of the file that was last put in force, by whatever process: the same file is not put in force again. */
  fileDigest: z.string().default(''),
  /** Whose act it was. */
  by: z.string(),
  at: z.coerce.number(),
});

export type PolicyRecord = z.infer<typeof policyRecord>;

export interface KillSwitch {
  readonly active: boolean;
  readonly reason: string;
  readonly cancelRunning: boolean;
}

export async function readPolicy(redis: Redis): Promise<PolicyRecord | undefined> {
  const fields = await redis.hgetall(keys.policy());
  return fields.revision === undefined ? undefined : policyRecord.parse(fields);
}

export const readPolicyRevision = (redis: Redis): Promise<string | null> =>
  redis.hget(keys.policy(), 'revision');

/** What stands for the revision where nothing was put in force. */
const NONE = '';
const ANY = '*';

/* KEYS policy, kill switch */
const PUT_POLICY = defineScript(`
  local known = redis.call('HGET', KEYS[1], 'revision') or '${NONE}'
  if ARGV[1] ~= '${ANY}' and ARGV[1] ~= known then return {0, known} end
  redis.call('HSET', KEYS[1], 'document', ARGV[2], 'revision', ARGV[3], 'source', ARGV[4], 'by', ARGV[6], 'at', ARGV[7])
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'fileDigest', ARGV[5]) end
  if ARGV[8] == 'on' then
    redis.call('HSET', KEYS[2], 'reason', ARGV[9], 'cancelRunning', ARGV[10])
  else
    redis.call('DEL', KEYS[2])
  end
  return {1, ARGV[3]}
`);

/** False: another revision than the expected one is in force. */
export async function putPolicy(
  redis: Redis,
  next: {
    /** The revision that it replaces; null: nothing was put in force before; undefined: whatever it is. */
    readonly expected: string | null | undefined;
    readonly record: PolicyRecord;
    readonly killSwitch: KillSwitch;
  },
): Promise<boolean> {
  const { record, killSwitch } = next;
  const expected = next.expected === undefined ? ANY : (next.expected ?? NONE);
  const [isDone] = (await PUT_POLICY.run(
    redis,
    [keys.policy(), keys.killSwitch()],
    [
      expected,
      record.document,
      record.revision,
      record.source,
      record.fileDigest,
      record.by,
      record.at,
      killSwitch.active ? 'on' : 'off',
      killSwitch.reason,
      killSwitch.cancelRunning ? 1 : 0,
    ],
  )) as [number, string];
  return isDone === 1;
}
