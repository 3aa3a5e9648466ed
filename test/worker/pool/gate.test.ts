import { describe, expect, it } from 'vitest';
import { createGate } from '../../../services/worker/pool/gate.ts';

describe('the gate to the engine', () => {
  it('lets those that a job waits for go first, then the stock, then removals', async () => {
    const gate = createGate(1);
    const order: string[] = [];
    let open: () => void = () => {};
    const first = gate.remove(
      () =>
        new Promise<void>((resolve) => {
          open = resolve;
        }),
    );
    const enter = (name: string) => async () => {
      order.push(name);
    };
    const all = [
      gate.remove(enter('removal')),
      gate.create(false, enter('stock 1')),
      gate.create(true, enter('job 1')),
      gate.create(false, enter('stock 2')),
      gate.create(true, enter('job 2')),
    ];
    open();
    await Promise.all([first, ...all]);
    expect(order).toEqual(['job 1', 'job 2', 'stock 1', 'stock 2', 'removal']);
  });

  it('gives removals every other turn once more than a few wait, so that they do not pile up', async () => {
    const gate = createGate(1);
    const order: string[] = [];
    const enter = (name: string) => async () => {
      order.push(name);
      await Promise.resolve();
    };
    const all = [gate.create(true, enter('first'))];
    for (let at = 0; at < 7; at++) all.push(gate.remove(enter('removal')));
    for (let at = 0; at < 5; at++) all.push(gate.create(true, enter('job')));
    await Promise.all(all);
    const fair = ['removal', 'job', 'removal', 'job', 'removal', 'job', 'job', 'job'];
    expect(order).toEqual(['first', ...fair, ...Array(4).fill('removal')]);
  });

  it('lets no more through at once than it was made for', async () => {
    const gate = createGate(3);
    let [now, most] = [0, 0];
    await Promise.all(
      Array.from({ length: 20 }, () =>
        gate.create(true, async () => {
          most = Math.max(most, ++now);
          await new Promise((resolve) => setTimeout(resolve, 1));
          now--;
        }),
      ),
    );
    expect(most).toBe(3);
  });

  it('hands on what came of a call, and stays open after one that failed', async () => {
    const gate = createGate(1);
    await expect(gate.create(true, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await gate.create(true, async () => 7)).toBe(7);
    await gate.onIdle();
  });
});
