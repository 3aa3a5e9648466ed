/** What all routes share: the typed server, and the time that a caller is ready to wait. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Scope, Tool } from '../../../shared/contract/policy.ts';
import { problem } from '../../../shared/contract/problem.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Caller } from '../auth.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null on the routes that need no key. */
    caller: Caller | null;
  }
  interface FastifyContextConfig {
    /** A route without this needs a key, whatever its path is. */
    isPublic?: boolean;
    /** What the caller's key must have; without it any key will do. */
    scope?: Scope;
    /** What the policy knows it as; those that run something are asked about where their jobs are admitted. */
    tool?: Exclude<Tool, 'exec' | 'exec_batch' | 'policy_check'>;
    /** Its body may take as long as it keeps coming. */
    isStream?: boolean;
  }
}

export type Server = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export const MAX_WAIT_SECONDS = 60;

/** A whole number in a query: digits, and no other way to write one. */
export const queryInt = (least: number, most: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,4}$/, `expected a whole number from ${least} to ${most}`)
    .transform(Number)
    .refine((value) => value >= least && value <= most, {
      message: `expected a whole number from ${least} to ${most}`,
    })
    .default(fallback);

export const waitQuery = z.strictObject({
  wait: queryInt(0, MAX_WAIT_SECONDS, 0).describe(
    `Seconds to wait for the result, at most ${MAX_WAIT_SECONDS}.`,
  ),
});

export const batchParams = z.strictObject({ id: z.string() });

const BATCH_ID = /^bat_[0-9a-f]{32}$/;

/** An id of another form is answered like one that does not exist. */
export function parseBatchId(id: string): string {
  if (!BATCH_ID.test(id)) throw new AppError('NOT_FOUND');
  return id;
}

/** The caller of a route that needs a key. */
export function callerOf(request: { caller: Caller | null }): Caller {
  if (request.caller === null) throw new AppError('UNAUTHENTICATED');
  return request.caller;
}

/** The refusals and failures that a route with a key may answer: those of every route, and its own. */
export const refusals = <Status extends number>(...own: Status[]) =>
  Object.fromEntries([401, 403, 500, 503, ...own].map((status) => [status, problem])) as Record<
    401 | 403 | 500 | 503 | Status,
    typeof problem
  >;
