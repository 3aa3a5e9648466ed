/** A field of a record in Redis that holds JSON. */
import { z } from 'zod';

/** Throws when it is no JSON: we wrote it ourselves. */
export const jsonOf = <S extends z.ZodType>(schema: S) =>
  z
    .string()
    .transform((text) => JSON.parse(text) as unknown)
    .pipe(schema);
