import { describe, expect, it } from 'vitest';
import { createLifecycle } from '../../shared/lifecycle.ts';
import { createLog } from '../../shared/log.ts';

const newLifecycle = () => createLifecycle({ drainMs: 1000, log: createLog('silent') });

describe('a lifecycle', () => {
  it('hands back the part that it is told to own', () => {
    const part = { a: 1 };
    expect(newLifecycle().own('part', part, () => {})).toBe(part);
  });

  it('stops its parts last in, first out, one after another', async () => {
    const lifecycle = newLifecycle();
    const order: string[] = [];
    for (const name of ['first', 'second', 'third']) {
      lifecycle.own(name, name, async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        order.push(`${name} ends`);
      });
    }
    await lifecycle.stop();
    expect(order).toEqual(
      ['third', 'second', 'first'].flatMap((name) => [`${name} begins`, `${name} ends`]),
    );
  });

  it('goes on when a part does not stop cleanly', async () => {
    const lifecycle = newLifecycle();
    const stopped: string[] = [];
    lifecycle.own('first', null, () => stopped.push('first'));
    lifecycle.own('rejects', null, () => Promise.reject(new Error('no')));
    lifecycle.own('second', null, () => stopped.push('second'));
    lifecycle.own('throws', null, () => {
      throw new Error('no');
    });
    await lifecycle.stop();
    expect(stopped).toEqual(['second', 'first']);
  });

  it('stops once, however often and by however many it is asked', async () => {
    const lifecycle = newLifecycle();
    let stops = 0;
    lifecycle.own('part', null, async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      stops++;
    });
    const both = [lifecycle.stop(), lifecycle.stop()];
    expect(both[0]).toBe(both[1]);
    await Promise.all(both);
    await lifecycle.stop();
    expect(stops).toBe(1);
  });

  it('stops a part that starts while the others are stopping', async () => {
    const lifecycle = newLifecycle();
    const stopped: string[] = [];
    lifecycle.own('slow', null, async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      stopped.push('slow');
    });
    const stopping = lifecycle.stop();
    lifecycle.own('late', null, () => stopped.push('late'));
    await stopping;
    expect(stopped).toEqual(['slow', 'late']);
  });

  it('stops a part that starts when everything else has stopped, rather than leaving it behind', async () => {
    const lifecycle = newLifecycle();
    await lifecycle.stop();
    let isStopped = false;
    lifecycle.own('too late', null, () => {
      isStopped = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isStopped).toBe(true);
  });
});
