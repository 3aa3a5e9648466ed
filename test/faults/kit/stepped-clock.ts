/** A clock that a test sets for one process, by libfaketime: what the machine's clock says, and so much more or less. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Env } from './member.ts';

export interface SteppedClock {
  /** For the process whose clock it is. */
  readonly env: Env;
  /** From now on; the clock that only counts on goes on as ever. */
  step(aheadSeconds: number): void;
  remove(): void;
}

export function aSteppedClock(): SteppedClock {
  const library = readdirSync('/usr/lib')
    .map((folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`)
    .find((file) => existsSync(file));
  if (library === undefined) throw new Error('libfaketime is not here: scripts/setup --for-tests');
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-clock-'));
  const file = path.join(folder, 'ahead');
  const step = (aheadSeconds: number): void =>
    writeFileSync(file, `${aheadSeconds < 0 ? '' : '+'}${aheadSeconds}`);
  step(0);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1', // its name in older versions
    },
    step,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
