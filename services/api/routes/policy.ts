/** /v1/policy: the document in force, another in its place, and what would be decided of a call. */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Tool } from '../../../shared/contract/policy.ts';
import { policyCheck, policyCheckRequest } from '../../../shared/contract/policy-check.ts';
import { type PolicyView, policyView } from '../../../shared/contract/policy-view.ts';
import { type JobRequest, jobRequest } from '../../../shared/contract/request.ts';
import { AppError } from '../../../shared/errors.ts';
import type { AdministrativeAct, Caller } from '../auth.ts';
import { requestInvalid } from '../http-error.ts';
import type { Call, RunCall } from '../policy/call.ts';
import type { Policy, ResolveWith } from '../policy/engine.ts';
import type { PolicyStore } from '../policy/store.ts';
import { callerOf, refusals, type Server } from './server-types.ts';

/** Of one document; the same that a file may have. */
const MAX_DOCUMENT_BYTES = 1024 * 1024;
/** What a checked job is called: none is made. */
const NO_JOB = 'job_00000000000000000000000000000000';

export interface PolicyRouteParts {
  readonly policy: Policy;
  readonly store: PolicyStore;
  readonly resolveWith: ResolveWith;
  readonly onAct?: (act: AdministrativeAct) => void;
}

export function policyRoutes(server: Server, parts: PolicyRouteParts): void {
  documentRoutes(server, parts);
  const { policy, resolveWith } = parts;

  server.post(
    '/v1/policy/check',
    {
      config: { scope: 'exec:run' },
      schema: {
        summary: 'What the policy would decide of a call',
        description: 'Makes no call, runs nothing and spends nothing of any limit.',
        tags: ['policy'],
        body: policyCheckRequest,
        response: { 200: policyCheck, ...refusals(400, 403, 413, 415, 422, 429) },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      await policy.decide({ tool: 'policy_check', caller, args: request.body, nowMs: Date.now() });
      return policy.check(callOf(caller, request.body), resolveWith);
    },
  );
}

function callOf(
  caller: Caller,
  { tool, args }: { tool: Tool; args: Record<string, unknown> },
): Call | RunCall {
  const nowMs = Date.now();
  if (tool !== 'exec' && tool !== 'exec_batch') return { tool, caller, args, nowMs };
  return { tool, caller, args: parseJob(args), nowMs, jobId: NO_JOB };
}

function parseJob(args: unknown): JobRequest {
  const parsed = jobRequest.safeParse(args);
  if (parsed.success) return parsed.data;
  const fault = requestInvalid(parsed.error, args);
  throw fault.with({ field: fault.field === undefined ? 'args' : `args.${fault.field}` });
}

function documentRoutes(server: Server, { store, onAct }: PolicyRouteParts): void {
  const config = { scope: 'policy:write' } as const;
  const send = (reply: FastifyReply): PolicyView => {
    void reply.header('ETag', `"${store.current.policy.revision}"`);
    return viewOf(store);
  };

  server.get(
    '/v1/policy',
    {
      config,
      schema: {
        summary: 'The policy in force',
        tags: ['policy'],
        response: { 200: policyView, ...refusals(403) },
      },
    },
    async (_request, reply) => send(reply),
  );

  // A scope of its own: nowhere else is YAML a body.
  void server.register(async (scope) => {
    scope.addContentTypeParser('application/yaml', { parseAs: 'string' }, (_request, body, done) =>
      done(null, body),
    );
    (scope as Server).put(
      '/v1/policy',
      {
        config,
        bodyLimit: MAX_DOCUMENT_BYTES,
        schema: {
          summary: 'Put another policy in force',
          description:
            'The body is the document: JSON, or YAML as application/yaml. In force in every process within a second; one that is not usable, or fails its own tests, changes nothing.',
          tags: ['policy'],
          headers: z.looseObject({
            'if-match': z
              .string()
              .optional()
              .describe('The ETag of the policy that it is to replace; needed.'),
          }),
          body: z.union([z.string(), z.record(z.string(), z.unknown())]),
          response: { 200: policyView, ...refusals(400, 403, 412, 413, 415, 422) },
        },
      },
      async (request, reply) => {
        const actor = callerOf(request);
        const ifMatch = revisionOf(request.headers['if-match']);
        const { body } = request;
        const text = typeof body === 'string' ? body : JSON.stringify(body, null, 2);
        const { policy } = await store.put(text, { ifMatch, by: actor.name });
        const { revision, mode, killSwitch } = policy;
        const detail = { replaced: ifMatch, mode, killSwitch: killSwitch.active };
        onAct?.({ actor, act: 'policy.put', subject: revision, detail });
        return send(reply);
      },
    );
  });
}

/** One strong ETag: whoever replaces a policy has read it. */
function revisionOf(header: string | undefined): string {
  const [, revision] = header?.match(/^\s*"([0-9a-f]{1,64})"\s*$/) ?? [];
  if (revision !== undefined) return revision;
  throw new AppError('REQUEST_INVALID', {
    field: 'If-Match',
    detail: `If-Match: expected the ETag that GET /v1/policy answers with; came ${JSON.stringify(header) ?? 'nothing'}`,
  });
}

function viewOf(store: PolicyStore): PolicyView {
  const { policy, source, sinceMs, by } = store.current;
  const { revision, name, mode, written } = policy;
  return {
    revision,
    name,
    mode,
    source,
    since: new Date(sinceMs).toISOString(),
    by,
    problems: store.problems(),
    document: written,
  };
}
