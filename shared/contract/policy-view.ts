/** `/v1/policy`: the document in force, and where it came from. */
import { z } from 'zod';

export const policyView = z.strictObject({
  revision: z.string().describe('Of what the document says, however it is spelt; the ETag.'),
  name: z.string(),
  mode: z.enum(['enforce', 'shadow', 'off']),
  source: z
    .enum(['default', 'file', 'put'])
    .describe('default: nobody wrote one; else what came last.'),
  since: z.iso.datetime(),
  by: z.string().nullable().describe('The file, or the caller who put it.'),
  problems: z.array(z.string()).describe('Why this is not the newest that was written.'),
  document: z.unknown().describe('In our own form, whatever form it was written in.'),
});

export type PolicyView = z.infer<typeof policyView>;
