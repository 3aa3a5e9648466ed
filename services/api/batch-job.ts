/** One line of a batch → the job that it asks for, or why it is refused. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type BatchOptions, jobKey } from '../../shared/contract/batch.ts';
import { type JobRequest, jobRequest } from '../../shared/contract/request.ts';
import { AppError } from '../../shared/errors.ts';
import type { Caller } from './auth.ts';
import { requestInvalid } from './http-error.ts';
import type { Candidate, Permission } from './permission.ts';

type Fields = Record<string, unknown>;

export interface JobLine {
  /** Counted from 1. */
  readonly line: number;
  /** Its place among the jobs of the upload, from 0. */
  readonly index: number;
  readonly text: string;
}

/** A job that may be admitted, once its limits allow. */
export interface JudgedLine {
  readonly line: number;
  readonly index: number;
  readonly key: string | null;
  /** What must be the same when it is sent again. */
  readonly digest: string;
  readonly candidate: Candidate;
}

/** The same job again has the same id: by its key, else by its place. */
export const batchJobId = (batch: string, index: number, key: string | null): string => {
  const name = key === null ? `index ${index}` : `key ${key}`;
  return `job_${createHash('sha256').update(`${batch} ${name}`).digest('hex').slice(0, 32)}`;
};

/** Throws an AppError with the line. */
export async function judgeLine(
  { line, index, text }: JobLine,
  batch: { id: string; options: BatchOptions; caller: Caller; permission: Permission },
): Promise<JudgedLine> {
  try {
    const { key: givenKey, ...asked } = parseLine(text);
    const key = parseKey(givenKey);
    const id = batchJobId(batch.id, index, key);
    const request = parseRequest(withDefaults(asked, batch.options.defaults ?? {}), batch.id);
    const lane = request.lane ?? 'bulk';
    const { caller, permission } = batch;
    const place = { batch: { id: batch.id, index }, jobId: id } as const;
    const call = {
      tool: 'exec_batch',
      caller,
      args: request,
      nowMs: Date.now(),
      ...place,
    } as const;
    const candidate = await permission.judge(call, lane);
    const digest = createHash('sha256').update(text).digest('base64').slice(0, 22);
    return { line, index, key, digest, candidate };
  } catch (error) {
    throw error instanceof AppError && error.row.status < 500 ? atLine(error, line) : error;
  }
}

function parseLine(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError('BODY_NOT_JSON', { detail: (cause as Error).message, cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AppError('REQUEST_INVALID', {
      detail: 'expected a job, an object; came another value',
    });
  }
  return value as Fields;
}

const keyField = z.strictObject({ key: jobKey });

function parseKey(key: unknown): string | null {
  if (key === undefined) return null;
  const parsed = keyField.safeParse({ key });
  if (!parsed.success) throw requestInvalid(parsed.error, { key });
  return parsed.data.key;
}

function parseRequest(fields: Fields, batch: string): JobRequest {
  const isNameless = fields.isolation === 'group' && fields.group === undefined;
  const asked = isNameless ? { ...fields, group: batch } : fields;
  const parsed = jobRequest.safeParse(asked);
  if (!parsed.success) throw requestInvalid(parsed.error, asked);
  return parsed.data;
}

const PROGRAM = ['command', 'script', 'steps'] as const;

/** See batchOptions: what is joined, and what replaces. */
function withDefaults(asked: Fields, defaults: NonNullable<BatchOptions['defaults']>): Fields {
  const base: Fields = { ...defaults };
  if (PROGRAM.some((name) => asked[name] !== undefined))
    for (const name of PROGRAM) delete base[name];
  if (asked.isolation === 'job') delete base.group;
  const merged = { ...base, ...asked };
  for (const name of ['env', 'labels', 'limits'] as const) {
    if (base[name] !== undefined && isFields(asked[name])) {
      merged[name] = { ...(base[name] as Fields), ...asked[name] };
    }
  }
  if (defaults.files !== undefined && Array.isArray(asked.files)) {
    const own = new Set(asked.files.map((file: unknown) => isFields(file) && file.path));
    merged.files = [...defaults.files.filter(({ path }) => !own.has(path)), ...asked.files];
  }
  return merged;
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const atLine = (error: AppError, line: number): AppError =>
  error.with({ line, detail: `line ${line}: ${error.message}` });
