/** What holds for every fault: clients send all the time, something fails, and afterwards nothing of it is to be seen. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { type Client, nonceJob } from './client.ts';
import { keepBusy } from './load.ts';
import type { Api } from './member.ts';
import type { Trial } from './trial.ts';
import type { Verdict } from './verdict.ts';

const CLIENTS = 4;
const ENDED_BEFORE = 4;
const RUNS_WITHIN_MS = 30_000;

export interface ThroughFault {
  readonly apis: readonly Api[];
  /** Sandboxes that are kept ready, at most. */
  readonly stock: number;
  /** What each job does; short by default. */
  readonly program?: string;
  readonly maxStarts?: number;
}

export interface Held {
  readonly verdict: Verdict;
  /** From the end of the fault until a job that was sent then had ended. */
  readonly backMs: number;
}

/** `strike` returns when the fault is over. Throws unless every promise held. */
export async function throughFault(
  trial: Trial,
  { apis, stock, program = 'sleep 0.2', maxStarts }: ThroughFault,
  strike: (client: Client) => Promise<unknown>,
): Promise<Held> {
  const client = trial.clientOf(apis);
  const before = await trial.takeCensus();
  const known = await Promise.all(
    Array.from({ length: ENDED_BEFORE }, async () => {
      const [job, idempotencyKey] = [nonceJob(), randomUUID()];
      return { job, idempotencyKey, id: await client.submitSurely(job, { idempotencyKey }) };
    }),
  );
  const load = keepBusy(CLIENTS, (waitSeconds) =>
    client.submitSurely(nonceJob(program), { waitSeconds }),
  );
  await until('jobs run', RUNS_WITHIN_MS, () => trial.programs.starts().size >= CLIENTS);
  trial.history.fault('begins');
  await strike(client);
  trial.history.fault('is over');
  const backMs = await untilServed(client);
  await load.stop();
  for (const { job, idempotencyKey, id } of known) {
    expect(await client.submitSurely(job, { idempotencyKey })).toBe(id);
  }
  const { verdict } = await trial.judge([client], maxStarts === undefined ? {} : { maxStarts });
  expect(verdict.counts.terminal).toBe(verdict.counts.accepted);
  await trial.expectNothingLeaked(before, { stock });
  return { verdict, backMs };
}

/** How long it takes until a job that is sent now has ended. */
export async function untilServed(client: Client): Promise<number> {
  const sinceMs = Date.now();
  const id = await client.submitSurely(nonceJob(), { waitSeconds: 4 });
  await until('a job that is sent now ends', 60_000, async () => {
    return (await client.get(id, 4))?.state === 'done';
  });
  return Date.now() - sinceMs;
}

export const heldLine = ({ verdict, backMs }: Held): string => {
  const { accepted, unknown, failed, secondStarts } = verdict.counts;
  const outcomes = Object.entries(verdict.outcomes).map(([kind, count]) => `${count} ${kind}`);
  return `${accepted} jobs accepted: ${outcomes.join(', ')}; ${secondStarts} second starts; ${unknown} calls without an answer, ${failed} refused; served again after ${backMs} ms`;
};
