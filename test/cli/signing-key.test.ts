import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withSigningKey } from '../../services/cli/signing-key.ts';
import { parseSettings } from '../../shared/config/settings.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-key-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const keysOf = (env: Record<string, string> = {}) =>
  withSigningKey(parseSettings({ COFFERDAM_DATA_DIR: path.join(folder, 'data'), ...env })).trust
    .signingKeys;
const kept = (): string => path.join(folder, 'data', 'signing-key');

describe('the signing key of serve', () => {
  it('is made once, kept for nobody else to read, and found again', () => {
    const [key] = keysOf();
    expect(key?.secret.length).toBeGreaterThanOrEqual(32);
    expect(keysOf()).toEqual([key]);
    expect(statSync(kept()).mode & 0o777).toBe(0o600);
    expect(readdirSync(path.dirname(kept()))).toEqual(['signing-key']);
    expect(
      parseSettings({ COFFERDAM_SIGNING_KEYS: readFileSync(kept(), 'utf8').trim() }).trust
        .signingKeys,
    ).toEqual([key]);
  });

  it('is made again where half of one is left', () => {
    const [first] = keysOf();
    writeFileSync(kept(), 'own-1:short');
    const [second] = keysOf();
    expect(second?.secret.length).toBeGreaterThanOrEqual(32);
    expect(second).not.toEqual(first);
  });

  it('is the operator’s where there is one', () => {
    const given = { id: 'a', secret: 's'.repeat(32) };
    expect(keysOf({ COFFERDAM_SIGNING_KEYS: `a:${given.secret}` })).toEqual([given]);
  });

  it('is not made for a Redis that others share', () => {
    expect(keysOf({ COFFERDAM_REDIS_URL: 'redis://127.0.0.1:6379' })).toEqual([]);
  });
});
