import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ReceivedEvent, readEvents } from '../../services/cli/sse.ts';

async function read(text: string, cuts: readonly number[] = []): Promise<ReceivedEvent[]> {
  const bytes = Buffer.from(text);
  const edges = [0, ...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b)];
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (const [index, from] of edges.entries()) yield bytes.subarray(from, edges[index + 1]);
  }
  const events: ReceivedEvent[] = [];
  for await (const event of readEvents(chunks())) events.push(event);
  return events;
}

describe('events out of bytes', () => {
  const TEXT = [
    'retry: 1000\n\n',
    'event: output\nid: 1.0.2.0\ndata: {"text":"é: 🙂"}\n\n',
    ': nothing new\n\n',
    'event: result\r\nid: 1.0.2.0\r\ndata: one\r\ndata:two\r\n\r\n',
    'event: cut\ndata: off',
  ].join('');
  const EVENTS = [
    { event: 'output', id: '1.0.2.0', data: '{"text":"é: 🙂"}' },
    { event: 'result', id: '1.0.2.0', data: 'one\ntwo' },
  ];

  it('are the same however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(500), { maxLength: 12 }), async (cuts) => {
        expect(await read(TEXT, cuts)).toEqual(EVENTS);
      }),
    );
  });

  it('keep the last id, and begin their name anew', async () => {
    expect(await read('id: 7\nevent: a\ndata: x\n\ndata: y\n\n')).toEqual([
      { event: 'a', id: '7', data: 'x' },
      { event: 'message', id: '7', data: 'y' },
    ]);
  });

  it('of many megabytes in one line are one', async () => {
    const data = 'x'.repeat(8 * 1024 * 1024);
    const cuts = Array.from({ length: 200 }, (_, at) => at * 40_000);
    const [event] = await read(`data: ${data}\n\n`, cuts);
    expect(event?.data === data).toBe(true);
  });
});
