/**
 * What is kept of a decision and of an act of administration. Records of one API process form a chain: each names its
 * number and the hash of the one before. See docs/audit.md.
 */
import { z } from 'zod';
import { TOOLS, verdict } from './policy.ts';

/** Acts by which the log speaks of itself. */
export const CHAIN_BEGUN = 'audit.chain_begun';
export const RECORDS_DROPPED = 'audit.records_dropped';
export const RECORDS_MISSED = 'audit.records_missed';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().nonnegative();

export const auditCaller = z.strictObject({
  tenant: z.string(),
  grant: z.string().describe('The id of the key.'),
  name: z.string(),
});
export type AuditCaller = z.infer<typeof auditCaller>;

const base = {
  id: z.string(),
  time: z.iso.datetime(),
  caller: auditCaller.nullable().describe('Null: the server itself, or a change of its files.'),
};

export const auditDecision = z.strictObject({
  kind: z.literal('decision'),
  ...base,
  revision: z.string().describe('The revision of the policy that decided.'),
  session: z.string().nullable(),
  tool: z.enum(TOOLS),
  argsHash: sha256
    .nullable()
    .describe('SHA-256 of the arguments as canonical JSON; of a batch, of those of its jobs.'),
  args: z.unknown().optional().describe('With `audit.arguments` redacted or full.'),
  decision: verdict,
  rule: z.string().nullable(),
  reason: z.string(),
  limits: z.array(z.strictObject({ rule: z.string(), left: z.number() })),
  shadow: z
    .array(z.strictObject({ rule: z.string(), decision: verdict, reason: z.string() }))
    .describe('What rules and limits in shadow would have decided.'),
  job: z.string().nullable(),
  batch: z
    .strictObject({ id: z.string(), count, first: count, last: count })
    .nullable()
    .describe('The jobs of a batch that this stands for, by their places in it.'),
});

export const auditAct = z.strictObject({
  kind: z.literal('act'),
  ...base,
  act: z.string().describe('Such as `key.revoke`.'),
  subject: z.string().describe('What was acted on: the id of a key, the name of a tenant.'),
  detail: z.record(z.string(), z.unknown()),
});

export const auditEntry = z.discriminatedUnion('kind', [auditDecision, auditAct]);
export type AuditEntry = z.infer<typeof auditEntry>;

/** The place of a record in its chain. Its hash is sha256 over `prev`, a newline, and `{chain, seq, entry}` as canonical JSON. */
export const auditLink = z.strictObject({
  chain: z.string(),
  seq: z.int().positive(),
  prev: z.union([sha256, z.literal('')]).describe('Empty in the first of a chain.'),
  hash: sha256,
});
export type AuditLink = z.infer<typeof auditLink>;

export const auditRecord = z.strictObject({
  position: z.string().describe('Its place in the log: `after` goes on behind it.'),
  link: auditLink.nullable().describe('Null where the policy says `chain: false`.'),
  entry: auditEntry.nullable().describe('Null: what stands there cannot be read.'),
});
export type AuditRecord = z.infer<typeof auditRecord>;

export const auditHead = z.strictObject({
  chain: z.string(),
  seq: z.int().positive(),
  hash: sha256,
  seal: z
    .enum(['good', 'wrong', 'none'])
    .describe('Whether it was signed with a signing key of this server.'),
});
export type AuditHead = z.infer<typeof auditHead>;

export const auditPage = z.strictObject({
  records: z.array(auditRecord),
  next: z.string().nullable().describe('For `after`; null at the end of the log.'),
});

export const auditHeads = z.strictObject({ heads: z.array(auditHead) });
