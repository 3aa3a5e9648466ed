import { describe, expect, it } from 'vitest';
import { createRun } from '../../bench/benchmark.ts';

describe('a run', () => {
  it('stops what it owns, last first, once, however often it is told to', async () => {
    const { run, stop } = createRun({ isQuick: true, minutes: 1 });
    const stopped: string[] = [];
    for (const part of ['redis', 'worker', 'api']) run.own(part, () => stopped.push(part));
    await Promise.all([stop(), stop()]);
    await stop();
    expect(stopped).toEqual(['api', 'worker', 'redis']);
  });

  it('goes on with the others when one part does not stop', async () => {
    const { run, stop } = createRun({ isQuick: true, minutes: 1 });
    const stopped: string[] = [];
    run.own('redis', (part) => stopped.push(part));
    run.own('worker', () => Promise.reject(new Error('it hangs, and this line is expected')));
    await stop();
    expect(stopped).toEqual(['redis']);
  });

  it('stops what starts while it stops', async () => {
    const { run, stop } = createRun({ isQuick: true, minutes: 1 });
    const stopped: string[] = [];
    run.own('first', () => {
      run.own('late', (part) => stopped.push(part));
    });
    await stop();
    await stop();
    expect(stopped).toEqual(['late']);
  });
});
