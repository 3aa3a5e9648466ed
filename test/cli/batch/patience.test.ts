import { describe, expect, it } from 'vitest';
import { createPatience, GaveUp } from '../../../services/cli/batch/patience.ts';
import { NoAnswer, Refusal } from '../../../services/cli/batch/request.ts';

const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
const gone = new NoAnswer('http://x', new TypeError('fetch failed', { cause: refused }));
const closed = Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
const cut = new NoAnswer('http://x', new TypeError('fetch failed', { cause: closed }));
const busy = (seconds: number): Refusal =>
  new Refusal(new Response(null, { status: 429, headers: { 'retry-after': String(seconds) } }), {});

function patienceAt() {
  let clockMs = 0;
  const pauses: number[] = [];
  const notes: string[] = [];
  const patience = createPatience({
    note: (line) => notes.push(line),
    now: () => clockMs,
    wait: async (ms) => {
      pauses.push(ms);
      clockMs += ms;
    },
  });
  return { patience, pauses, notes };
}

const never = new AbortController().signal;

describe('patience', () => {
  it('is not had with a server that was never there', async () => {
    await expect(patienceAt().patience.pause(gone, never)).rejects.toBe(gone);
  });

  it('is had with one that cut a connection, and with one that is gone after it was heard of', async () => {
    const { patience, pauses } = patienceAt();
    await patience.pause(cut, never);
    await patience.pause(gone, never);
    const other = patienceAt();
    other.patience.heard();
    await other.patience.pause(gone, never);
    expect(pauses).toHaveLength(2);
    expect(other.pauses).toHaveLength(1);
  });

  it('grows its pauses to ten seconds, and ends after a quarter of an hour of silence', async () => {
    const { patience, pauses, notes } = patienceAt();
    const silence = async (): Promise<void> => {
      for (;;) await patience.pause(cut, never);
    };
    await expect(silence()).rejects.toThrow(GaveUp);
    expect(pauses[0]).toBeLessThanOrEqual(250);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(10_000);
    expect(pauses.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(15 * 60_000);
    expect(notes).toHaveLength(1);
  });

  it('begins anew once the server is heard of', async () => {
    const { patience, pauses, notes } = patienceAt();
    for (let time = 0; time < 8; time += 1) await patience.pause(cut, never);
    patience.heard();
    await patience.pause(cut, never);
    expect(pauses.at(-1)).toBeLessThanOrEqual(250);
    expect(notes).toHaveLength(2);
  });

  it('waits as long as a busy server asks, however often', async () => {
    const { patience, pauses } = patienceAt();
    for (let time = 0; time < 40; time += 1) await patience.pause(busy(30), never);
    expect(Math.min(...pauses)).toBe(30_000);
  });

  it('ends a pause with the reason of whoever stops it', async () => {
    const controller = new AbortController();
    const patience = createPatience({ note: () => {} });
    const pausing = patience.pause(busy(60), controller.signal);
    controller.abort(new Error('stopped'));
    await expect(pausing).rejects.toThrow('stopped');
  });
});
