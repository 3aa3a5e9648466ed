import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDeadline } from '../../services/worker/deadline.ts';

describe('a deadline', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it('has no cause until something ends the job', () => {
    const deadline = createDeadline();
    expect(deadline.cause).toBeUndefined();
    expect(deadline.signal.aborted).toBe(false);
  });

  it('knows the first cause and no later one', () => {
    const deadline = createDeadline();
    const heard: unknown[] = [];
    deadline.signal.addEventListener('abort', () => heard.push(deadline.cause));
    deadline.end({ kind: 'cancelled', by: 'caller' });
    deadline.end({ kind: 'draining' });
    expect(deadline.cause).toEqual({ kind: 'cancelled', by: 'caller' });
    expect(deadline.signal.reason).toEqual({ kind: 'cancelled', by: 'caller' });
    expect(heard).toEqual([{ kind: 'cancelled', by: 'caller' }]);
  });

  it('ends the job when its clock has run down, and not before', () => {
    const deadline = createDeadline();
    deadline.startClock(1000);
    vi.advanceTimersByTime(999);
    expect(deadline.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(deadline.cause).toEqual({ kind: 'unresponsive' });
  });

  it('whose clock was cleared never ends the job, and leaves no timer', () => {
    const deadline = createDeadline();
    deadline.startClock(1000);
    deadline.clear();
    vi.advanceTimersByTime(5000);
    expect(deadline.cause).toBeUndefined();
  });

  it('keeps the cause that came before its clock ran down', () => {
    const deadline = createDeadline();
    deadline.startClock(1000);
    deadline.end({ kind: 'lock_lost' });
    vi.advanceTimersByTime(5000);
    expect(deadline.cause).toEqual({ kind: 'lock_lost' });
  });
});
