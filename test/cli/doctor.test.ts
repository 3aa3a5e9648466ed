import { describe, expect, it } from 'vitest';
import { examine } from '../../services/cli/doctor.ts';
import { showFindings } from '../../services/cli/finding.ts';

const NO_ENGINE = { COFFERDAM_ENGINE: 'unix:///nonexistent.sock' };

describe('the findings of doctor', () => {
  it('are a line each, with how to mend what is wrong beneath it', () => {
    expect(
      showFindings([
        { what: 'node', state: 'ok', found: '20.19.0', mend: '' },
        { what: 'redis', state: 'warning', found: 'relaxed', mend: 'CONFIG SET' },
        { what: 'engine', state: 'fault', found: 'away', mend: 'start it' },
      ]),
    ).toBe(
      [
        'ok       node           20.19.0',
        'warning  redis          relaxed',
        '                         mend: CONFIG SET',
        'FAULT    engine         away',
        '                         mend: start it',
      ].join('\n'),
    );
  });

  it('go on past a fault, and each fault says how it is mended', async () => {
    const findings = await examine({ COFFERDAM_PORT: 'x', ...NO_ENGINE });
    const faults = findings.filter(({ state }) => state === 'fault').map(({ what }) => what);
    expect(faults).toContain('settings');
    for (const { state, mend } of findings) expect(mend === '').toBe(state === 'ok');
    expect(findings.map(({ what }) => what)).toEqual(
      expect.arrayContaining(['node', 'settings', 'guest', 'redis', 'engine']),
    );
  });

  it('name an engine that does not answer, beside settings that are valid', async () => {
    const findings = await examine(NO_ENGINE);
    expect(findings.find(({ what }) => what === 'settings')?.state).toBe('ok');
    expect(findings.find(({ what }) => what === 'engine')?.state).toBe('fault');
  });

  it('know this engine, its runtime and its images', async () => {
    const findings = await examine({});
    for (const what of ['engine', 'runtime runc', 'seccomp', 'cgroups', 'image base']) {
      expect(findings.find((finding) => finding.what === what)?.state).toBe('ok');
    }
  });

  it('never show the key', async () => {
    const key = `secret-${'x'.repeat(40)}`;
    const text = JSON.stringify(await examine({ COFFERDAM_DEV_KEY: key, ...NO_ENGINE }));
    expect(text).not.toContain('secret-');
  });

  it('name a Redis that does not answer', async () => {
    const findings = await examine({ COFFERDAM_REDIS_URL: 'redis://127.0.0.1:1', ...NO_ENGINE });
    const redis = findings.find(({ what }) => what === 'redis');
    expect(redis?.state).toBe('fault');
    expect(redis?.mend).toContain('COFFERDAM_REDIS_URL');
  });
});
