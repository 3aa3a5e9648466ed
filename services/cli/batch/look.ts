/** `cofferdam batch status` and `cofferdam batch cancel`: a batch by its counts. */
import { type BatchView, batchView } from '../../../shared/contract/batch.ts';
import type { Connection } from '../client.ts';
import { batchPath, insisting, isOver, viewOf } from './follow.ts';
import { parseAnswer, requestJson } from './request.ts';
import { withSession } from './session.ts';
import { EXIT_OK, exitCodeOf, failuresOf, showTally, tallyOf } from './tally.ts';

const WAIT_SECONDS = 10;
/** What was refused, the server does not count. */
const NONE_REFUSED = 0;

export function showView({ id, state, counts, outcomes, createdAt }: BatchView): string {
  const { total, queued, running, done } = counts;
  const head = `${id} ${state}, since ${createdAt}\n  ${done} of ${total} done, ${running} running, ${queued} queued`;
  const tally = showTally(tallyOf(outcomes), NONE_REFUSED);
  return tally === '' ? head : `${head}\n${tally}`;
}

/** With `isWaiting` until the batch is over; the exit code is then that of its outcomes. */
export const showStatus = (
  server: Connection,
  id: string,
  { isJson, isWaiting }: { isJson: boolean; isWaiting: boolean },
): Promise<number> =>
  withSession('-', async (session) => {
    const { progress, signal } = session;
    session.onCut = () => [`${id} runs on.`];
    let view = await viewOf(server, id, { signal });
    session.patience.heard();
    while (isWaiting && !isOver(view)) {
      const { done, total } = view.counts;
      progress.following({ done, total, failures: failuresOf(tallyOf(view.outcomes)) });
      view = await insisting(session, () =>
        viewOf(server, id, { signal, waitSeconds: WAIT_SECONDS }),
      );
    }
    progress.stop();
    process.stdout.write(`${isJson ? JSON.stringify(view, null, 2) : showView(view)}\n`);
    return isWaiting ? exitCodeOf(tallyOf(view.outcomes), NONE_REFUSED) : EXIT_OK;
  });

export const cancelBatch = (server: Connection, id: string): Promise<number> =>
  withSession('-', async ({ signal }) => {
    const answer = await requestJson(server, batchPath(id), { method: 'DELETE', signal });
    const view = parseAnswer(server, batchView, answer);
    const { done, total } = view.counts;
    process.stdout.write(
      isOver(view)
        ? `${id} is over: ${view.state}, ${done} of ${total} done\n`
        : `${id} is cancelled: ${done} of ${total} done, the rest ends\n`,
    );
    return EXIT_OK;
  });
