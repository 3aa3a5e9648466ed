import os from 'node:os';
import { describe, expect, it } from 'vitest';
import { LIMITS, type LimitName, limitVariable } from '../../../shared/config/limits.ts';
import {
  LIMIT_SETTINGS,
  parseSettings,
  SETTINGS,
  SettingsError,
} from '../../../shared/config/settings.ts';

const KEY = 'k'.repeat(40);

/** The lines of the error that this environment makes; empty when it makes none. */
function faultsOf(env: Record<string, string>): string[] {
  try {
    parseSettings(env);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(SettingsError);
    return (error as Error).message.split('\n').slice(1);
  }
}

describe('settings', () => {
  it('have a default for everything that an empty environment leaves open', () => {
    const settings = parseSettings({});
    expect(settings).toMatchObject({
      host: '127.0.0.1',
      port: 7070,
      dataDir: './.cofferdam',
      devKey: undefined,
      redisUrl: undefined,
      logLevel: 'info',
      imagesFile: undefined,
      defaultImage: 'base',
      slots: os.availableParallelism(),
      poolReady: os.availableParallelism(),
    });
    for (const name of Object.keys(LIMITS) as LimitName[]) {
      expect(settings.limits[name]).toEqual({
        default: LIMITS[name].fallback,
        ceiling: LIMITS[name].ceiling,
      });
    }
  });

  it('are the same for an empty variable as for none, as Compose writes them', () => {
    const empty = Object.fromEntries(
      [...Object.keys(SETTINGS), ...Object.keys(LIMIT_SETTINGS)].map((name) => [name, '']),
    );
    expect(parseSettings(empty)).toEqual(parseSettings({}));
  });

  it('keep as many sandboxes ready as there are slots, unless told otherwise', () => {
    expect(parseSettings({ COFFERDAM_SLOTS: '7' }).poolReady).toBe(7);
    expect(parseSettings({ COFFERDAM_SLOTS: '7', COFFERDAM_POOL_READY: '0' }).poolReady).toBe(0);
  });

  it('never keep more sandboxes ready at least than at most', () => {
    const env = { COFFERDAM_POOL_READY: '4', COFFERDAM_POOL_MAX_READY: '3' };
    expect(() => parseSettings(env)).toThrow(
      'COFFERDAM_POOL_READY: expected at most COFFERDAM_POOL_MAX_READY (3); came 4',
    );
    expect(parseSettings({ COFFERDAM_SLOTS: '7', COFFERDAM_POOL_MAX_READY: '3' }).poolReady).toBe(
      3,
    );
  });

  it('cannot be changed by whoever reads them', () => {
    const settings = parseSettings({});
    expect(Object.isFrozen(settings)).toBe(true);
    expect(Object.isFrozen(settings.limits)).toBe(true);
  });

  it('leave variables of others alone', () => {
    expect(faultsOf({ PATH: '/bin', NOT_COFFERDAM_X: '1', COFFERDAM_URL: 'http://x' })).toEqual([]);
  });

  it('have defaults that they accept themselves', () => {
    for (const [name, { fallback, schema }] of Object.entries({ ...SETTINGS, ...LIMIT_SETTINGS })) {
      expect([name, schema.safeParse(fallback).success]).toEqual([name, true]);
    }
  });
});

describe('a fault in the settings', () => {
  it('is listed with all others at once: the name, what was expected and what came', () => {
    const faults = faultsOf({
      COFFERDAM_PORT: '70700',
      COFFERDAM_LOG_LEVEL: 'loud',
      COFFERDAM_SLOTZ: '2',
      COFFERDAM_ENGINE: 'docker.sock',
      COFFERDAM_MAX_CPUS: 'two',
      COFFERDAM_DEFAULT_MEMORY_MB: '4096',
    });
    expect(faults).toHaveLength(6);
    for (const [name, came] of [
      ['COFFERDAM_PORT', '"70700"'],
      ['COFFERDAM_LOG_LEVEL', '"loud"'],
      ['COFFERDAM_ENGINE', '"docker.sock"'],
      ['COFFERDAM_MAX_CPUS', '"two"'],
      ['COFFERDAM_DEFAULT_MEMORY_MB', '4096'],
    ] as const) {
      const line = faults.find((fault) => fault.trim().startsWith(`${name}:`));
      expect(line).toMatch(/expected/i);
      expect(line).toContain(`came ${came}`);
    }
    expect(faults.join()).toContain('COFFERDAM_SLOTZ: there is no such setting');
  });

  it.each([
    [
      'COFFERDAM_PORT',
      ['-1', '65536', '1.5', '1e3', ' 1', '0x10', 'NaN', 'Infinity', '9'.repeat(16)],
    ],
    ['COFFERDAM_SLOTS', ['0', '-1', '1025']],
    ['COFFERDAM_POOL_READY', ['-1', 'x']],
    ['COFFERDAM_MAX_CPUS', ['0', '0.001', '-1', '1e1', '1.1234567']],
    ['COFFERDAM_DRAIN_MS', ['600001']],
    ['COFFERDAM_REDIS_URL', ['localhost:6379', 'http://localhost', 'redis//x', '/tmp/redis.sock']],
    ['COFFERDAM_ENGINE', ['unix://relative', 'http://x', 'tcp://']],
    ['COFFERDAM_DEV_KEY', ['short', `${'a'.repeat(40)} b`, 'a'.repeat(513), 'é'.repeat(40)]],
    ['COFFERDAM_LOG_LEVEL', ['INFO', 'trace']],
  ])('is what %s does not accept', (name, values) => {
    for (const value of values) {
      const faults = faultsOf({ [name]: value });
      expect([value, faults.length]).toEqual([value, 1]);
      expect(faults[0]).toContain(`${name}: `);
    }
  });

  it('is a default above its own ceiling, for every limit that has one', () => {
    for (const [name, limit] of Object.entries(LIMITS) as [
      LimitName,
      (typeof LIMITS)[LimitName],
    ][]) {
      if (limit.fallback === undefined) continue;
      const faults = faultsOf({
        [limitVariable('MAX', name)]: String(limit.least),
        [limitVariable('DEFAULT', name)]: String(limit.most),
      });
      expect(faults).toEqual([
        `  ${limitVariable('DEFAULT', name)}: expected at most ${limitVariable('MAX', name)} (${limit.least}); came ${limit.most}`,
      ]);
    }
  });

  it('is a limit outside of its range on either side', () => {
    for (const [name, limit] of Object.entries(LIMITS) as [
      LimitName,
      (typeof LIMITS)[LimitName],
    ][]) {
      for (const value of ['0', '-1', String(limit.most + 1)]) {
        const faults = faultsOf({ [limitVariable('MAX', name)]: value });
        expect(faults.some((fault) => fault.includes(limitVariable('MAX', name)))).toBe(true);
      }
    }
  });

  it('never shows a key, not even one that is refused', () => {
    for (const key of ['tooshort-secret', `${KEY} secret`]) {
      expect(faultsOf({ COFFERDAM_DEV_KEY: key }).join()).not.toContain('secret');
    }
    expect(faultsOf({ COFFERDAM_DEV_KEY: KEY, COFFERDAM_PORT: 'x' }).join()).not.toContain(KEY);
  });

  it('never shows the password of a Redis', () => {
    const faults = faultsOf({ COFFERDAM_REDIS_URL: 'http://user:s3cret@redis:6379' });
    expect(faults).toHaveLength(1);
    expect(faults.join()).not.toContain('s3cret');
  });
});

describe('the variable of a limit', () => {
  it('is its name in capitals, with an underscore before each capital', () => {
    expect(limitVariable('MAX', 'timeoutMs')).toBe('COFFERDAM_MAX_TIMEOUT_MS');
    expect(limitVariable('DEFAULT', 'cpus')).toBe('COFFERDAM_DEFAULT_CPUS');
    expect(limitVariable('DEFAULT', 'stdoutBytes')).toBe('COFFERDAM_DEFAULT_STDOUT_BYTES');
  });

  it('exists as a ceiling for every limit, and as a default where there is one', () => {
    for (const [name, limit] of Object.entries(LIMITS) as [
      LimitName,
      (typeof LIMITS)[LimitName],
    ][]) {
      expect(LIMIT_SETTINGS).toHaveProperty([limitVariable('MAX', name)]);
      const hasDefault = limitVariable('DEFAULT', name) in LIMIT_SETTINGS;
      expect([name, hasDefault]).toEqual([name, limit.fallback !== undefined]);
    }
    expect(Object.keys(LIMIT_SETTINGS).filter((name) => name in SETTINGS)).toEqual([]);
  });
});
