import { describe, expect, it } from 'vitest';
import { compareVersions, HOLES, holesOf } from '../../../services/cli/security/known-holes.ts';

const idsOf = (of: Parameters<typeof holesOf>[0], version: string): string[] =>
  holesOf(of, version).map(({ id }) => id);

describe('versions', () => {
  it.each([
    ['1.1.5+ds1', '1.1.12'],
    ['6.1.169', '6.1.170'],
    ['7.0.15', '7.2'],
    ['20.10.24+dfsg1', '29.5.1'],
  ])('%s comes before %s', (one, other) => {
    expect(compareVersions(one, other)).toBeLessThan(0);
    expect(compareVersions(other, one)).toBeGreaterThan(0);
  });

  it('are the same whatever a distribution writes behind them', () => {
    expect(compareVersions('6.18.44-fc-v657', '6.18.44')).toBe(0);
  });
});

describe('a version with a known hole', () => {
  it.each([
    ['runc', '1.1.5+ds1', ['CVE-2024-21626', 'CVE-2025-31133']],
    ['runc', '1.1.12', ['CVE-2025-31133']],
    ['runc', '1.2.7', ['CVE-2025-31133']],
    ['runc', '1.2.8', []],
    ['runc', '1.3.2', ['CVE-2025-31133']],
    ['runc', '1.3.3', []],
    ['runc', '1.4.0', []],
    ['kernel', '6.1.169-1-amd64', ['CVE-2026-31431']],
    ['kernel', '6.1.170', []],
    ['kernel', '6.11.0', ['CVE-2026-31431']],
    ['kernel', '7.1.3', []],
    ['redis', '7.0.15', ['CVE-2025-49844']],
    ['redis', '7.2.11', []],
    ['redis', '8.2.1', ['CVE-2025-49844']],
    ['redis', '8.4.0', []],
    ['engine', '28.5.2', ['CVE-2026-42306']],
    ['engine', '29.5.1', []],
  ] as const)('of %s %s is said to have %j', (of, version, expected) => {
    expect(idsOf(of, version)).toEqual(expected);
  });

  it('is told with where that is said', () => {
    for (const { id, source, mendedIn, cleanFrom } of HOLES) {
      expect(id).toMatch(/^CVE-\d{4}-\d+$/);
      expect(source).toMatch(/^https:\/\//);
      for (const [line, version] of Object.entries(mendedIn)) {
        expect(version.startsWith(`${line}.`)).toBe(true);
        expect(compareVersions(version, cleanFrom)).toBeLessThan(0);
      }
    }
  });
});
