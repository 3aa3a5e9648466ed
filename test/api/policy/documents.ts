/** Documents and calls for the tests of what surrounds a policy: limits, reload, routes. */
import type { RunCall } from '../../../services/api/policy/call.ts';
import type { ResolveWith } from '../../../services/api/policy/engine.ts';
import type { Policy } from '../../../services/api/policy/policy.ts';
import { resolve } from '../../../services/api/policy/resolve.ts';
import { loadUsable } from '../../../services/api/policy/usable.ts';
import { parseSettings } from '../../../shared/config/settings.ts';
import { readCatalogue } from '../../../shared/images.ts';
import { newId } from '../../shared/queue/job.ts';
import { callerOfTenant } from '../caller.ts';

const { limits, defaultImage, runtimes, imagesFile } = parseSettings({});
const rules = { limits, defaultImage, runtimes, catalogue: readCatalogue(imagesFile) };
export const resolveWith: ResolveWith = (request) => resolve(request, rules);

export const load = (text: string): Policy => loadUsable(text, resolveWith);

export const textOf = (document: object): string =>
  JSON.stringify({ version: '1', name: 'test', ...document });

/** A policy of one rule that allows to run, with these fields on top. */
export const allowing = (rule: object, document: object = {}): Policy =>
  load(textOf({ ...document, rules: [{ ...RUN, ...rule }] }));

export const RUN = { name: 'run', tools: ['exec', 'exec_batch'], action: 'allow' };
export const LOOK = { name: 'look', tools: ['job_*', 'policy_check'], action: 'allow' };

export const runCall = (over: Partial<RunCall> = {}): RunCall => ({
  tool: 'exec',
  caller: callerOfTenant('t'),
  args: { command: ['true'] },
  nowMs: Date.now(),
  jobId: newId(),
  ...over,
});
