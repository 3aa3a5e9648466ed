import os from 'node:os';
import { describe, expect, it } from 'vitest';
import { resolve } from '../../services/api/policy/resolve.ts';
import { workerConfig } from '../../services/worker/config.ts';
import { REUSE } from '../../services/worker/pool/groups.ts';
import { shapeKey, shapeOf } from '../../services/worker/sandbox/sandbox.ts';
import { parseSettings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';

/** The shape of a job that asks for nothing, as the API decides it. */
const shapeOfPlainJob = (env: Record<string, string>): string => {
  const { limits, defaultImage, runtimes } = parseSettings(env);
  const rules = { limits, defaultImage, runtimes, catalogue: readCatalogue(undefined) };
  return shapeKey(shapeOf(resolve({ command: ['true'] }, rules).spec));
};

describe('the shape that a worker keeps ready from its start', () => {
  it.each<Record<string, string>>([
    {},
    { COFFERDAM_DEFAULT_MEMORY_MB: '64' },
    { COFFERDAM_DEFAULT_MEMORY_MB: '1024', COFFERDAM_DEFAULT_WORKSPACE_MB: '900' },
    { COFFERDAM_DEFAULT_CPUS: '0.5', COFFERDAM_DEFAULT_PROCESSES: '7' },
    { COFFERDAM_DEFAULT_IMAGE: 'python' },
  ])('is that of a job which asks for nothing: %o', (env) => {
    expect(shapeKey(workerConfig(parseSettings(env)).firstShape)).toBe(shapeOfPlainJob(env));
  });
});

describe('the times of a worker', () => {
  it('let a sandbox live longer than the longest job, and an idle one longer than the pool keeps it', () => {
    const settings = parseSettings({});
    const config = workerConfig(settings);
    // The last job of a group may begin when its sandbox is about to be too old for another.
    expect(config.maxLifeMs).toBeGreaterThan(REUSE.ageMs + settings.limits.timeoutMs.ceiling);
    expect(config.idleSeconds * 1000).toBeGreaterThan(settings.poolMaxAgeMs);
  });
});

describe('the stock of a worker', () => {
  it.each<[Record<string, string>, number, number]>([
    [{ COFFERDAM_SLOTS: '3' }, 3, 12],
    [{ COFFERDAM_SLOTS: '3', COFFERDAM_POOL_READY: '0' }, 0, 12],
    [{ COFFERDAM_SLOTS: '3', COFFERDAM_POOL_READY: '20' }, 20, 20],
    [{ COFFERDAM_SLOTS: '3', COFFERDAM_POOL_MAX_READY: '2' }, 2, 2],
    [{ COFFERDAM_SLOTS: '3', COFFERDAM_POOL_READY: '0', COFFERDAM_POOL_MAX_READY: '0' }, 0, 0],
  ])('of %o has its bounds', (env, least, most) => {
    const config = workerConfig(parseSettings(env));
    expect([config.poolReady, config.poolMaxReady]).toEqual([least, most]);
  });

  it('is never larger by default than what the host has memory for', () => {
    const { poolMaxReady } = workerConfig(
      parseSettings({ COFFERDAM_SLOTS: '1024', COFFERDAM_POOL_READY: '1' }),
    );
    expect(poolMaxReady * 15 * 1024 * 1024).toBeLessThanOrEqual(os.totalmem() / 10);
  });
});
