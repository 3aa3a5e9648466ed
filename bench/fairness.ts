/**
 * Two tenants in one lane. One queues 50,000 short jobs; the other sends a single one now and then. How long the single
 * one waits for its start, beside how long it waits with the server idle. With every slot busy it cannot start before
 * one of them is free: the floor is how long a job of the first tenant holds its slot, taken from the rate at which
 * those end. Once with jobs that share sandboxes, once with a sandbox for each.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchOptions } from '../shared/contract/batch.ts';
import { cancelBatch, submitBatch, untilRunning, viewBatch } from './batches.ts';
import type { Benchmark } from './benchmark.ts';
import { type Client, serve, untilPoolFull } from './cofferdam.ts';
import { atMost, type Row } from './report.ts';
import { createTenants } from './tenants.ts';
import { percentile, TIME_COLUMNS, timeRow } from './times.ts';

const SLOTS = 2;
const PAUSE_MS = 300;

export const fairness: Benchmark = {
  shows: 'a tenant’s single job while another tenant has 50,000 jobs in the same lane',
  limitMinutes: 8,
  async measure(run) {
    const [flood, rounds] = run.isQuick ? [5_000, 20] : [50_000, 100];
    const tenants = createTenants(run, ['many', 'few']);
    const server = await serve(run, { ...tenants.env, COFFERDAM_SLOTS: String(SLOTS) });
    const many = tenants.clientOf('many', server.url);
    const few = tenants.clientOf('few', server.url);
    const idle = await waitsOf(few, rounds);
    const rows: Row[] = [timeRow('idle', idle)];
    const targets = [];
    for (const isolation of ['group', 'job'] as const) {
      await untilPoolFull(server.api);
      const defaults: BatchOptions['defaults'] = { command: ['true'], isolation };
      const busy = await besideFlood(many, { defaults }, flood, () => waitsOf(few, rounds));
      const floor = Math.max(percentile(idle, 95), busy.turnMs);
      const title =
        isolation === 'group' ? 'its jobs share sandboxes' : 'a sandbox for each of its jobs';
      rows.push(
        timeRow(
          `beside ${flood}: ${title}`,
          busy.waits,
          `a turn of a slot: ${busy.turnMs.toFixed(0)} ms`,
        ),
      );
      targets.push(
        atMost(
          `${title}: p95 over the later of idle p95 and one turn`,
          percentile(busy.waits, 95) / floor,
          2,
          ' ×',
        ),
      );
    }
    return {
      tables: [{ title: 'waited for its start', columns: TIME_COLUMNS, rows }],
      targets,
      notes: [
        `${SLOTS} slots; lane bulk; ${rounds} single jobs each, ${PAUSE_MS} ms apart; queuedMs as the results tell it.`,
        'A turn: slots divided by the rate at which the other tenant’s jobs ended meanwhile.',
      ],
    };
  },
};

/** queuedMs of single jobs, one after another. */
async function waitsOf({ api }: Client, rounds: number): Promise<number[]> {
  const waits: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { timing } = await api.run({ command: ['true'], lane: 'bulk' });
    waits.push(timing.queuedMs);
    await sleep(PAUSE_MS);
  }
  return waits;
}

async function besideFlood(
  many: Client,
  options: BatchOptions,
  count: number,
  measure: () => Promise<number[]>,
): Promise<{ waits: number[]; turnMs: number }> {
  const { id } = await submitBatch(many, options, count, () => ({}));
  await untilRunning(many, id);
  const before = { done: (await viewBatch(many, id)).counts.done, at: performance.now() };
  const waits = await measure();
  const { counts } = await viewBatch(many, id);
  const tookMs = performance.now() - before.at;
  if (counts.queued === 0)
    throw new Error(`The ${count} jobs of the other tenant were not enough.`);
  await cancelBatch(many, id);
  return { waits, turnMs: (SLOTS * tookMs) / (counts.done - before.done) };
}
