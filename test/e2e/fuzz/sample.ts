/** A value that a JSON schema takes, or nearly: what is malformed afterwards has to come past the first check. */
import type { Random } from './random.ts';

export interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly minimum?: number;
}

/** What a field of this name takes, where its schema says less than its check. */
export type Examples = Readonly<Record<string, unknown>>;

/** Nothing here waits or runs for long, and what is not started at once is not started at all. */
export const EXAMPLES: Examples = {
  command: ['true'],
  script: 'true',
  path: 'a/b',
  content: 'eA==',
  cwd: 'a',
  image: 'base',
  group: 'g',
  url: 'https://127.0.0.1/hook',
  collect: ['out/*'],
  expiresInMs: 1,
  timeoutMs: 1000,
  waitMs: 0,
  wait: '0',
  limit: '10',
  prefer: 'wait=0',
  cursor: '1.0',
  after: '2026-01-01T00:00:00Z',
  label: 'a=b',
  grep: 'a+',
  uri: 'cofferdam://info',
  protocolVersion: '2025-11-25',
};

/** Few: each may be one that the check behind the schema refuses. */
const OPTIONAL_PART = 0.1;

export function sample(schema: Schema, random: Random, examples: Examples, name = ''): unknown {
  if (name in examples && random.chance(0.95)) return examples[name];
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return random.pick(schema.enum);
  const parts = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (parts !== undefined) return sample(random.pick(parts), random, examples, name);
  const type = Array.isArray(schema.type) ? random.pick(schema.type) : schema.type;
  switch (type) {
    case 'object':
      return sampleObject(schema, random, examples);
    case 'array':
      return Array.from({ length: (schema.minItems ?? 0) + random.below(3) }, () =>
        sample(schema.items ?? {}, random, examples, name.replace(/s$/, '')),
      );
    case 'integer':
    case 'number':
      return (schema.minimum ?? 1) + random.below(3);
    case 'boolean':
      return random.chance(0.5);
    case 'null':
      return null;
    default:
      return `x${random.below(100)}`;
  }
}

function sampleObject(schema: Schema, random: Random, examples: Examples): unknown {
  const { properties = {}, required = [], additionalProperties: others } = schema;
  const isProgram = 'command' in properties && 'script' in properties;
  const program = isProgram ? random.pick(['command', 'command', 'script', 'steps']) : '';
  const entries = Object.entries(properties)
    .filter(([name]) =>
      isProgram && ['command', 'script', 'steps'].includes(name)
        ? name === program
        : required.includes(name) || name === 'expiresInMs' || random.chance(OPTIONAL_PART),
    )
    .map(([name, one]) => [name, sample(one, random, examples, name)] as const);
  const more =
    typeof others === 'object' ? [[`k${random.below(9)}`, sample(others, random, examples)]] : [];
  return Object.fromEntries([...entries, ...more]);
}
