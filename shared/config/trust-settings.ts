/** The settings of who may do what: policy, signatures, callbacks, and what names this server may be called by. */
import { z } from 'zod';
import { type Setting, setting } from './setting.ts';

const SECRET = /^[\x21-\x7e]{32,512}$/;

/** `id:secret` */
export const SIGNING_KEY = /^([a-z0-9-]{1,32}):([\x21-\x7e]{32,512})$/;

/** `id:secret,id:secret`: the first signs, all are known. */
const signingKeys = z
  .string()
  .transform((text) => text.split(',').map((one) => one.trim()))
  .refine(
    (list) => list.every((one) => SIGNING_KEY.test(one)),
    'expected id:secret, several with commas between; each secret of 32 characters or more',
  )
  .transform((list) => list.map(signingKeyOf));

/** Of text that SIGNING_KEY matches. */
export function signingKeyOf(text: string): SigningKey {
  const [, id = '', secret = ''] = text.match(SIGNING_KEY) ?? [];
  return { id, secret };
}

const names = z
  .string()
  .transform((text) => text.split(',').map((one) => one.trim()))
  .refine((list) => list.every((one) => one !== ''), 'expected names with commas between');

export const TRUST_SETTINGS = {
  COFFERDAM_POLICY: setting(
    undefined,
    z.string().min(1).optional(),
    'The policy, a YAML or JSON file, read again when it changes. Without it, the default of docs/policy.md.',
  ),
  COFFERDAM_SIGNING_KEYS: setting(
    undefined,
    signingKeys.optional(),
    'Keys that API and workers share, `id:secret` with commas between: the API signs each job with the first, workers accept all. `serve` with its own Redis makes one; without any, jobs are not signed. See docs/signatures.md.',
  ),
  COFFERDAM_WEBHOOK_SECRET: setting(
    undefined,
    z.string().regex(SECRET, 'expected 32 to 512 printable characters').optional(),
    'What callbacks and notices are signed with (Standard Webhooks). Without it, they are off.',
  ),
  COFFERDAM_CALLBACK_ALLOW: setting(
    undefined,
    names.optional(),
    'Hosts, `host:port` or CIDR ranges with commas between that callbacks may go to though they are not on the public internet.',
  ),
  COFFERDAM_ALLOWED_HOSTS: setting(
    undefined,
    names.optional(),
    'Names that a request to /mcp may call this server by, besides the loopback and the address it listens on.',
  ),
  COFFERDAM_ALLOWED_ORIGINS: setting(
    undefined,
    names.optional(),
    'Web origins that may call /mcp. Without it, only requests without an Origin.',
  ),
  COFFERDAM_PUBLIC_URL: setting(
    undefined,
    z.url().optional(),
    'The address that clients reach this server at, for its metadata.',
  ),
  COFFERDAM_OAUTH_ISSUER: setting(
    undefined,
    z.url().optional(),
    'The authorization server that clients are sent to for a key (RFC 9728). Without it, no such metadata.',
  ),
} as const satisfies Record<string, Setting>;

type Parsed = {
  [Name in keyof typeof TRUST_SETTINGS]: z.output<(typeof TRUST_SETTINGS)[Name]['schema']>;
};

export interface SigningKey {
  readonly id: string;
  readonly secret: string;
}

export interface TrustSettings {
  readonly policyFile: string | undefined;
  readonly signingKeys: readonly SigningKey[];
  readonly webhookSecret: string | undefined;
  readonly callbackAllow: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly publicUrl: string | undefined;
  readonly oauthIssuer: string | undefined;
}

export const trustSettings = (is: Parsed): TrustSettings => ({
  policyFile: is.COFFERDAM_POLICY,
  signingKeys: is.COFFERDAM_SIGNING_KEYS ?? [],
  webhookSecret: is.COFFERDAM_WEBHOOK_SECRET,
  callbackAllow: is.COFFERDAM_CALLBACK_ALLOW ?? [],
  allowedHosts: is.COFFERDAM_ALLOWED_HOSTS ?? [],
  allowedOrigins: is.COFFERDAM_ALLOWED_ORIGINS ?? [],
  publicUrl: is.COFFERDAM_PUBLIC_URL,
  oauthIssuer: is.COFFERDAM_OAUTH_ISSUER,
});
