import { describe, expect, it } from 'vitest';
import { canBecome, changeableLimits } from '../../../services/worker/sandbox/create-body.ts';
import { isProvenBy, isRuntime } from '../../../services/worker/sandbox/runtimes.ts';
import type { Shape } from '../../../services/worker/sandbox/sandbox.ts';
import { seccompProfile } from '../../../services/worker/sandbox/seccomp.ts';

const shape = (over: Partial<Shape> = {}): Shape => ({
  image: 'base',
  runtime: 'runsc',
  memoryMb: 256,
  cpus: 1,
  processes: 64,
  workspaceMb: 64,
  ...over,
});

describe('gVisor', () => {
  it.each([
    '4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016 seccomp 2',
    '4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016 seccomp 2',
  ])('is known by %s', (seen) => {
    expect(isProvenBy('runsc', { seen, engines: '6.1.0' })).toBe(true);
    expect(isProvenBy('runc', { seen, engines: '6.1.0' })).toBe(false);
  });

  it('has room for the host’s side of each process', () => {
    const facts = { cores: 4 };
    expect(changeableLimits(shape(), facts).PidsLimit).toBeGreaterThanOrEqual(9 * 64 + 50);
    expect(changeableLimits(shape({ runtime: 'runc' }), facts).PidsLimit).toBe(80);
  });

  it('is never put under other limits while it runs', () => {
    expect(canBecome(shape(), shape({ cpus: 2 }), { maxProcesses: 512 })).toBe(false);
  });

  it('lets its own kernel answer clone3, since it takes no errno from a profile', () => {
    type Rules = { syscalls: { names: string[]; action: string }[] };
    const ruleOf = (runtime: 'runc' | 'runsc') =>
      (JSON.parse(seccompProfile('x64', runtime)) as Rules).syscalls.find(({ names }) =>
        names.includes('clone3'),
      )?.action;
    expect([ruleOf('runc'), ruleOf('runsc')]).toEqual(['SCMP_ACT_ERRNO', 'SCMP_ACT_ALLOW']);
  });
});

describe('runtimes', () => {
  it('of an engine that are none of ours are passed over', () => {
    expect(['runc', 'io.containerd.runc.v2', 'runsc', 'kata'].filter(isRuntime)).toEqual([
      'runc',
      'runsc',
    ]);
  });
});
