/** One setting: what it means, its default, what it accepts; and the numbers that most of them are. */
import { z } from 'zod';

export interface Setting {
  readonly meaning: string;
  /** As the environment would hold it; undefined where there is none. */
  readonly fallback: string | undefined;
  readonly schema: z.ZodType;
}

export const integer = (least: number, most: number) =>
  z
    .string()
    .regex(/^-?\d{1,15}$/, `expected a whole number from ${least} to ${most}`)
    .transform(Number)
    .refine((n) => n >= least && n <= most, `expected a whole number from ${least} to ${most}`);

export const decimal = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,9}(\.\d{1,6})?$/, `expected a number from ${least} to ${most}`)
    .transform(Number)
    .refine((n) => n >= least && n <= most, `expected a number from ${least} to ${most}`);

export const setting = <S extends z.ZodType>(
  fallback: string | undefined,
  schema: S,
  meaning: string,
): { fallback: string | undefined; schema: S; meaning: string } => ({ fallback, schema, meaning });
