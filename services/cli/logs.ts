/** `cofferdam logs`: what a job wrote, of all its steps; with --follow until its end, exiting as `exec` would have. */
import type { Connection } from './client.ts';
import { exitCodeFor, explain } from './exec.ts';
import { followJob } from './follow.ts';
import { createPrinter } from './printer.ts';

/** Without --follow: a job that is silent for so long has written what there is so far. */
const SILENT_MS = 1_000;
const AWAITED =
  "cofferdam: the job waits for somebody's approval; `cofferdam approvals list` names it\n";

export async function runLogs(
  server: Connection,
  id: string,
  { follow }: { follow: boolean },
): Promise<number> {
  const printer = createPrinter();
  const enough = new AbortController();
  const silence = follow ? undefined : setTimeout(() => enough.abort(), SILENT_MS);
  try {
    const result = await followJob(server, id, {
      signal: enough.signal,
      sink: {
        ...printer,
        state(event) {
          printer.state(event);
          if (event.state === 'awaiting_approval') process.stderr.write(AWAITED);
        },
        async output(stream, bytes) {
          silence?.refresh();
          await printer.output(stream, bytes);
        },
      },
    });
    if (!follow) return 0;
    const why = explain(result.outcome);
    if (why !== undefined) process.stderr.write(`cofferdam: ${why}\n`);
    return exitCodeFor(result);
  } catch (error) {
    if (!enough.signal.aborted) throw error;
    return 0;
  } finally {
    clearTimeout(silence);
  }
}
