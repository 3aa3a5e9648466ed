import { describe, expect, it } from 'vitest';
import {
  isBeforeRun,
  pauseAfterLossMs,
  pauseWithoutSandboxMs,
} from '../../services/worker/hand-back.ts';
import { GuestLostError } from '../../services/worker/protocol/session.ts';
import { SandboxUnavailableError } from '../../services/worker/sandbox/sandbox.ts';

const many = (pause: () => number): number[] => Array.from({ length: 200 }, pause);

describe('a job that goes back into the queue', () => {
  it('after a loss waits long enough for an engine that stops to have taken its other sandboxes', () => {
    const pauses = many(pauseAfterLossMs);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(2_000);
  });

  it('without a sandbox waits longer each time, up to a bound', () => {
    expect(Math.max(...many(() => pauseWithoutSandboxMs(1)))).toBeLessThanOrEqual(500);
    expect(Math.min(...many(() => pauseWithoutSandboxMs(4)))).toBeGreaterThanOrEqual(2_000);
    expect(Math.max(...many(() => pauseWithoutSandboxMs(50)))).toBeLessThanOrEqual(15_000);
  });

  it('does not come back in one moment with a thousand others', () => {
    const pauses = many(pauseAfterLossMs);
    expect(Math.max(...pauses) - Math.min(...pauses)).toBeGreaterThan(500);
  });

  it('is one of which nothing has run, or one that was lost while it ran', () => {
    expect(isBeforeRun(new SandboxUnavailableError('none'))).toBe(true);
    expect(isBeforeRun(new GuestLostError('gone'))).toBe(false);
  });
});
