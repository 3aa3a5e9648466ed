/** Several tenants of one server: the file that its settings name, and a client for each. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { callerOf } from '../test/helpers/server.ts';
import type { Run } from './benchmark.ts';
import type { Client } from './cofferdam.ts';

export interface Tenants {
  /** What tells the server of them. */
  readonly env: Readonly<Record<string, string>>;
  clientOf(name: string, url: string): Client;
}

export function createTenants(run: Run, names: readonly string[]): Tenants {
  const keys = new Map(names.map((name) => [name, randomBytes(24).toString('hex')]));
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-bench-'));
  run.own(folder, () => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'tenants.json');
  const rows = [...keys].map(([name, key]) => ({ name, keys: [key], weight: 1 }));
  writeFileSync(file, JSON.stringify(rows), { mode: 0o600 });
  return {
    env: { COFFERDAM_TENANTS: file },
    clientOf(name, url) {
      const key = keys.get(name) ?? '';
      return { url, key, api: callerOf({ url, key }) };
    },
  };
}
