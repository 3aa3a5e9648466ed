/**
 * The tenants of a server: their keys, their share and what each may have at once. The tenant `default` is the one of
 * the server's own key (COFFERDAM_DEV_KEY, or the generated one).
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { tenantName } from '../contract/tenant.ts';

export const DEFAULT_TENANT = 'default';

const bound = z.int().positive();

const tenantEntry = z.strictObject({
  name: tenantName,
  keys: z
    .array(z.string().regex(/^[\x21-\x7e]{32,512}$/, 'expected 32 to 512 printable characters'))
    .default([]),
  weight: z.number().min(0.01).max(100).default(1),
  maxOpenJobs: bound.optional(),
  maxRunningJobs: bound.optional(),
});

export interface Tenant {
  readonly name: string;
  readonly keys: readonly string[];
  /** Its share of a busy queue, beside others of weight 1. */
  readonly weight: number;
  readonly maxOpenJobs: number;
  readonly maxRunningJobs: number | null;
}

export type Tenants = ReadonlyMap<string, Tenant>;

/** Reads the file; throws an Error that names it and everything wrong in it. */
export function readTenants(file: string | undefined, maxOpenJobs: number): Tenants {
  const listed = file === undefined ? [] : parse(file);
  const names = listed.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw unusable(file, `it names the tenant ${twice} twice`);
  const keys = listed.flatMap((tenant) => tenant.keys);
  if (new Set(keys).size < keys.length) throw unusable(file, 'the same key stands there twice');
  const all = names.includes(DEFAULT_TENANT)
    ? listed
    : [tenantEntry.parse({ name: DEFAULT_TENANT }), ...listed];
  return new Map(
    all.map((tenant) => [
      tenant.name,
      {
        ...tenant,
        maxOpenJobs: tenant.maxOpenJobs ?? maxOpenJobs,
        maxRunningJobs: tenant.maxRunningJobs ?? null,
      },
    ]),
  );
}

const unusable = (file: string | undefined, why: string, cause?: unknown): Error =>
  new Error(`COFFERDAM_TENANTS: the file ${file} is not usable: ${why}.`, { cause });

function parse(file: string): z.output<typeof tenantEntry>[] {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw unusable(file, (cause as Error).message, cause);
  }
  const parsed = z.array(tenantEntry).safeParse(content);
  if (!parsed.success) throw unusable(file, `\n${z.prettifyError(parsed.error)}\n`);
  return parsed.data;
}
