/** One rule of a document: whom and what it speaks of, and what follows. */
import { z } from 'zod';
import { TOOLS, type Tool } from '../../../shared/contract/policy.ts';
import { approval } from './approval.ts';
import { choose, oneOrMany } from './choose.ts';
import { conditionTree } from './condition.ts';
import { constrain } from './constraints.ts';
import { during } from './during.ts';
import { concurrency, rateLimit } from './limit.ts';
import { compileGlob, globSource, regexSource } from './pattern.ts';
import { who } from './who.ts';

const MAX_LIMITS = 16;
const MAX_REASON = 512;

export const ruleName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected 1 to 64 letters, digits, dots, dashes');

export const reasonText = z
  .string()
  .min(1)
  .max(MAX_REASON)
  .refine((text) => !/[\r\n]/.test(text), 'expected one line');

/** The tools that run something: what can be constrained, held back and redacted. */
export const RUN_TOOLS: readonly Tool[] = ['exec', 'exec_batch'];

export const toolsOf = (glob: string): readonly Tool[] => TOOLS.filter(compileGlob(glob));

export const toolGlob = globSource.refine((glob) => toolsOf(glob).length > 0, {
  message: `expected a name or glob of ${TOOLS.join(', ')}`,
});

const redaction = choose((came) =>
  typeof came === 'string'
    ? regexSource.transform((pattern) => ({ pattern, replacement: '[redacted]' }))
    : z.strictObject({
        pattern: regexSource,
        replacement: z.string().max(128).default('[redacted]'),
      }),
);

export const rule = z
  .strictObject({
    name: ruleName,
    description: z.string().max(2000).optional(),
    enabled: z.boolean().default(true),
    mode: z.enum(['enforce', 'shadow']).default('enforce'),
    tools: z.array(toolGlob).min(1).max(32),
    who: who.optional(),
    during: during.optional(),
    when: conditionTree.optional(),
    action: z.enum(['allow', 'deny', 'require_approval', 'limit']),
    reason: reasonText.optional(),
    rate_limit: oneOrMany(rateLimit, MAX_LIMITS).optional(),
    concurrency: oneOrMany(concurrency, MAX_LIMITS).optional(),
    require: z
      .array(z.strictObject({ when: conditionTree, reason: reasonText }))
      .max(64)
      .optional(),
    constrain: constrain.optional(),
    approval: approval.optional(),
    redact: z.array(redaction).max(32).optional(),
  })
  .superRefine((asked, context) => {
    for (const { path, message } of contradictionsOf(asked)) {
      context.addIssue({ code: 'custom', path, message });
    }
  });

interface Asked {
  readonly tools: readonly string[];
  readonly action: 'allow' | 'deny' | 'require_approval' | 'limit';
  readonly reason?: string | undefined;
  readonly when?: unknown;
  readonly rate_limit?: readonly { readonly onExceed: string }[] | undefined;
  readonly concurrency?: unknown;
  readonly require?: unknown;
  readonly constrain?: { readonly max: { readonly batchSize?: number | undefined } } | undefined;
  readonly approval?: unknown;
  readonly redact?: unknown;
}

interface Contradiction {
  readonly path: string[];
  readonly message: string;
}

const BESIDE_DENY = [
  'rate_limit',
  'concurrency',
  'require',
  'constrain',
  'approval',
  'redact',
] as const;

/** Each part is well-formed by itself; together they may still mean nothing. */
function contradictionsOf(asked: Asked): Contradiction[] {
  const found: Contradiction[] = [];
  const { action } = asked;
  if (action === 'deny') {
    if (asked.reason === undefined) {
      found.push({ path: ['reason'], message: 'expected a reason for what is denied; came none' });
    }
    for (const name of BESIDE_DENY) {
      if (asked[name] === undefined) continue;
      found.push({ path: [name], message: 'expected nothing of it beside `action: deny`' });
    }
    return found;
  }
  const runsAlone = asked.tools.flatMap(toolsOf).every((tool) => RUN_TOOLS.includes(tool));
  if (action === 'require_approval' && !runsAlone) {
    const message = `expected ${RUN_TOOLS.join(' and ')} alone beside \`action: require_approval\``;
    found.push({ path: ['tools'], message });
  }
  if (action === 'limit' && asked.rate_limit === undefined && asked.concurrency === undefined) {
    found.push({ path: ['action'], message: 'expected a `rate_limit` or `concurrency` beside it' });
  }
  const mayDemand =
    action === 'require_approval' ||
    asked.rate_limit?.some(({ onExceed }) => onExceed === 'require_approval');
  if (asked.approval !== undefined && !mayDemand) {
    const message = 'expected it where something requires approval; nothing of this rule does';
    found.push({ path: ['approval'], message });
  }
  if (asked.constrain?.max.batchSize !== undefined && asked.when !== undefined) {
    const message = 'expected no `when` beside it: a batch is judged before its jobs are';
    found.push({ path: ['constrain', 'max', 'batchSize'], message });
  }
  return found;
}

export type Rule = z.infer<typeof rule>;
