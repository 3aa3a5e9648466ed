/** Batches of many jobs and of large results: all there, each once, and no reader costs the server its memory. */
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { batchesOf, expectEachOnce, figureOf, GROUPED, openUpload, sh } from './batch-api.ts';
import { residentBytes, watchMemory } from './process-memory.ts';
import { until } from './watching.ts';

const server = inject('server');
const batches = batchesOf(server);
const { api } = batches;
const MIB = 1024 * 1024;
const LONG_MS = 300_000;
const COUNT = 10_000;

/** A reader of all results that takes one piece and then no more, until it is told to go on or to leave. */
async function stalledReader(id: string) {
  const request = http.get(`${server.url}/v1/batches/${id}/results`, {
    headers: { Authorization: `Bearer ${server.key}` },
  });
  request.on('error', () => {}); // it leaves in the middle
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
  response.pause();
  return {
    async lines(): Promise<number> {
      let lines = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        for (const byte of chunk) if (byte === 0x0a) lines++;
      }
      return lines;
    },
    leave: () => request.destroy(),
  };
}

test(
  'ten thousand tiny jobs end with exactly ten thousand results, those of a stream that is still sent',
  async () => {
    const before = await figureOf(api, 'jobs_ended_total');
    const upload = openUpload(server, { 'Idempotency-Key': `volume-${Date.now()}` });
    await upload.write(`${JSON.stringify({ batch: { defaults: GROUPED } })}\n`);
    for (let from = 0; from < COUNT; from += 1_000) {
      const lines = Array.from({ length: 1_000 }, (_, at) => sh(`echo ${from + at}`));
      await upload.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
      if (from > 0) continue;
      await until('jobs run while the upload goes on', 30_000, async () => {
        return (await figureOf(api, 'jobs_ended_total')) > before;
      });
    }
    upload.end();
    const { status, body } = await upload.answer;
    expect(status).toBe(202);
    const { id } = JSON.parse(body) as { id: string };
    const over = await until('it is done', LONG_MS, async () => {
      const view = await batches.get(id, 5);
      return view.state === 'done' && view;
    });
    expect(over).toMatchObject({
      counts: { total: COUNT, done: COUNT },
      outcomes: { exited_zero: COUNT },
    });
    const lines = await batches.results(id);
    expectEachOnce(lines, COUNT);
    for (const { index, stdout } of lines) expect(stdout).toBe(`${index}\n`);
    expect((await figureOf(api, 'jobs_ended_total')) - before).toBe(COUNT);
  },
  LONG_MS,
);

describe('a reader of large results that stops reading', () => {
  test(
    'costs a bounded amount of memory, holds up nobody, and goes on where it was',
    async () => {
      const count = 3_000;
      const jobs = Array.from({ length: count }, () => sh('head -c 50000 /dev/zero | tr "\\0" x'));
      const defaults = { ...GROUPED, limits: { stdoutBytes: 60_000 } };
      const { id } = await batches.submit({ defaults, jobs });
      await until('it is done', LONG_MS, async () => (await batches.get(id, 5)).state === 'done');
      const before = residentBytes(server.pid);
      const memory = watchMemory(server.pid);
      const readers = await Promise.all(Array.from({ length: 8 }, () => stalledReader(id)));
      await sleep(3_000);
      expect(await api.run(sh('echo meanwhile'))).toMatchObject({ stdout: 'meanwhile\n' });
      // Eight times 150 MB lie before them.
      expect(memory.stop() - before).toBeLessThan(150 * MIB);
      const [first, ...others] = readers;
      for (const reader of others) reader.leave();
      expect(await first?.lines()).toBe(count);
    },
    LONG_MS,
  );
});
