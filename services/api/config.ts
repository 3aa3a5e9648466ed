/** What of the settings the API uses, and the key that callers must send. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { type Settings, SettingsError } from '../../shared/config/settings.ts';

const KEY_FILE = 'key';
const MIN_KEY_LENGTH = 32;

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
  const kept = readKey(file);
  if (kept.length >= MIN_KEY_LENGTH) return { key: kept, file };
  const key = `cfd_${randomBytes(32).toString('base64url')}`;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // Whole or not at all: a crash leaves no half a key.
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, `${key}\n`, { mode: 0o600 });
  renameSync(fresh, file);
  return { key, file };
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Where a server that listens there is reached; an IPv6 address stands in brackets. */
export const serverUrl = (host: string, port: number): string =>
  `http://${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
