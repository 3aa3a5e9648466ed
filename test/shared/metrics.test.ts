import { describe, expect, it } from 'vitest';
import { createMetrics, seconds } from '../../shared/metrics.ts';

describe('metrics', () => {
  it('all begin with the name of this program', async () => {
    const metrics = createMetrics();
    metrics.counter('a_total', 'A.', [])(1);
    const names = [...(await metrics.text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(names).toContain('cofferdam_a_total');
    expect(names.filter((name) => !name?.startsWith('cofferdam_'))).toEqual([]);
  });

  it('count, measure and read what they are told', async () => {
    const metrics = createMetrics();
    const count = metrics.counter('ends_total', 'Ends.', ['kind']);
    count(1, 'exited');
    count(2, 'exited');
    metrics.histogram('run_seconds', 'Runs.', seconds.fast)(0.02);
    let ready = 3;
    metrics.gauge('pool', 'Pool.', ['state'], (set) => set(ready, 'ready'));
    ready = 4;
    const text = await metrics.text();
    expect(text).toContain('cofferdam_ends_total{kind="exited"} 3');
    expect(text).toContain('cofferdam_run_seconds_bucket{le="0.025"} 1');
    expect(text).toContain('cofferdam_run_seconds_bucket{le="0.01"} 0');
    expect(text).toContain('cofferdam_pool{state="ready"} 4');
  });

  it('of two servers in one process are apart', async () => {
    const [one, other] = [createMetrics(), createMetrics()];
    one.counter('b_total', 'B.', [])(1);
    expect(await other.text()).not.toContain('cofferdam_b_total');
  });
});
