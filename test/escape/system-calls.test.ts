/** The filter of system calls: what it lets through against a list for each runtime, and the entries beside it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { seccompProfile } from '../../services/worker/sandbox/seccomp.ts';
import { attack, expectNothingLeft, otherThan, RUNTIME } from './attack.ts';

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
  'io_pgetevents',
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
  const profile = JSON.parse(seccompProfile('x64', RUNTIME)) as Profile;
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

/** What is open to a job here: a name in each line. What this kernel does not know is on no list of what is open. */
const GOLDEN = readFileSync(
  path.join(import.meta.dirname, `golden/${process.arch}-${RUNTIME}.txt`),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

describe('native', () => {
  test('E02 exactly the calls of the golden list are let through', async () => {
    const { open } = await openCalls();
    expect(open.filter((name) => !GOLDEN.includes(name))).toEqual([]);
    const shut = GOLDEN.filter((name) => !open.includes(name));
    expect(shut.filter((name) => !MAY_BE_REFUSED.includes(name))).toEqual([]);
  });

  test('E02 the golden list holds nothing that is not on the list in seccomp.ts', () => {
    const listed = listedCalls();
    expect(GOLDEN.length).toBeGreaterThan(150);
    expect(GOLDEN.filter((name) => !listed.has(name) && !EXEMPT.includes(name))).toEqual([]);
  });

  test.skipIf(RUNTIME === 'runsc')('E02 every call on the list is let through', async () => {
    const { known, open } = await openCalls();
    const shut = [...listedCalls()].filter((name) => known.has(name) && !open.includes(name));
    expect(shut.filter((name) => !MAY_BE_REFUSED.includes(name))).toEqual([]);
  });

  test('E04 io_uring does not exist', async () => {
    const { verdicts } = await attack('io-uring.c');
    // From a profile gVisor takes no other error than EPERM.
    const refused = RUNTIME === 'runc' ? 'ENOSYS' : 'EPERM';
    expect(verdicts).toEqual({ setup: refused, enter: refused, register: refused });
  });

  test('E02 a job installs no filter of its own, by no way', async () => {
    const { verdicts } = await attack('more-filters.c');
    expect(verdicts).toEqual({ seccomp: 'EPERM', prctl: 'EPERM', 'prctl-high-bits': 'EPERM' });
  });

  test('E11 personality answers and resets, and changes nothing', async () => {
    const { verdicts } = await attack('personality.c');
    const { query, default: reset, ...others } = verdicts;
    const answer = RUNTIME === 'runc' ? 'OK' : 'EINVAL'; // gVisor has none
    expect({ query, reset }).toEqual({ query: answer, reset: answer });
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
    if (RUNTIME === 'runsc') {
      // Its kernel takes an interrupt for a call of its own, by the 64-bit number: 20 is writev, 102 getuid.
      const { 'int80-getpid': writev, 'int80-socketcall': getuid, ...others } = foreign;
      expect({ writev, getuid }).toEqual({ writev: 'EBADF', getuid: 'OK' });
      expect(otherThan(others, 'SIGSYS', 'ENOSYS', 'EPERM')).toEqual([]);
      return;
    }
    expect(otherThan(foreign, 'SIGSYS', 'ENOSYS')).toEqual([]);
  });
});

expectNothingLeft();
