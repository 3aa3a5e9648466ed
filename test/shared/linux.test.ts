import os from 'node:os';
import { describe, expect, it } from 'vitest';
import { errnoName, signalName } from '../../shared/linux.ts';

/** Where the kernel has two names for one number. */
const ALIASES: Readonly<Record<string, string>> = {
  SIGIOT: 'SIGABRT',
  SIGPOLL: 'SIGIO',
  SIGUNUSED: 'SIGSYS',
};

describe('names of signals', () => {
  it.runIf(process.platform === 'linux')('are those of this kernel', () => {
    for (const [name, number] of Object.entries(os.constants.signals)) {
      expect([number, signalName(number)]).toEqual([number, ALIASES[name] ?? name]);
    }
  });

  it('beyond the classic ones count from SIGRTMIN, and what has no name is a number', () => {
    expect(signalName(34)).toBe('SIGRTMIN+0');
    expect(signalName(64)).toBe('SIGRTMIN+30');
    expect(signalName(32)).toBe('SIG32');
    expect(signalName(0)).toBe('SIG0');
  });
});

describe('names of errors', () => {
  it.runIf(process.platform === 'linux')('are those of this kernel', () => {
    const numbers: Readonly<Record<string, number>> = os.constants.errno;
    for (let errno = 1; errno < 134; errno++) {
      const name = errnoName(errno);
      if (name in numbers) expect([name, numbers[name]]).toEqual([name, errno]);
    }
    expect(errnoName(2)).toBe('ENOENT');
    expect(errnoName(12)).toBe('ENOMEM');
    expect(errnoName(28)).toBe('ENOSPC');
  });

  it('that are not known are numbers', () => {
    expect(errnoName(9999)).toBe('E9999');
  });
});
