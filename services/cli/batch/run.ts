/**
 * `cofferdam batch run`: uploads a file of jobs and follows their results into a file. Whatever cuts it, the same command
 * goes on: the upload is repeated under its key until it was accepted, the results are continued after the last whole line.
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { type Connection, ServerError } from '../client.ts';
import { batchPath } from './follow.ts';
import { type BatchHeader, type BatchInput, digestOf, openInput } from './input.ts';
import { type Keeper, keeperOf } from './keeper.ts';
import { Refusal, requestJson } from './request.ts';
import { collect, type Session, withSession } from './session.ts';
import { type RunState, stateFileOf } from './state.ts';
import { uploadBatch } from './upload.ts';

export interface RunOptions {
  /** A file, or `-` for standard output. */
  readonly output: string;
  /** Options of the batch: the first line of its upload. */
  readonly header: BatchHeader;
  readonly key?: string;
}

export async function runBatch(
  server: Connection,
  file: string,
  options: RunOptions,
): Promise<number> {
  refuseOwnInput(file, options.output);
  const input = openInput(file, options.header);
  try {
    return await withSession(options.output, async (session) => {
      const keeper = await claimFor(server, input, options);
      const output = await session.openOutput();
      keeper.save(keeper.state);
      session.onCut = () => hintsFor(input, options, keeper.state);
      const { batch, refused } = await accepted(server, { input, options, keeper, session });
      session.onCut = () => hintsFor(input, options, { ...keeper.state, batch });
      return await collect(server, session, { id: batch, output, refused }).catch((error) => {
        throw isGone(error)
          ? new ServerError(gone(batch, options.output), { cause: error })
          : error;
      });
    });
  } finally {
    input.close();
  }
}

const isGone = (error: unknown): boolean => error instanceof Refusal && error.code === 'NOT_FOUND';

const gone = (batch: string, output: string): string => {
  const said = `${batch} is no longer on this server.`;
  if (output === '-') return said;
  return `${said} To start anew: choose another --output, or remove ${output} and ${stateFileOf(output)}.`;
};

function refuseOwnInput(file: string, output: string): void {
  if (file === '-' || output === '-' || path.resolve(file) !== path.resolve(output)) return;
  throw new ServerError(`--output: expected another file than the input; came ${output} for both`);
}

/** The state of an earlier run of the same upload, else a new one. */
async function claimFor(
  server: Connection,
  input: BatchInput,
  { output, key }: RunOptions,
): Promise<Keeper> {
  const uploadDigest = input.isRepeatable && output !== '-' ? await digestOf(input) : null;
  // A key makes an upload resumable, and what cannot be repeated must not wait for that.
  const idempotencyKey = key ?? (input.isRepeatable ? randomUUID() : null);
  const fresh = { url: server.url, uploadDigest, idempotencyKey, batch: null, refused: 0 };
  return keeperOf(output, fresh, (before) => {
    if (before.uploadDigest === null || before.uploadDigest !== uploadDigest)
      return `of another input than ${input.name}, or of other options`;
    if (key !== undefined && before.idempotencyKey !== key)
      return `of another --key, ${before.idempotencyKey}`;
    return undefined;
  });
}

async function accepted(
  server: Connection,
  run: { input: BatchInput; options: RunOptions; keeper: Keeper; session: Session },
): Promise<{ batch: string; refused: number }> {
  const { input, options, keeper, session } = run;
  const { state } = keeper;
  if (state.batch !== null) {
    session.progress.note(`cofferdam: going on with ${state.batch}`);
    return { batch: state.batch, refused: state.refused };
  }
  try {
    const answer = await uploadBatch(server, {
      input,
      idempotencyKey: state.idempotencyKey,
      patience: session.patience,
      signal: session.signal,
      onSent: (bytes) => session.progress.uploading(bytes, input.bytes),
    });
    session.progress.note(`cofferdam: ${answer.id}: ${answer.counts.total} jobs accepted`);
    for (const { line, code, detail } of answer.errors)
      session.progress.note(`${placed(input, line, `${code}: ${detail}`)} (left out)`);
    const outcome = { batch: answer.id, refused: answer.skipped };
    keeper.save({ ...state, ...outcome });
    return outcome;
  } catch (error) {
    if (!(error instanceof Refusal) || error.isAtTheDoor) throw error;
    // What came before the refused line may be running already. A key of the caller's own is continued by the caller.
    if (error.batch !== undefined && options.key === undefined)
      await cancelQuietly(server, error.batch, session.signal);
    keeper.remove();
    session.onCut = () => [];
    if (error.code === 'BATCH_CLOSED' && options.key === undefined)
      throw new ServerError(`${error.message} The same command again begins anew.`);
    if (error.line === undefined) throw error;
    throw new ServerError(placed(input, error.line, error.message), { cause: error });
  }
}

/** What is said of a line of the upload, said of the line of the input that it is. */
function placed(input: BatchInput, line: number, text: string): string {
  return `${input.name}:${input.ownLine(line)}: ${text.replace(`: line ${line}: `, ': ')}`;
}

/** The refusal is what is told; that its batch could not be cancelled as well helps nobody. */
const cancelQuietly = (server: Connection, id: string, signal: AbortSignal): Promise<unknown> =>
  requestJson(server, batchPath(id), { method: 'DELETE', signal }).catch(() => {});

/** What to do after a run was cut. */
function hintsFor(
  { isRepeatable }: BatchInput,
  { output, key }: RunOptions,
  { batch, idempotencyKey }: RunState,
): string[] {
  // Results in a file have the key beside them; without one the caller has to repeat it.
  const isKeyKnown = output !== '-' || key !== undefined;
  const again = `the same command again${isKeyKnown ? '' : ` with --key ${idempotencyKey}`}`;
  if (batch === null) {
    return isRepeatable
      ? [`The upload had not ended. Go on within 15 minutes: ${again}`]
      : ['The upload had not ended, and cannot go on: use a file.'];
  }
  const results = `cofferdam batch results ${batch} --follow${output === '-' ? '' : ` -o ${output}`}`;
  return [
    `${batch} runs on. Go on: ${output !== '-' && isRepeatable ? again : results}`,
    `Cancel it: cofferdam batch cancel ${batch}`,
  ];
}
