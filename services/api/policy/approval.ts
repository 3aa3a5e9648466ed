/** Who has to approve what a rule holds back: the document's side of a demand. */
import { z } from 'zod';
import { jobFields } from '../../../shared/contract/request.ts';
import { choose } from './choose.ts';
import { duration } from './duration.ts';
import type { ApprovalDemand } from './judgement.ts';
import { globSource } from './pattern.ts';

const LEAST_MS = 1_000;
const DEFAULT_EXPIRES_MS = 30 * 60_000;
const MOST_QUORUM = 20;

const editable = z
  .string()
  .max(256)
  .refine((path) => Object.hasOwn(jobFields.shape, path.split('.')[0] ?? ''), {
    message: 'expected a dotted path that begins with a field of a job',
  });

export const approval = z.strictObject({
  approvers: z.array(globSource).max(100).default([]),
  quorum: z.int().min(1).max(MOST_QUORUM).default(1),
  expiresIn: duration(LEAST_MS).prefault(DEFAULT_EXPIRES_MS / 1000),
  onExpire: z.enum(['deny', 'approve']).default('deny'),
  remember: choose<number>((came) => (came === 0 ? z.literal(0) : duration(LEAST_MS))).prefault(0),
  mayEdit: z.array(editable).max(100).default([]),
  notify: z.array(z.string().min(1)).max(16).default([]),
});

export type ApprovalRule = z.infer<typeof approval>;

export function demandOf(rule: string, reason: string, asked?: ApprovalRule): ApprovalDemand {
  const { expiresIn, remember, ...rest } = asked ?? approval.parse({});
  return { rule, reason, ...rest, expiresInMs: expiresIn, rememberMs: remember };
}
