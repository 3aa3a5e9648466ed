/**
 * The form that this project began with: `{tools: {exec: {action, reason, rate_limit: {max, window}}}}`. It speaks of
 * tools that do something; looking at one's own jobs stays allowed unless it says otherwise.
 */
import { z } from 'zod';
import { TOOLS } from '../../../../shared/contract/policy.ts';
import { faultsIn } from '../fault.ts';
import { RUN_TOOLS } from '../rule.ts';
import { createNames, faultOfNoTool, type Translated, toolsFor } from './translation.ts';

const entry = z
  .strictObject({
    action: z.enum(['allow', 'deny', 'require_approval', 'rate_limit']).default('allow'),
    reason: z.string().min(1).optional(),
    rate_limit: z
      .strictObject({ max: z.number(), window: z.union([z.number(), z.string()]) })
      .optional(),
  })
  .refine(({ action, rate_limit }) => action !== 'rate_limit' || rate_limit !== undefined, {
    path: ['rate_limit'],
    message: 'expected {max, window} beside `action: rate_limit`; came none',
  });

const document = z.strictObject({
  version: z.string().optional(),
  name: z.string().optional(),
  description: z.string().optional(),
  default: z.enum(['allow', 'deny']).optional(),
  tools: z.record(z.string(), entry),
});

export function fromSeed(came: unknown): Translated {
  const parsed = document.safeParse(came);
  if (!parsed.success) return { faults: faultsIn(parsed.error) };
  const { tools, name, description } = parsed.data;
  const named = Object.keys(tools);
  const fault = faultOfNoTool(named, []);
  if (fault !== undefined) return { faults: [fault] };
  const nameOf = createNames();
  const rules = Object.entries(tools).flatMap(([tool, { action, reason, rate_limit }]) => {
    const ours = toolsFor(tool, named);
    if (ours.length === 0) return [];
    const said = reason === undefined ? {} : { reason };
    return {
      name: nameOf(tool === '*' ? 'all-tools' : tool),
      tools: ours,
      action: action === 'rate_limit' ? 'allow' : action,
      ...(action === 'deny' ? { reason: reason ?? `${tool} is denied.` } : said),
      ...(rate_limit && action !== 'deny'
        ? { rate_limit: { ...rate_limit, per: 'session', ...said } }
        : {}),
    };
  });
  const looks = TOOLS.filter((tool) => !RUN_TOOLS.includes(tool) && !named.includes(tool));
  const open = { name: nameOf('look-and-cancel'), tools: looks, action: 'allow' };
  return {
    written: {
      version: '1',
      name: name ?? 'seed',
      ...(description === undefined ? {} : { description }),
      default: parsed.data.default ?? 'deny',
      rules: looks.length > 0 && !named.includes('*') ? [...rules, open] : rules,
    },
  };
}
