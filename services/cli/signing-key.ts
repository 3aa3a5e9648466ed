/** The signing key of `serve`: made once and kept in the data folder, beside the Redis whose jobs it signs. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Settings } from '../../shared/config/settings.ts';
import type { SigningKey } from '../../shared/config/trust-settings.ts';

const KEY_FILE = 'signing-key';
const KEPT = /^([a-z0-9-]{1,32}):([\x21-\x7e]{32,512})$/;

/**
 * The operator's keys, else one of our own. With a Redis that others share there is none of our own: their jobs would
 * not be signed with it.
 */
export function withSigningKey(settings: Settings): Settings {
  if (settings.trust.signingKeys.length > 0 || settings.redisUrl !== undefined) return settings;
  const signingKeys = [keptKey(settings.dataDir)];
  return { ...settings, trust: { ...settings.trust, signingKeys } };
}

function keptKey(dataDir: string): SigningKey {
  const file = path.join(dataDir, KEY_FILE);
  const [, id, secret] = readKept(file).match(KEPT) ?? [];
  if (id !== undefined && secret !== undefined) return { id, secret };
  const key = {
    id: `own-${randomBytes(4).toString('hex')}`,
    secret: randomBytes(32).toString('base64url'),
  };
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // Whole or not at all: a crash leaves no half a key.
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, `${key.id}:${key.secret}\n`, { mode: 0o600 });
  renameSync(fresh, file);
  return key;
}

function readKept(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
