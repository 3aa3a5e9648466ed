/** What is kept of a batch between two commands: a state file beside its results, or nothing where they go to a pipe. */
import { statSync } from 'node:fs';
import { ServerError } from '../client.ts';
import {
  type RunState,
  readState,
  refuseSecondWriter,
  removeState,
  stateFileOf,
  writeState,
} from './state.ts';

export interface Keeper {
  readonly state: RunState;
  save(state: RunState): void;
  remove(): void;
}

/** What a command without an earlier one begins with. */
export type Fresh = Omit<RunState, 'version' | 'pid'>;

/** The state that an earlier command left, where `differs` finds no fault in it; else the fresh one. */
export function keeperOf(
  output: string,
  fresh: Fresh,
  differs: (before: RunState) => string | undefined,
): Keeper {
  const own = { version: 1 as const, pid: process.pid };
  if (output === '-') return { state: { ...own, ...fresh }, save: () => {}, remove: () => {} };
  const before = readState(output);
  if (before !== undefined) {
    refuseSecondWriter(output, before);
    const why = before.url === fresh.url ? differs(before) : `of the server ${before.url}`;
    if (why !== undefined) throw new ServerError(keptFor(output, before, why));
  }
  if (before === undefined || before.batch === null) refuseContent(output);
  return {
    state: { ...own, ...(before ?? fresh), pid: process.pid },
    save: (state) => writeState(output, state),
    remove: () => removeState(output),
  };
}

function keptFor(output: string, { batch }: RunState, why: string): string {
  const file = stateFileOf(output);
  const goOn =
    batch === null
      ? ''
      : ` To go on with that one: cofferdam batch results ${batch} --follow -o ${output}.`;
  return `${file} is ${why}.${goOn} To start anew: choose another --output, or remove ${output} and ${file}.`;
}

/** What is not known to be results of this batch is never written to. */
function refuseContent(output: string): void {
  const bytes = statSync(output, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes === 0) return;
  throw new ServerError(
    `--output: expected a new or an empty file, or one with ${stateFileOf(output)} beside it that says which batch it is of; came ${output} with ${bytes} bytes`,
  );
}
