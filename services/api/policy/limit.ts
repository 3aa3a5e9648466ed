/** What a rule lets happen how often (`rate_limit`) and at once (`concurrency`): the document's side of a counter. */
import { z } from 'zod';
import { duration } from './duration.ts';

const LEAST_WINDOW_MS = 1_000;
/** A session's name is only asserted: what all sessions of a key may do together, where the rule does not say. */
export const GRANT_TIMES_SESSION = 10;

const text = z.string().min(1).max(512);
const count = z.int().positive().max(1e15);
const scope = z.enum(['session', 'grant', 'tenant', 'image', 'global']);

const hasCeilingForNothing = ({ per, grantMax }: { per: string; grantMax?: number | undefined }) =>
  per !== 'session' && grantMax !== undefined;
const CEILING_FAULT = { path: ['grantMax'], message: 'expected it beside `per: session` alone' };

export const rateLimit = z
  .strictObject({
    max: count,
    window: duration(LEAST_WINDOW_MS),
    per: scope.default('session'),
    /** Of all sessions of the key together. */
    grantMax: count.optional(),
    algorithm: z.enum(['sliding', 'fixed', 'token_bucket']).default('sliding'),
    burst: count.optional(),
    meter: z.enum(['calls', 'jobs', 'wallMs', 'cpuMs', 'outputBytes']).default('calls'),
    onExceed: z.enum(['deny', 'require_approval', 'queue']).default('deny'),
    reason: text.optional(),
  })
  .refine((limit) => limit.algorithm === 'token_bucket' || limit.burst === undefined, {
    path: ['burst'],
    message: 'expected it beside `algorithm: token_bucket` alone',
  })
  .refine((limit) => !hasCeilingForNothing(limit), CEILING_FAULT);

export type RateLimit = z.infer<typeof rateLimit>;

export const concurrency = z
  .strictObject({
    max: count,
    per: scope.default('session'),
    grantMax: count.optional(),
    onExceed: z.enum(['deny', 'queue']).default('deny'),
    reason: text.optional(),
  })
  .refine((limit) => !hasCeilingForNothing(limit), CEILING_FAULT);

export type Concurrency = z.infer<typeof concurrency>;
export type CounterScope = z.infer<typeof scope>;

/** How many tokens may be saved up. */
export const burstOf = ({ burst, max }: RateLimit): number => burst ?? max;
