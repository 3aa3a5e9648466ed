/**
 * What the commands that write results share: the screen, ^C, the patience with a server, and the end of the command, by
 * itself or by what cut it.
 */

import { type Connection, ServerError } from '../client.ts';
import { Interrupted, listenForInterruption } from '../interruption.ts';
import { followResults, readResults } from './follow.ts';
import { type Output, openResultFile, openStdout } from './output.ts';
import { createPatience, GaveUp, type Patience } from './patience.ts';
import { createProgress, type Progress } from './progress.ts';
import { Refusal } from './request.ts';
import {
  EXIT_FAILED,
  EXIT_NO_VERDICT,
  EXIT_OK,
  exitCodeOf,
  failuresOf,
  showTally,
  totalOf,
} from './tally.ts';

export interface Session {
  readonly progress: Progress;
  readonly patience: Patience;
  /** Aborted by ^C. */
  readonly signal: AbortSignal;
  /** Opens where the results go. */
  openOutput(): Promise<Output>;
  /** How to go on, should the command be cut from here on. */
  onCut: () => readonly string[];
}

/** Runs a command over its session; returns its exit code. */
export async function withSession(
  target: string,
  command: (session: Session) => Promise<number>,
): Promise<number> {
  const { stderr, stdout } = process;
  // Results on the same terminal would run through the bar.
  const isBar = stderr.isTTY === true && !(target === '-' && stdout.isTTY === true);
  const progress = createProgress({ screen: stderr, isBar });
  const interrupt = listenForInterruption();
  let output: Output | undefined;
  const session: Session = {
    progress,
    patience: createPatience({ note: (line) => progress.note(`cofferdam: ${line}`) }),
    signal: interrupt.signal,
    openOutput: async () => {
      output = target === '-' ? openStdout() : await openResultFile(target);
      return output;
    },
    onCut: () => [],
  };
  try {
    return await command(session);
  } catch (error) {
    progress.stop();
    const said = error instanceof Interrupted || error instanceof ServerError;
    if (!said) throw error;
    progress.note(`cofferdam: ${error.message}`);
    if (!(error instanceof Refusal)) for (const hint of session.onCut()) progress.note(`  ${hint}`);
    if (error instanceof Interrupted) return error.exitCode;
    return error instanceof GaveUp ? EXIT_NO_VERDICT : EXIT_FAILED;
  } finally {
    progress.stop();
    interrupt.release();
    output?.close();
  }
}

/** Collects the results of a batch to its end, and sums them up. */
export async function collect(
  server: Connection,
  session: Session,
  batch: { id: string; output: Output; refused: number },
): Promise<number> {
  const { id, output, refused } = batch;
  const missing = await followResults(server, followingOf(session, batch));
  session.progress.stop();
  const tally = { ...output.tally, no_result: output.tally.no_result + missing };
  session.progress.note(`cofferdam: ${id}: ${totalOf(output.tally)} results`);
  session.progress.note(showTally(tally, refused));
  return exitCodeOf(tally, refused);
}

/** Collects the results that there are now. */
export async function collectSoFar(
  server: Connection,
  session: Session,
  batch: { id: string; output: Output },
): Promise<number> {
  await readResults(server, followingOf(session, batch));
  return EXIT_OK;
}

function followingOf(
  { progress, patience, signal }: Session,
  { id, output }: { id: string; output: Output },
) {
  let total: number | undefined;
  const onProgress = (known: number | undefined): void => {
    total = known ?? total;
    const done = totalOf(output.tally);
    progress.following({ done, total, failures: failuresOf(output.tally) });
  };
  return { id, output, patience, signal, onProgress };
}
