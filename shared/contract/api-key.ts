/** API keys as administrators see them: asked for, made (the only time that a key itself is shown), listed, revoked. */
import { z } from 'zod';
import { SCOPES } from './policy.ts';
import { tenantName } from './tenant.ts';

/** What the server calls its own callers and roles; a key by such a name could pass for them in a policy. */
const TAKEN = /^(server$|tenant:|role:)/;

const keyName = z
  .string()
  .regex(
    /^[\x21-\x7e]{1,128}$/,
    'expected 1 to 128 printable characters without spaces, such as user:ann@example.com',
  )
  .refine(
    (name) => !TAKEN.test(name),
    'expected a name other than server, tenant:… and role:…, which stand for the server’s own',
  )
  .describe('Whom the key is for; rules of a policy name callers by it.');

const tenant = tenantName.describe('Whose jobs, batches and blobs it reaches.');
const scopes = z.array(z.enum(SCOPES));

export const newApiKey = z.strictObject({
  tenant,
  name: keyName,
  scopes: scopes.min(1, 'expected one scope or more').describe('All that it may do.'),
  expiresAt: z.iso
    .datetime('expected a time such as 2030-01-31T12:00:00Z')
    .nullable()
    .default(null)
    .describe('From when on it is refused; without it, never.'),
});

export type NewApiKey = z.output<typeof newApiKey>;

const time = z.iso.datetime();

export const apiKeyView = z.strictObject({
  id: z.string(),
  tenant,
  name: z.string(),
  scopes,
  createdAt: time,
  expiresAt: time.nullable(),
  revokedAt: time.nullable(),
  lastUsedAt: time.nullable().describe('Half a minute behind at most.'),
});

export type ApiKeyView = z.infer<typeof apiKeyView>;

export const madeApiKey = apiKeyView.extend({
  key: z.string().describe('The key itself. It is shown this once and kept nowhere.'),
});

export type MadeApiKey = z.infer<typeof madeApiKey>;

export const apiKeyList = z.strictObject({
  keys: z.array(apiKeyView).describe('The newest first; revoked and expired ones for 30 days.'),
});
