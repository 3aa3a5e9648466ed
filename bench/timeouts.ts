/**
 * Honest timeouts. Sixty jobs of half a second of processor time arrive at once, each with three seconds to run. Two
 * cores need fifteen seconds for them: a server that starts all at once, or counts the wait as the job's own time, ends
 * most of them falsely. None may time out: each needs a sixth of its limit.
 */
import type { Benchmark } from './benchmark.ts';
import { serve } from './cofferdam.ts';
import { inParallel } from './load.ts';
import { atMost } from './report.ts';
import { TIME_COLUMNS, timeRow } from './times.ts';

const JOBS = 60;
const TIMEOUT_MS = 3_000;
const BURN = 'import time\nwhile time.process_time() < 0.5: pass\n';

export const timeouts: Benchmark = {
  shows: 'jobs of half a second sent at once: how many time out though they need not',
  limitMinutes: 4,
  async measure(run) {
    const { api } = await serve(run);
    const results = await inParallel(JOBS, JOBS, async () => {
      const job = await api.submit({ image: 'python', script: BURN, timeoutMs: TIMEOUT_MS });
      let result = await api.get(job.id, 60);
      while (result.state !== 'done') result = await api.get(job.id, 60);
      return result;
    });
    const falsely = results.filter(({ outcome }) => outcome?.kind === 'timed_out');
    const ended = results.filter(({ exitCode }) => exitCode === 0);
    return {
      tables: [
        {
          title: `${JOBS} jobs at once`,
          columns: TIME_COLUMNS,
          rows: [
            timeRow(
              'waited for a slot',
              results.map(({ timing }) => timing.queuedMs ?? Number.NaN),
            ),
            timeRow(
              'sandbox and layout',
              results.map(({ timing }) => timing.setupMs ?? Number.NaN),
            ),
            timeRow(
              'ran',
              results.map(({ timing }) => timing.runMs ?? Number.NaN),
              'half a second of processor',
            ),
          ],
        },
      ],
      targets: [
        atMost('false timeouts', falsely.length, 0),
        atMost('jobs that did not exit with 0', JOBS - ended.length, 0),
      ],
      notes: [
        `Default settings; timeoutMs ${TIMEOUT_MS}; no warm-up: the image had no sandbox ready.`,
      ],
    };
  },
};
