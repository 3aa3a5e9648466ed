/** Tenants as administrators see them: a name, a share of a busy queue, and what it may have at once. */
import { z } from 'zod';
import { positiveInt } from './units.ts';

export const tenantName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9-]{0,62}$/,
    'expected 1 to 63 lower-case letters, digits and dashes, the first no dash',
  );

const bound = positiveInt.nullable().default(null);

/** What is set of a tenant; null stands for what the server's settings say. */
export const tenantSettings = z.strictObject({
  weight: z
    .number()
    .min(0.01)
    .max(100)
    .default(1)
    .describe('Its share of a busy queue, beside others of weight 1.'),
  maxOpenJobs: bound.describe(
    'Jobs waiting or running, at most; null: COFFERDAM_MAX_TENANT_OPEN_JOBS.',
  ),
  maxRunningJobs: bound.describe('Jobs running at once, at most; null: no bound.'),
  maxBlobBytes: bound.describe(
    'Bytes of all its blobs together, at most; null: COFFERDAM_BLOB_QUOTA_BYTES.',
  ),
});

export type TenantSettings = z.output<typeof tenantSettings>;

export const tenantView = tenantSettings.extend({
  name: tenantName,
  isFixed: z
    .boolean()
    .describe('Whether it stands in the file COFFERDAM_TENANTS, or is the server’s own.'),
});

export type TenantView = z.infer<typeof tenantView>;

export const tenantList = z.strictObject({ tenants: z.array(tenantView) });
