/** A schema that depends on what came: faults are then those of the form that was meant, not of every other one. */
import { z } from 'zod';

export const choose = <T>(pick: (came: unknown) => z.ZodType<T>) =>
  z.unknown().transform((came, context): T => {
    const parsed = pick(came).safeParse(came);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) {
      context.issues.push({ ...issue, input: came } as z.core.$ZodRawIssue);
    }
    return z.NEVER;
  });

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One, or a list of them → a list. */
export const oneOrMany = <T>(one: z.ZodType<T>, most: number) =>
  choose<T[]>((came) =>
    Array.isArray(came) ? z.array(one).min(1).max(most) : one.transform((item) => [item]),
  );
