/**
 * Versions with holes that are known and that the code of a job could use: of each line of releases the first without
 * them, and where that is said. A line that is not in the table ended before the hole was mended, or begins after it.
 *
 * Looked up in November 2026. Distributions mend holes without changing the number: what is below a bound is a question
 * to the package's changelog, and a finding says so.
 */

export interface Hole {
  readonly of: 'engine' | 'runc' | 'kernel' | 'redis';
  readonly id: string;
  readonly what: string;
  /** `major.minor` → the first release of that line without the hole. */
  readonly mendedIn: Readonly<Record<string, string>>;
  /** The first release after which no line has it. */
  readonly cleanFrom: string;
  readonly source: string;
}

export const HOLES: readonly Hole[] = [
  {
    of: 'runc',
    id: 'CVE-2024-21626',
    what: 'a crafted working folder leads to the host',
    mendedIn: { '1.1': '1.1.12' },
    cleanFrom: '1.2.0',
    source: 'https://github.com/opencontainers/runc/security/advisories/GHSA-xr7r-f8xq-vfvv',
  },
  {
    of: 'runc',
    id: 'CVE-2025-31133',
    what: 'masked paths can be turned into a way out',
    mendedIn: { '1.2': '1.2.8', '1.3': '1.3.3' },
    cleanFrom: '1.4.0',
    source: 'https://github.com/opencontainers/runc/security/advisories/GHSA-9493-h29p-rfm2',
  },
  {
    of: 'engine',
    id: 'CVE-2026-42306',
    what: 'copying into a container can write to the host (Cofferdam never asks for it)',
    mendedIn: {},
    cleanFrom: '29.5.1',
    source: 'https://github.com/moby/moby/security/advisories/GHSA-rg2x-37c3-w2rh',
  },
  {
    of: 'kernel',
    id: 'CVE-2026-31431',
    what: 'AF_ALG writes to the page cache of files that are only read (the profile of sandboxes refuses AF_ALG)',
    mendedIn: {
      '5.10': '5.10.254',
      '5.15': '5.15.204',
      '6.1': '6.1.170',
      '6.6': '6.6.137',
      '6.12': '6.12.85',
      '6.18': '6.18.22',
      '6.19': '6.19.12',
    },
    cleanFrom: '7.0.0',
    source: 'https://www.cve.org/CVERecord?id=CVE-2026-31431',
  },
  {
    of: 'redis',
    id: 'CVE-2025-49844',
    what: 'a script of an authenticated client can execute code in Redis',
    mendedIn: {
      '6.2': '6.2.20',
      '7.2': '7.2.11',
      '7.4': '7.4.6',
      '8.0': '8.0.4',
      '8.2': '8.2.2',
    },
    cleanFrom: '8.4.0',
    source: 'https://github.com/redis/redis/security/advisories/GHSA-4789-qfc9-5f9q',
  },
];

const numbersOf = (version: string): number[] =>
  (version.match(/\d+(\.\d+)*/)?.[0] ?? '').split('.').map(Number);

/** Below 0 where `one` comes before `other`. What follows the numbers, such as `+deb12u1`, counts for nothing. */
export function compareVersions(one: string, other: string): number {
  const [a, b] = [numbersOf(one), numbersOf(other)];
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The holes that a program of this version has, going by its number alone. */
export const holesOf = (program: Hole['of'], version: string): readonly Hole[] =>
  HOLES.filter((hole) => {
    if (hole.of !== program || compareVersions(version, hole.cleanFrom) >= 0) return false;
    const mended = hole.mendedIn[numbersOf(version).slice(0, 2).join('.')];
    return mended === undefined || compareVersions(version, mended) < 0;
  });
