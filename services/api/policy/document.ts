/** The policy document, as it is written: strict, so that a misspelt rule is a fault and not a hole. */
import { z } from 'zod';
import { SCOPES, TOOLS, verdict } from '../../../shared/contract/policy.ts';
import { duration } from './duration.ts';
import { fieldPath } from './path.ts';
import { globSource } from './pattern.ts';
import { reasonText, rule, ruleName, toolGlob } from './rule.ts';
import { roleIn, roleName } from './who.ts';

const MAX_RULES = 500;
const MAX_TESTS = 500;
const MAX_REPEAT = 1_000;
/** A server runs them before it takes a document, and answers nobody meanwhile. */
const MAX_TEST_CALLS = 10_000;

const killSwitch = z.strictObject({
  active: z.boolean().default(false),
  reason: reasonText.default('The kill switch is on.'),
  cancelRunning: z.boolean().default(false),
});

const audit = z.strictObject({
  arguments: z.enum(['none', 'hash', 'redacted', 'full']).default('hash'),
  decisions: z.enum(['denied', 'all']).default('all'),
  chain: z.boolean().default(true),
  retain: duration(3_600_000).prefault('30d'),
});

const testCaller = z.strictObject({
  name: z.string().min(1).max(256).default('user:test@example.com'),
  tenant: z.string().min(1).max(64).default('default'),
  grant: z.string().min(1).max(64).default('test'),
  session: z.string().min(1).max(128).nullable().default(null),
  scopes: z.array(z.enum(SCOPES)).default(['exec:run', 'exec:batch', 'exec:read', 'exec:cancel']),
});

const test = z.strictObject({
  name: z.string().min(1).max(256),
  tool: z.enum(TOOLS),
  args: z.record(z.string(), z.json()).default({}),
  caller: testCaller.prefault({}),
  /** A Monday at noon, so that a document means the same whenever it is tested. */
  at: z.iso.datetime({ offset: true }).default('2026-01-05T12:00:00Z'),
  repeat: z.int().min(1).max(MAX_REPEAT).default(1),
  /** Between one call and the next. */
  every: duration(0).prefault(0),
  expect: verdict,
  rule: ruleName.nullable().optional(),
  /** What the job gets, by paths beneath `effective.`. */
  effective: z.record(z.string(), z.json()).optional(),
});

const EFFECTIVE = 'effective.';

export const policyDocument = z
  .strictObject({
    version: z.literal('1', {
      error: ({ input }) => `expected "1"; came ${JSON.stringify(input)}`,
    }),
    name: z.string().min(1).max(128).default('policy'),
    description: z.string().max(4000).optional(),
    default: z.enum(['deny', 'allow']).default('deny'),
    mode: z.enum(['enforce', 'shadow', 'off']).default('enforce'),
    failMode: z.enum(['closed', 'open']).default('closed'),
    killSwitch: killSwitch.prefault({}),
    hide: z.array(toolGlob).max(32).default([]),
    roles: z.record(roleName, z.array(globSource).min(1).max(1000)).default({}),
    notifiers: z
      .record(z.string().min(1).max(64), z.strictObject({ url: z.url({ protocol: /^https?$/ }) }))
      .default({}),
    audit: audit.prefault({}),
    rules: z.array(rule).max(MAX_RULES).default([]),
    tests: z
      .array(test)
      .max(MAX_TESTS)
      .refine(
        (tests) => tests.reduce((sum, { repeat }) => sum + repeat, 0) <= MAX_TEST_CALLS,
        `expected at most ${MAX_TEST_CALLS} calls of all tests together`,
      )
      .default([]),
  })
  .superRefine((asked, context) => {
    for (const { path, message } of looseEndsOf(asked)) {
      context.addIssue({ code: 'custom', path, message });
    }
  });

interface LooseEnd {
  readonly path: (string | number)[];
  readonly message: string;
}

type Asked = Pick<z.infer<typeof policyDocument>, 'roles' | 'notifiers' | 'rules' | 'tests'>;

/** Names that nothing has, and names that two have. */
function looseEndsOf({ roles, notifiers, rules, tests }: Asked): LooseEnd[] {
  const names = rules.map(({ name }) => name);
  const noRole = (role: string | undefined) => role !== undefined && !Object.hasOwn(roles, role);
  const unknown = (path: (string | number)[], kind: string, came: string) => ({
    path,
    message: `expected a ${kind} of this document; came ${JSON.stringify(came)}`,
  });
  const found: LooseEnd[] = [];
  rules.forEach((one, index) => {
    const at = (...rest: (string | number)[]) => ['rules', index, ...rest];
    if (names.indexOf(one.name) !== index) {
      found.push({
        path: at('name'),
        message: `expected a name of its own; came ${one.name} twice`,
      });
    }
    one.who?.roles?.forEach((role, i) => {
      if (noRole(role)) found.push(unknown(at('who', 'roles', i), 'role', role));
    });
    one.who?.callers?.forEach((entry, i) => {
      if (noRole(roleIn(entry))) found.push(unknown(at('who', 'callers', i), 'role', entry));
    });
    one.approval?.approvers.forEach((entry, i) => {
      if (noRole(roleIn(entry))) found.push(unknown(at('approval', 'approvers', i), 'role', entry));
    });
    one.approval?.notify.forEach((name, i) => {
      if (Object.hasOwn(notifiers, name)) return;
      found.push(unknown(at('approval', 'notify', i), 'notifier', name));
    });
  });
  tests.forEach((one, index) => {
    if (typeof one.rule === 'string' && !names.includes(one.rule)) {
      found.push(unknown(['tests', index, 'rule'], 'rule', one.rule));
    }
    for (const path of Object.keys(one.effective ?? {})) {
      if (fieldPath.safeParse(EFFECTIVE + path).success) continue;
      const message = 'expected a path of what a job gets, such as limits.memoryMb';
      found.push({ path: ['tests', index, 'effective', path], message });
    }
  });
  return found;
}

export type PolicyDocument = z.infer<typeof policyDocument>;
export type DocumentTest = z.infer<typeof test>;
