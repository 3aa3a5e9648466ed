/** What of the settings the API uses, and the key that callers must send. */
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import path from 'node:path';
import { type Settings, SettingsError } from '../../shared/config/settings.ts';
import { keptSecret } from '../../shared/kept-secret.ts';

const KEY_FILE = 'key';
/** No shorter than the operator's own has to be. */
const KEPT = /^.{32,}$/;

/** Where a generated key is kept: the command line finds it there too. */
export const keyFile = (dataDir: string): string => path.join(dataDir, KEY_FILE);

export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  if (net.isIPv4(host)) return host.startsWith('127.');
  return host === '::1';
}

export interface ApiKey {
  readonly key: string;
  /** The file it was kept in, when it is a generated one. */
  readonly file: string | undefined;
}

/**
 * The operator's key, else one that is made once and kept in the data folder. A generated key is for this machine:
 * on any other address the API does not start without one that the operator chose.
 */
export function resolveKey({ devKey, host, dataDir }: Settings): ApiKey {
  if (devKey !== undefined) return { key: devKey, file: undefined };
  if (!isLoopback(host)) {
    throw new SettingsError([
      `COFFERDAM_DEV_KEY: expected a key, because COFFERDAM_HOST (${host}) can be reached from other machines; came none`,
    ]);
  }
  const file = keyFile(dataDir);
  const make = (): string => `cfd_${randomBytes(32).toString('base64url')}`;
  return { key: keptSecret(file, KEPT, make), file };
}

/** Where a server that listens there is reached; an IPv6 address stands in brackets. */
export const serverUrl = (host: string, port: number): string =>
  `http://${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
