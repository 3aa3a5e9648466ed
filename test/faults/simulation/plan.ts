/** What is going to happen: jobs, and what goes wrong. When counts in steps: each is one message, answer or timer. */
import fc from 'fast-check';

/** Within so many steps everything that is planned has begun. */
const PLANNED_STEPS = 250;

const atStep = fc.nat(PLANNED_STEPS);
const someMs = fc.constantFrom(0, 40, 3_000, 18_000);
const longMs = fc.constantFrom(2_000, 17_000, 40_000);
const nth = fc.nat(3);

const job = fc.record({
  atStep: fc.nat(60),
  behaviour: fc.oneof(
    { weight: 6, arbitrary: fc.constant('exits' as const) },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        'kills_guest' as const,
        'hangs' as const,
        'deafens_guest' as const,
      ),
    },
  ),
  lastsMs: someMs,
  onLost: fc.constantFrom('retry' as const, 'fail' as const),
  expiresInMs: fc.constantFrom(4_000, 60_000, 60_000, 60_000),
  cancelAtStep: fc.option(atStep, { freq: 3 }),
});

const fault = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('worker_dies' as const),
      atStep,
      nth,
      /** Of what it has sent, so many commands still arrive. */
      arrive: fc.nat(2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('api_dies' as const), atStep }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('worker_is_cut' as const), atStep, nth, ms: longMs }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('worker_drains' as const), atStep, nth }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('engine_fails' as const), atStep, ms: longMs }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('engine_hangs' as const), atStep, ms: longMs }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('engine_restarts' as const), atStep }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sandbox_goes' as const), atStep, nth }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('delivered_twice' as const), atStep, nth }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('not_delivered' as const), atStep, nth }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('clocks_jump' as const),
      atStep,
      ms: fc.constantFrom(-5_000, 5_000, 3_600_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('redis_clock_jumps' as const), atStep }) },
);

export const plan = fc.record({
  randomness: fc.integer(),
  workers: fc.integer({ min: 1, max: 2 }),
  slots: fc.integer({ min: 1, max: 2 }),
  jobs: fc.array(job, { minLength: 1, maxLength: 4 }),
  faults: fc.array(fault, { maxLength: 4 }),
});

type Made<A> = A extends fc.Arbitrary<infer T> ? T : never;
export type Plan = Made<typeof plan>;
export type JobPlan = Made<typeof job>;
export type Fault = Made<typeof fault>;
