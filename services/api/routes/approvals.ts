/** /v1/approvals: what waits for people's leave, and their answer. Never an MCP tool: an agent does not approve itself. */
import { z } from 'zod';
import {
  approvalPage,
  approvalState,
  approvalView,
  approveRequest,
  denyRequest,
} from '../../../shared/contract/approval.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Approvals } from '../approvals/decide.ts';
import { callerOf, queryInt, refusals, type Server } from './server-types.ts';

const MAX_PAGE = 200;
const APPROVAL_ID = /^apr_[0-9a-f]{32}$/;
const config = { scope: 'policy:approve' } as const;

const params = z.strictObject({ id: z.string() });

const listQuery = z.strictObject({
  state: approvalState.optional().describe('Only approvals in this state.'),
  limit: queryInt(1, MAX_PAGE, 50).describe(`Approvals of a page, at most ${MAX_PAGE}.`),
  cursor: z.string().max(64).optional().describe('The `next` of the page before.'),
});

const decideHeaders = z.object({
  'if-match': z
    .string()
    .optional()
    .describe('The `fingerprint` that was seen: refused where the request was edited since.'),
});

/** An id of another form is answered like one that does not exist. */
function parseId(id: string): string {
  if (!APPROVAL_ID.test(id)) throw new AppError('NOT_FOUND');
  return id;
}

/** The fingerprint, with or without the quotes of an entity tag. */
const seenFingerprint = (ifMatch: string | undefined): string | null =>
  ifMatch === undefined ? null : ifMatch.trim().replace(/^"(.*)"$/, '$1');

export function approvalRoutes(server: Server, { approvals }: { approvals: Approvals }): void {
  addLists(server, approvals);

  server.post(
    '/v1/approvals/:id/approve',
    {
      config,
      schema: {
        summary: 'Approve a job',
        description:
          'Releases the job once as many have approved as the quorum says. Doing it again changes nothing. An edit takes back what others said before.',
        tags: ['approvals'],
        params,
        headers: decideHeaders,
        body: approveRequest.nullish(),
        response: { 200: approvalView, ...refusals(400, 404, 409, 412, 413, 415, 422) },
      },
    },
    async (request) => {
      const { reason = null, edit = null } = request.body ?? {};
      const fingerprint = seenFingerprint(request.headers['if-match']);
      const id = parseId(request.params.id);
      return approvals.approve(callerOf(request), id, { reason, edit, fingerprint });
    },
  );

  server.post(
    '/v1/approvals/:id/deny',
    {
      config,
      schema: {
        summary: 'Deny a job',
        description:
          'Ends the job with the outcome `denied` and this reason; one denial is enough.',
        tags: ['approvals'],
        params,
        headers: decideHeaders,
        body: denyRequest,
        response: { 200: approvalView, ...refusals(400, 404, 409, 412, 413, 415) },
      },
    },
    async (request) => {
      const { reason } = request.body;
      const fingerprint = seenFingerprint(request.headers['if-match']);
      const id = parseId(request.params.id);
      return approvals.deny(callerOf(request), id, { reason, edit: null, fingerprint });
    },
  );
}

function addLists(server: Server, approvals: Approvals): void {
  server.get(
    '/v1/approvals',
    {
      config,
      schema: {
        summary: 'List approvals, the newest first',
        description: 'Those of the own tenant; with the scope `admin` as well, of all tenants.',
        tags: ['approvals'],
        querystring: listQuery,
        response: { 200: approvalPage, ...refusals(400) },
      },
    },
    async (request) => {
      const { state, limit, cursor } = request.query;
      return approvals.list(callerOf(request), { state, limit, cursor });
    },
  );

  server.get(
    '/v1/approvals/:id',
    {
      config,
      schema: {
        summary: 'One approval, with the request that it is about',
        tags: ['approvals'],
        params,
        response: { 200: approvalView, ...refusals(404) },
      },
    },
    async (request, reply) => {
      const view = await approvals.get(callerOf(request), parseId(request.params.id));
      void reply.header('ETag', `"${view.fingerprint}"`);
      return view;
    },
  );
}
