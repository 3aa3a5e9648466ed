/** What of a chunk of a batch is let in: charged to the limits of the policy, up to the line that ends the upload. */
import { AppError } from '../../shared/errors.ts';
import type { BatchJob } from '../../shared/queue/admit-batch.ts';
import { atLine, type JudgedLine } from './batch-job.ts';
import type { Refusals } from './batch-refusals.ts';
import type { Granted, Permission } from './permission.ts';

export interface Entry {
  readonly job: BatchJob;
  /** Undefined of one that is there already. */
  readonly granted: Granted | undefined;
}

interface End {
  readonly line: JudgedLine;
  readonly error: unknown;
}

export interface Grant {
  /** Ids of jobs that are there already: they were charged when they came first. */
  readonly known: ReadonlySet<string>;
  /** All of the upload or nothing. */
  readonly isWhole: boolean;
  readonly refused: Refusals;
}

/**
 * A line that ends the upload ends it behind those before it: were they given back as well, a batch of more jobs than a
 * limit lets through at a time would never get on, however often it is sent again.
 */
export async function grantLines(
  permission: Permission,
  lines: readonly JudgedLine[],
  { known, isWhole, refused }: Grant,
): Promise<{ entries: Entry[]; end: End | undefined }> {
  const fresh = lines.filter(({ candidate }) => !known.has(candidate.job.id));
  const answers = await permission.grant(fresh.map(({ candidate }) => candidate));
  const grantedOf = new Map<JudgedLine, Granted>();
  let end: End | undefined;
  for (const [at, one] of answers.entries()) {
    const line = fresh[at] as JudgedLine;
    if (!(one instanceof AppError)) grantedOf.set(line, one);
    else end ??= endBy(refused, { line, error: one });
  }
  const taken = end === undefined ? lines.length : isWhole ? 0 : lines.indexOf(end.line);
  permission.withdraw(lines.slice(taken).flatMap((line) => grantedOf.get(line) ?? []));
  const entries = lines.slice(0, taken).flatMap((line): Entry[] => {
    const { candidate, index, key, digest } = line;
    const granted = grantedOf.get(line);
    if (granted === undefined && !known.has(candidate.job.id)) return [];
    const job = granted?.job ?? { ...candidate.job, spec: '' };
    return [{ granted, job: { ...job, index, key, digest } }];
  });
  return { entries, end };
}

function endBy(refused: Refusals, { line, error }: End): End | undefined {
  try {
    refused.add(atLine(error as AppError, line.line));
    return undefined;
  } catch (thrown) {
    return { line, error: thrown };
  }
}
