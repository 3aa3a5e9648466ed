/** What an approver changes of a request: at the paths that the rule allows, and nowhere else. Pure. */
import { type JobRequest, jobRequest } from '../../../shared/contract/request.ts';
import { AppError } from '../../../shared/errors.ts';
import { requestInvalid } from '../http-error.ts';

type Fields = Record<string, unknown>;

/** They are fixed when a job is admitted: an edit would change nothing, or another job than this one. */
const FIXED = ['lane', 'expiresInMs', 'callback', 'isolation', 'group'];
const NEVER = new Set(['__proto__', 'constructor', 'prototype']);

export interface Edited {
  readonly request: JobRequest;
  /** The paths that were changed. */
  readonly paths: readonly string[];
}

/** `edit` is {path: value}; an object at a path that is not allowed itself is an edit of its fields. null takes away. */
export function applyEdit(
  request: Readonly<Fields>,
  edit: Readonly<Fields>,
  mayEdit: readonly string[],
): Edited {
  const allowed = mayEdit.filter((path) => !FIXED.includes(path));
  const changes = changesOf(edit, allowed, '');
  if (changes.length === 0) {
    throw refused('expected a path and its new value', allowed);
  }
  const edited = structuredClone(request) as Fields;
  for (const [path, value] of changes) put(edited, path, value, allowed);
  const parsed = jobRequest.safeParse(edited);
  if (!parsed.success) throw requestInvalid(parsed.error, edited);
  return { request: parsed.data, paths: changes.map(([path]) => path) };
}

const refused = (why: string, allowed: readonly string[]): AppError =>
  new AppError('REQUEST_INVALID', {
    field: 'edit',
    detail: `edit: ${why}; ${
      allowed.length === 0
        ? 'the rule lets nothing be edited'
        : `the rule lets be edited: ${allowed.join(', ')}`
    }`,
  });

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function changesOf(edit: Fields, allowed: readonly string[], base: string): [string, unknown][] {
  return Object.entries(edit).flatMap(([name, value]): [string, unknown][] => {
    const path = base + name;
    const isAllowed = allowed.some((one) => path === one || path.startsWith(`${one}.`));
    if (isAllowed) return [[path, value]];
    const isAbove = allowed.some((one) => one.startsWith(`${path}.`));
    if (isAbove && isFields(value)) return changesOf(value, allowed, `${path}.`);
    throw refused(`${JSON.stringify(path)} must stay as it is`, allowed);
  });
}

function put(request: Fields, path: string, value: unknown, allowed: readonly string[]): void {
  const names = path.split('.');
  const last = names.pop() as string;
  if ([...names, last].some((name) => NEVER.has(name) || name === '')) {
    throw refused(`${JSON.stringify(path)} is no path of a request`, allowed);
  }
  let target: Fields = request;
  for (const name of names) {
    const within = Object.hasOwn(target, name) ? target[name] : undefined;
    if (within === undefined && !Array.isArray(target)) target[name] = {};
    else if (typeof within !== 'object' || within === null) {
      throw refused(`there is nothing at ${JSON.stringify(path)}`, allowed);
    }
    target = target[name] as Fields;
  }
  if (Array.isArray(target) && !Object.hasOwn(target, last)) {
    throw refused(`there is nothing at ${JSON.stringify(path)}`, allowed);
  }
  if (value !== null) target[last] = value;
  else if (Array.isArray(target)) target.splice(Number(last), 1);
  else delete target[last];
}
