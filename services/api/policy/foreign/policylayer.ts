/**
 * The JSON of PolicyLayer's hosted service: for each tool what it requires, what denies it, and its limits, and limits
 * of all tools together. It is attached to a grant, which here is a key: limits count per key.
 */
import { z } from 'zod';
import { faultsIn } from '../fault.ts';
import {
  ALL_TOOLS,
  createNames,
  faultOfNoTool,
  foreignCondition,
  hiddenTools,
  type Translated,
  toolsFor,
} from './translation.ts';

const words = z
  .string()
  .min(1)
  .transform((text) => text.replace(/[\r\n]+/g, ' '))
  .optional();

const condition = z.strictObject({ ...foreignCondition, reason: words, message: words });

const limit = z.strictObject({
  name: z.string().min(1).optional(),
  max: z.number(),
  window: z.union([z.number(), z.string()]),
  reason: words,
  message: words,
});

const tool = z.strictObject({
  require: z.array(condition).default([]),
  deny_if: z.array(condition).default([]),
  limits: z.array(limit).default([]),
});

const document = z.strictObject({
  version: z.literal('1'),
  name: z.string().optional(),
  description: z.string().optional(),
  default: z.enum(['allow', 'deny']),
  hide: z.array(z.string().min(1)).default([]),
  all_tools: z.strictObject({ limits: z.array(limit).default([]) }).prefault({}),
  tools: z.record(z.string(), tool).default({}),
});

type Condition = z.infer<typeof condition>;
type Limit = z.infer<typeof limit>;

export function fromPolicylayer(came: unknown): Translated {
  const parsed = document.safeParse(came);
  if (!parsed.success) return { faults: faultsIn(parsed.error) };
  const { tools, hide, all_tools, name, description } = parsed.data;
  const named = Object.keys(tools);
  const fault = faultOfNoTool(all_tools.limits.length > 0 ? [ALL_TOOLS] : named, hide);
  if (fault !== undefined) return { faults: [fault] };
  const nameOf = createNames();
  const limits = (of: string, on: readonly string[], list: readonly Limit[]): object[] =>
    list.map((one) => ({ name: nameOf(one.name ?? `${of}-limit`), tools: on, ...limitRule(one) }));
  const rules = Object.entries(tools).flatMap(([theirs, { require, deny_if, limits: list }]) => {
    const ours = toolsFor(theirs, named);
    if (ours.length === 0) return [];
    const of = theirs === ALL_TOOLS ? 'all-tools' : theirs;
    const denies = [
      ...require.map((one) => ({ when: { not: conditionOf(one) }, ...reasonOf(one, 'requires') })),
      ...deny_if.map((one) => ({ when: conditionOf(one), ...reasonOf(one, 'denies') })),
    ].map((one) => ({ name: nameOf(`${of}-condition`), tools: ours, action: 'deny', ...one }));
    const open = { name: nameOf(`${of}-is-listed`), tools: ours, action: 'allow' };
    return [...denies, ...limits(of, ours, list), open];
  });
  return {
    written: {
      version: '1',
      name: name ?? 'policylayer',
      ...(description === undefined ? {} : { description }),
      default: parsed.data.default,
      hide: hiddenTools(hide),
      rules: [...rules, ...limits('all-tools', [ALL_TOOLS], all_tools.limits)],
    },
  };
}

const conditionOf = ({ path, op, value }: Condition): object => ({
  path,
  op,
  ...(value === undefined ? {} : { value }),
});

const reasonOf = (of: Condition, verb: 'requires' | 'denies'): { reason: string } => ({
  reason:
    of.reason ??
    of.message ??
    `The policy ${verb} ${of.path} ${of.op} ${JSON.stringify(of.value) ?? ''}`.trim().slice(0, 400),
});

const limitRule = ({ max, window, reason, message }: Limit): object => {
  const said = reason ?? message;
  return {
    action: 'limit',
    rate_limit: { max, window, per: 'grant', ...(said === undefined ? {} : { reason: said }) },
  };
};
