/**
 * A job is signed when it is accepted, and the signature is verified before it runs: whoever can write to Redis but has
 * no signing key can neither make up a job nor change one. An HMAC-SHA256 over the id of the job, its tenant, what runs
 * and until when it may start; another version of this list is another version of the signature.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { SigningKey } from '../config/trust-settings.ts';

const VERSION = 'cofferdam-job-1';

export interface SignedJob {
  readonly id: string;
  readonly tenant: string;
  /** As it stands in the record, byte by byte. */
  readonly spec: string;
  readonly expiresAtMs: number;
}

export type Sign = (job: SignedJob) => string;

/** The first key signs: `<key id>:<base64url>`, or '' where there is no key. */
export function createSigner([key]: readonly SigningKey[]): Sign {
  if (key === undefined) return () => '';
  return (job) => encode(key, digestOf(job, key));
}

/** Why a signature does not hold. */
export type Flaw = 'unsigned' | 'unknown_key' | 'wrong';
export type Verify = (job: SignedJob, signature: string | undefined) => Flaw | undefined;

/** Any of the keys may have signed. Without keys nothing is verified. */
export function createVerifier(keys: readonly SigningKey[]): Verify {
  if (keys.length === 0) return () => undefined;
  return (job, signature = '') => flawOf(signature, keys, (key) => digestOf(job, key));
}

/** The list as JSON, so that no part can run into the next; the spec behind it as it is, for it may be large. */
const digestOf = ({ id, tenant, spec, expiresAtMs }: SignedJob, key: SigningKey): Buffer =>
  createHmac('sha256', key.secret)
    .update(`${JSON.stringify([VERSION, key.id, id, tenant, expiresAtMs])}\n`)
    .update(spec)
    .digest();

/** Vouches for the head of an audit chain, in the same way. */
export interface Seal {
  of(chain: string, seq: number, hash: string): string;
  /** `none`: it was not sealed with any of these keys. */
  check(head: ChainHead, seal: string): 'good' | 'wrong' | 'none';
}

interface ChainHead {
  readonly chain: string;
  readonly seq: number;
  readonly hash: string;
}

const SEAL_VERSION = 'cofferdam-audit-1';

export function createSeal(keys: readonly SigningKey[]): Seal {
  const digest = ({ chain, seq, hash }: ChainHead, key: SigningKey): Buffer =>
    createHmac('sha256', key.secret)
      .update(JSON.stringify([SEAL_VERSION, key.id, chain, seq, hash]))
      .digest();
  const [first] = keys;
  return {
    of: (chain, seq, hash) =>
      first === undefined ? '' : encode(first, digest({ chain, seq, hash }, first)),
    check(head, seal) {
      const flaw = flawOf(seal, keys, (key) => digest(head, key));
      if (flaw === undefined) return 'good';
      return flaw === 'wrong' ? 'wrong' : 'none';
    },
  };
}

const encode = ({ id }: SigningKey, digest: Buffer): string =>
  `${id}:${digest.toString('base64url')}`;

function flawOf(
  signature: string,
  keys: readonly SigningKey[],
  digestBy: (key: SigningKey) => Buffer,
): Flaw | undefined {
  if (signature === '') return 'unsigned';
  const [id, given = ''] = signature.split(':');
  const key = keys.find((one) => one.id === id);
  if (key === undefined) return 'unknown_key';
  const digest = digestBy(key);
  const bytes = Buffer.from(given, 'base64url');
  return bytes.length === digest.length && timingSafeEqual(bytes, digest) ? undefined : 'wrong';
}
