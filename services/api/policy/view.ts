/** What conditions may look at: the call as asked, the job as it would run, the caller, the tool, the time. */
import { fileBytes, type JobRequest } from '../../../shared/contract/request.ts';
import type { Call, RunCall } from './call.ts';
import { WEEKDAYS } from './during.ts';
import type { Resolved } from './resolve.ts';
import { RUN_TOOLS } from './rule.ts';
import type { Roles } from './who.ts';

export const isRunCall = (call: Call | RunCall): call is RunCall => RUN_TOOLS.includes(call.tool);

/** Parts that cost something are made when a condition looks at them. */
export function viewOf(call: Call, effective: object, roles: Roles): object {
  const { tool, caller, args, nowMs } = call;
  return {
    args,
    effective,
    get caller() {
      const { name, tenant, grant, session, scopes } = caller;
      const held = [...roles].filter(([, has]) => has(name)).map(([role]) => role);
      return { name, tenant, grant, session, scopes: [...scopes], roles: held };
    },
    tool: { name: tool },
    get time() {
      const now = new Date(nowMs);
      return {
        epochMs: nowMs,
        hour: now.getUTCHours(),
        minute: now.getUTCMinutes(),
        weekday: WEEKDAYS[now.getUTCDay()],
        date: now.toISOString().slice(0, 10),
      };
    },
  };
}

/** The job as it would run, in the words of the document. `request` is what it was resolved from. */
export function effectiveOf(request: JobRequest, { spec, ...rest }: Resolved): object {
  return {
    timeoutMs: spec.timeoutMs,
    limits: spec.limits,
    image: spec.image,
    runtime: spec.runtime,
    isolation: spec.group === null ? 'job' : 'group',
    group: spec.group,
    cwd: spec.cwd,
    collect: spec.collect,
    onLost: spec.onLost,
    expiresInMs: rest.expiresInMs,
    retainMs: rest.retainMs,
    /** The names that the caller set. */
    env: Object.keys(request.env ?? {}),
    /** Of a script, the argv of its interpreter. */
    steps: spec.steps,
    get files() {
      const asked = request.files ?? [];
      const sizes = asked.map(({ content, encoding }) =>
        content === undefined ? 0 : fileBytes(content, encoding),
      );
      return {
        count: asked.length,
        /** Of blobs, none: their content is not looked at. */
        bytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
        paths: asked.map(({ path }) => path),
      };
    },
  };
}
