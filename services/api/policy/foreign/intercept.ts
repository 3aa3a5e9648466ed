/**
 * The YAML of PolicyLayer's open proxy, Intercept: rules by tool, each a list of conditions that have to hold, or an
 * outright deny, or a limit. Its limits count in windows that begin with the minute, hour or day; the proxy counts for
 * the one agent behind it, which here is a key.
 */
import { z } from 'zod';
import { type Fault, faultsIn } from '../fault.ts';
import {
  ALL_TOOLS,
  createNames,
  faultOfNoTool,
  foreignCondition,
  foreignWindow,
  hiddenTools,
  type Translated,
  toolsFor,
} from './translation.ts';

const rateLimit = z
  .string()
  .regex(/^[1-9]\d{0,8}\/(minute|hour|day)$/, 'expected a number and a window, such as 5/hour');

const rule = z.strictObject({
  name: z.string().min(1),
  action: z.enum(['evaluate', 'deny']).default('evaluate'),
  rate_limit: rateLimit.optional(),
  conditions: z.array(z.strictObject(foreignCondition)).default([]),
  on_deny: z.string().min(1).optional(),
  state: z
    .strictObject({
      counter: z.string().min(1),
      window: foreignWindow,
      increment: z.int().positive().default(1),
      increment_from: z.string().optional(),
    })
    .optional(),
});

const document = z.strictObject({
  version: z.literal('1'),
  description: z.string().optional(),
  default: z.enum(['allow', 'deny']).default('allow'),
  hide: z.array(z.string().min(1)).default([]),
  tools: z.record(z.string(), z.strictObject({ rules: z.array(rule).default([]) })),
});

type ForeignRule = z.infer<typeof rule>;
type Condition = ForeignRule['conditions'][number];

export function fromIntercept(came: unknown): Translated {
  const parsed = document.safeParse(came);
  if (!parsed.success) return { faults: faultsIn(parsed.error) };
  const { tools, hide, description } = parsed.data;
  const named = Object.keys(tools);
  const none = faultOfNoTool(named, hide);
  const faults: Fault[] = none === undefined ? [] : [none];
  const nameOf = createNames();
  const rules = Object.entries(tools).flatMap(([tool, { rules: theirs }]) => {
    const ours = toolsFor(tool, named);
    if (ours.length === 0) return [];
    const open =
      parsed.data.default === 'deny' && tool !== ALL_TOOLS
        ? [{ name: nameOf(`${tool}-is-listed`), tools: ours, action: 'allow' }]
        : [];
    const translated = theirs.flatMap((one, index) => {
      const at = `tools.${tool}.rules.${index}`;
      const made = rulesOf(one, tool);
      if (!('reason' in made))
        return made.rules.map((part) => ({ name: nameOf(one.name), tools: ours, ...part }));
      faults.push({ path: `${at}.${made.path}`, reason: made.reason });
      return [];
    });
    return [...translated, ...open];
  });
  if (faults.length > 0) return { faults };
  return {
    written: {
      version: '1',
      name: 'intercept',
      ...(description === undefined ? {} : { description }),
      default: parsed.data.default,
      hide: hiddenTools(hide),
      rules,
    },
  };
}

type Made = { readonly rules: readonly object[] } | Fault;

function rulesOf(one: ForeignRule, tool: string): Made {
  const reason = (one.on_deny ?? `Denied by the rule "${one.name}".`).replace(/[\r\n]+/g, ' ');
  if (one.action === 'deny') {
    if (one.conditions.length > 0 || one.rate_limit !== undefined) {
      return { path: 'action', reason: 'expected neither conditions nor a rate_limit beside deny' };
    }
    return { rules: [{ action: 'deny', reason }] };
  }
  if (one.rate_limit !== undefined) {
    if (one.conditions.length > 0 || one.state !== undefined) {
      return { path: 'rate_limit', reason: 'expected neither conditions nor a state beside it' };
    }
    const [max, window = ''] = one.rate_limit.split('/');
    return { rules: [limitOf({ max: Number(max), window, reason: one.on_deny })] };
  }
  const ofState = one.conditions.filter(isOfState);
  const ofCall = one.conditions.filter((condition) => !isOfState(condition));
  if (one.conditions.length === 0) {
    return { path: 'conditions', reason: 'expected at least one condition; came none' };
  }
  const limits: object[] = [];
  for (const condition of ofState) {
    const limit = countedLimit(one, condition, tool);
    if ('path' in limit) return limit;
    limits.push(limit.rule);
  }
  const deny = { action: 'deny', reason, when: { not: { all: ofCall } } };
  return { rules: ofCall.length > 0 ? [deny, ...limits] : limits };
}

const isOfState = ({ path }: Condition): boolean => path.startsWith('state.');

const limitOf = (of: { max: number; window: string; reason: string | undefined }): object => ({
  action: 'limit',
  rate_limit: {
    max: of.max,
    window: of.window,
    per: 'grant',
    algorithm: 'fixed',
    ...(of.reason === undefined ? {} : { reason: of.reason }),
  },
});

/** A counter and its bound → a limit, where the counter counts calls. */
function countedLimit(
  { state, on_deny }: ForeignRule,
  { path, op, value }: Condition,
  tool: string,
): { rule: object } | Fault {
  const scope = tool === ALL_TOOLS ? '_global' : tool;
  if (state === undefined || path !== `state.${scope}.${state.counter}`) {
    return {
      path: 'conditions',
      reason: `expected the counter of its own \`state\`; came ${path}`,
    };
  }
  if (state.increment_from !== undefined) {
    return {
      path: 'state.increment_from',
      reason: 'expected a fixed increment: only calls are counted',
    };
  }
  if ((op !== 'lte' && op !== 'lt') || typeof value !== 'number') {
    return {
      path: 'conditions',
      reason: `expected lte or lt and a number for a counter; came ${op}`,
    };
  }
  const most = op === 'lte' ? Math.floor(value) : Math.ceil(value) - 1;
  const max = Math.floor(most / state.increment);
  if (max < 1) return { path: 'conditions', reason: 'expected a bound that lets one call through' };
  return { rule: limitOf({ max, window: state.window, reason: on_deny }) };
}
