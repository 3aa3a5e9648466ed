/** The signing key of `serve`: made once and kept in the data folder, beside the Redis whose jobs it signs. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Settings } from '../../shared/config/settings.ts';
import { SIGNING_KEY, signingKeyOf } from '../../shared/config/trust-settings.ts';
import { keptSecret } from '../../shared/kept-secret.ts';

const KEY_FILE = 'signing-key';

/**
 * The operator's keys, else one of our own. With a Redis that others share there is none of our own: their jobs would
 * not be signed with it.
 */
export function withSigningKey(settings: Settings): Settings {
  if (settings.trust.signingKeys.length > 0 || settings.redisUrl !== undefined) return settings;
  const file = path.join(settings.dataDir, KEY_FILE);
  const signingKeys = [signingKeyOf(keptSecret(file, SIGNING_KEY, makeKey))];
  return { ...settings, trust: { ...settings.trust, signingKeys } };
}

const makeKey = (): string =>
  `own-${randomBytes(4).toString('hex')}:${randomBytes(32).toString('base64url')}`;
