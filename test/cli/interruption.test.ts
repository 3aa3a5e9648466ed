import { describe, expect, it } from 'vitest';
import { listenForInterruption } from '../../services/cli/interruption.ts';

describe('an interruption', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s ends what is under way, with exit code %i', (name, exitCode) => {
    const interruption = listenForInterruption();
    expect(interruption.exitCode()).toBeUndefined();
    process.emit(name, name);
    expect(interruption.signal.aborted).toBe(true);
    expect(interruption.exitCode()).toBe(exitCode);
    // The next one does to the process what it does to any.
    expect(process.listenerCount(name)).toBe(0);
  });

  it('is not listened for any more once it is released', () => {
    const before = process.listenerCount('SIGINT');
    listenForInterruption().release();
    expect(process.listenerCount('SIGINT')).toBe(before);
  });
});
