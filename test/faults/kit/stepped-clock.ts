/** A wall clock that jumps when a test says so, for one process that is started with this environment. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packageRoot } from '../../../shared/images.ts';

export interface SteppedClock {
  readonly env: Readonly<Record<string, string>>;
  /** From now on the clock is off by so many seconds. */
  step(seconds: number): void;
  remove(): void;
}

export function makeSteppedClock(): SteppedClock {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-stepped-clock-'));
  const [library, file] = [path.join(folder, 'clock.so'), path.join(folder, 'step')];
  const source = path.join(packageRoot, 'test/fixtures/stepped-clock.c');
  execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-o', library, source]);
  const step = (seconds: number): void => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    // In place: the process has this very file mapped.
    writeFileSync(file, bytes, { flag: 'r+' });
  };
  writeFileSync(file, Buffer.alloc(8));
  return {
    env: { LD_PRELOAD: library, STEPPED_CLOCK: file },
    step,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
