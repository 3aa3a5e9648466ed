/** Servers with several tenants: a file of them, each with a key made for the occasion. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Caller, callerOf, type ServerProcess, startServer } from './server.ts';

export interface TenantBounds {
  readonly weight?: number;
  readonly maxOpenJobs?: number;
  readonly maxRunningJobs?: number;
}

/** A server of these tenants; `keys` and `callers` by their names. Its file goes with it. */
export async function startTenantServer<Name extends string>(
  tenants: Readonly<Record<Name, TenantBounds>>,
  env: Readonly<Record<string, string>> = {},
) {
  const { file, keys, remove } = writeTenants(tenants);
  const server = await startServer({ ...env, COFFERDAM_TENANTS: file });
  const callers = Object.fromEntries(
    Object.entries<string>(keys).map(([name, key]) => [name, callerOf({ url: server.url, key })]),
  ) as Record<Name, Caller>;
  const stop: ServerProcess['stop'] = async (signal) => {
    remove();
    return server.stop(signal);
  };
  return { ...server, keys, callers, stop };
}

export function writeTenants<Name extends string>(tenants: Readonly<Record<Name, TenantBounds>>) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-tenants-'));
  const file = path.join(folder, 'tenants.json');
  const names = Object.keys(tenants) as Name[];
  const keys = Object.fromEntries(
    names.map((name) => [name, randomBytes(24).toString('hex')]),
  ) as Record<Name, string>;
  const rows = names.map((name) => ({ name, keys: [keys[name]], ...tenants[name] }));
  writeFileSync(file, JSON.stringify(rows));
  return { file, keys, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
