/** The filter of system calls: what it lets through against the list in seccomp.ts, and the entries beside it. */
import { describe, expect, test } from 'vitest';
import { seccompProfile } from '../../services/worker/sandbox/seccomp.ts';
import { attack, expectNothingLeft, otherThan } from './attack.ts';

/** Names of numbers that are younger than the headers in the image. */
const YOUNG_CALLS: Readonly<Record<number, string>> = {
  335: 'uretprobe',
  336: 'uprobe',
  451: 'cachestat',
  452: 'fchmodat2',
  453: 'map_shadow_stack',
  454: 'futex_wake',
  455: 'futex_wait',
  456: 'futex_requeue',
  457: 'statmount',
  458: 'listmount',
  462: 'mseal',
};

/** The kernel itself exempts it from every filter; outside a probe's trampoline it ends the process. */
const EXEMPT = ['uprobe'];

/** Listed with conditions (socketpair, prctl); or listed, but a sandbox without capabilities is refused, or this kernel, machine or engine may not know it. */
const MAY_BE_REFUSED = [
  'clock_getres',
  'fchmodat2',
  'futex_requeue',
  'futex_wait',
  'futex_wake',
  'map_shadow_stack',
  'mlock',
  'mseal',
  'prctl',
  'socketpair',
  'pkey_alloc',
  'pkey_free',
  'restart_syscall',
  'setgroups',
  'setsid',
  'socket',
  'uretprobe',
];

interface Profile {
  readonly syscalls: readonly { names: string[]; action: string }[];
}

function listedCalls(): Set<string> {
  const profile = JSON.parse(seccompProfile('x64')) as Profile;
  const allowed = profile.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW');
  return new Set(allowed.flatMap(({ names }) => names));
}

async function openCalls(): Promise<{ known: Set<string>; open: string[] }> {
  const [{ verdicts: names }, { lines, result }] = [
    await attack('call-names.sh'),
    await attack('system-calls.c'),
  ];
  expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
  const nameOf = (number: string) =>
    names[number] ?? YOUNG_CALLS[Number(number)] ?? `number ${number}`;
  return {
    known: new Set([...Object.values(names), ...Object.values(YOUNG_CALLS)]),
    open: lines.map(nameOf),
  };
}

describe('native', () => {
  test('E02 no system call is let through that is not on the list', async () => {
    const listed = listedCalls();
    const { open } = await openCalls();
    expect(open.length).toBeGreaterThan(200);
    expect(open.filter((name) => !listed.has(name) && !EXEMPT.includes(name))).toEqual([]);
  });

  test('E02 every call on the list is let through', async () => {
    const { known, open } = await openCalls();
    const shut = [...listedCalls()].filter((name) => known.has(name) && !open.includes(name));
    expect(shut.filter((name) => !MAY_BE_REFUSED.includes(name))).toEqual([]);
  });

  test('E04 io_uring does not exist', async () => {
    const { verdicts } = await attack('io-uring.c');
    expect(verdicts).toEqual({ setup: 'ENOSYS', enter: 'ENOSYS', register: 'ENOSYS' });
  });

  test('E02 a job installs no filter of its own, by no way', async () => {
    const { verdicts } = await attack('more-filters.c');
    expect(verdicts).toEqual({ seccomp: 'EPERM', prctl: 'EPERM', 'prctl-high-bits': 'EPERM' });
  });

  test('E11 personality answers and resets, and changes nothing', async () => {
    const { verdicts } = await attack('personality.c');
    const { query, default: reset, ...others } = verdicts;
    expect({ query, reset }).toEqual({ query: 'OK', reset: 'OK' });
    expect(Object.keys(others)).toHaveLength(6);
    expect(otherThan(others, 'EPERM')).toEqual([]);
  });
});

describe('foreign', () => {
  test('E03 a 32-bit or x32 entry ends the process', async () => {
    const { verdicts } = await attack('other-entries.c');
    const { 'native-getpid': native, negative, ...foreign } = verdicts;
    expect(native).toBe('OK');
    expect(negative).toMatch(/^(EPERM|ENOSYS|SIGSYS)$/);
    expect(Object.keys(foreign)).toHaveLength(8);
    expect(otherThan(foreign, 'SIGSYS', 'ENOSYS')).toEqual([]);
  });
});

expectNothingLeft();
