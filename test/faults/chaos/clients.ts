/** Who sends work while chaos reigns: single jobs, batches, cancels, and the same call several times at once. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, type NonceJob, nonceJob } from '../kit/client.ts';
import { keepBusy, type Load } from '../kit/load.ts';
import type { Random } from './random.ts';

const SINGLES = 4;
const REPEATERS = 1;
const BATCHERS = 3;
const MOST_IN_A_BATCH = 150;
const LONGEST_JOB_S = { single: 0.4, inBatch: 0.15 };
/** As a caller with patience, but not for ever. */
const BATCH_WAITED_FOR_S = 30;
/** Results must outlast a run, and what comes after it. */
const RETAIN_MS = 6 * 3_600_000;

export function startClients(client: Client, random: Random): Load {
  const job = (of: Random, longest = LONGEST_JOB_S.single): NonceJob =>
    nonceJob(`sleep ${of.between(0, longest).toFixed(2)}`, {
      retainMs: RETAIN_MS,
      onLost: of.chance(0.2) ? 'fail' : 'retry',
    });

  const single = async (of: Random, waitSeconds: number): Promise<void> => {
    const isCancelled = of.chance(0.1);
    const id = await client.submitSurely(job(of), isCancelled ? {} : { waitSeconds });
    if (isCancelled) {
      await sleep(of.between(0, 400));
      await client.cancel(id);
    }
    if (of.chance(0.3)) await client.get(id, of.whole(0, 2));
  };

  /** As a caller whose retries overtake each other, through different APIs. */
  const repeated = async (of: Random): Promise<void> => {
    const same = job(of);
    const idempotencyKey = `chaos-${randomUUID()}`;
    const again = Array.from({ length: of.whole(1, 3) }, () =>
      client.submit(same, { idempotencyKey }),
    );
    await Promise.all(again);
    await client.submitSurely(same, { idempotencyKey, waitSeconds: 1 });
  };

  const batch = async (of: Random): Promise<void> => {
    const jobs = Array.from({ length: of.whole(2, MOST_IN_A_BATCH) }, () =>
      job(of, LONGEST_JOB_S.inBatch),
    );
    const isolation = of.chance(0.6) ? 'group' : 'job';
    const id = await client.submitBatchSurely(jobs, { isolation });
    if (of.chance(0.15)) {
      await sleep(of.between(0, 1_500));
      await client.cancelBatch(id);
    }
    await client.waitForBatch(id, BATCH_WAITED_FOR_S);
  };

  const loads = [
    ...Array.from({ length: SINGLES }, () => ({ act: single, of: random.branch() })),
    ...Array.from({ length: REPEATERS }, () => ({ act: repeated, of: random.branch() })),
    ...Array.from({ length: BATCHERS }, () => ({ act: batch, of: random.branch() })),
  ].map(({ act, of }) => keepBusy(1, (waitSeconds) => act(of, waitSeconds)));
  return {
    async stop() {
      await Promise.all(loads.map((load) => load.stop()));
    },
  };
}
