/** One line of a batch's results, as far as the command line reads it. */
import { z } from 'zod';
import { countedAs } from '../../../shared/contract/batch.ts';
import { outcome } from '../../../shared/contract/result.ts';
import { ServerError } from '../client.ts';
import type { Counted } from './tally.ts';

const resultLine = z.looseObject({
  index: z.int().nonnegative(),
  cursor: z.string().min(1),
  /** Null where the job's own result was kept for less long than the batch. */
  outcome: outcome.nullable(),
});

export interface ResultLine {
  readonly index: number;
  /** Where to go on after this line. */
  readonly cursor: string;
  readonly countedAs: Counted;
}

const SHOWN = 80;

/** `where` names the line in what is said of one that is no result. */
export function parseResultLine(text: string, where: string): ResultLine {
  const fault = (found: string): ServerError =>
    new ServerError(`${where}: expected a result of a batch (${found}); came ${shown(text)}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw fault('a JSON object');
  }
  const parsed = resultLine.safeParse(value);
  if (!parsed.success) throw fault('with index, cursor and outcome');
  const { index, cursor, outcome: end } = parsed.data;
  return { index, cursor, countedAs: end === null ? 'no_result' : countedAs(end) };
}

const shown = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
