import { describe, expect, it } from 'vitest';
import { examineSecurity } from '../../../services/cli/security/examine-security.ts';

describe('the look at what holds hostile jobs', () => {
  it('goes over engine, kernel and Redis, and says of each that is not right how to mend it', async () => {
    const findings = await examineSecurity({});
    const names = findings.map(({ what }) => what);
    expect(names).toEqual(
      expect.arrayContaining([
        'engine version',
        'runc version',
        'kernel version',
        'userns-remap',
        'engine socket',
        'swap',
        'redis way',
      ]),
    );
    for (const { state, mend } of findings) expect(mend === '').toBe(state === 'ok');
  });

  it('goes on where the engine or Redis does not answer', async () => {
    const findings = await examineSecurity({
      COFFERDAM_ENGINE: 'unix:///nonexistent.sock',
      COFFERDAM_REDIS_URL: 'redis://127.0.0.1:1',
    });
    const faults = findings.filter(({ state }) => state === 'fault').map(({ what }) => what);
    expect(faults).toEqual(['engine', 'redis']);
  });
});
