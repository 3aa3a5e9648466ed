/** What a rule holds a job to (`constrain`): ceilings, defaults, and lists of what may be named. */
import { z } from 'zod';
import { LIMITS, type LimitName } from '../../../shared/config/limits.ts';
import { globSource } from './pattern.ts';

/** Counts that have no setting of their own. */
const COUNTS = { files: 0, steps: 1, artifacts: 0, batchSize: 1 } as const;

const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[];

const limitValue = (name: LimitName) => {
  const { least } = LIMITS[name];
  const number = 'fractional' in LIMITS[name] ? z.number() : z.int();
  return number.min(least, `expected at least ${least}`).optional();
};

type LimitShape = { [Name in LimitName]: ReturnType<typeof limitValue> };
const limitShape = Object.fromEntries(
  LIMIT_NAMES.map((name) => [name, limitValue(name)]),
) as LimitShape;

type CountShape = { [Name in keyof typeof COUNTS]: z.ZodOptional<z.ZodInt> };
const countShape = Object.fromEntries(
  Object.entries(COUNTS).map(([name, least]) => [name, z.int().min(least).optional()]),
) as CountShape;

export const constrain = z.strictObject({
  max: z.strictObject({ ...limitShape, ...countShape }).prefault({}),
  defaults: z
    .strictObject({ ...limitShape, image: z.string().min(1).max(64).optional() })
    .prefault({}),
  /** What may be named; without a list, everything. */
  images: z.array(globSource).min(1).max(256).optional(),
  runtimes: z.array(globSource).min(1).max(16).optional(),
  env: z.array(globSource).max(256).optional(),
  isolation: z
    .array(z.enum(['job', 'group']))
    .min(1)
    .optional(),
  onExceed: z.enum(['clamp', 'deny']).default('deny'),
});

export type Constraints = z.infer<typeof constrain>;
