/**
 * What the policy adds to a submission: fifty rules of every kind, judged, and the limits among them charged in Redis.
 * In turn with it: the same call without a policy, and one write to the same Redis, which is on disk before it is
 * answered and is the floor of any limit that survives a crash.
 *
 * Measured where it happens, in the API's own functions: the HTTP around it is the same with and without.
 */
import { createPolicy, type Policy } from '../services/api/policy/engine.ts';
import { resolve } from '../services/api/policy/resolve.ts';
import { loadUsable } from '../services/api/policy/usable.ts';
import { parseSettings } from '../shared/config/settings.ts';
import { SCOPES } from '../shared/contract/policy.ts';
import { AppError } from '../shared/errors.ts';
import { readCatalogue } from '../shared/images.ts';
import { createLog } from '../shared/log.ts';
import type { Benchmark } from './benchmark.ts';
import { startRedis } from './cofferdam.ts';
import { atMost } from './report.ts';
import { median, TIME_COLUMNS, timeOf, timeRow } from './times.ts';

const RULES = 50;
const WARM_UP = 100;

const { limits, defaultImage, imagesFile } = parseSettings({});
const RESOLVE_RULES = { limits, defaultImage, catalogue: readCatalogue(imagesFile) };
const resolveWith = (request: Parameters<typeof resolve>[0]) => resolve(request, RESOLVE_RULES);

export const policy: Benchmark = {
  shows: 'what a policy of fifty rules adds to a submission',
  limitMinutes: 3,
  async measure(run) {
    const rounds = run.isQuick ? 300 : 3_000;
    const { redis } = await startRedis(run);
    const inForce = (document: object): Policy => {
      const loaded = loadUsable(JSON.stringify({ version: '1', ...document }), resolveWith);
      const log = createLog('silent');
      return createPolicy({ redis, inForce: () => loaded, onDecisions: () => {}, log });
    };
    const none = inForce({ mode: 'off' });
    const judging = inForce({ rules: rulesOf({ limited: false }) });
    const limiting = inForce({ rules: rulesOf({ limited: true }) });
    const times = { none: [], judging: [], limiting: [], write: [] } as Record<string, number[]>;
    for (let round = -WARM_UP; round < rounds; round++) {
      const kept = {
        none: await timeOf(() => decide(none)),
        judging: await timeOf(() => decide(judging)),
        limiting: await timeOf(() => decide(limiting)),
        write: await timeOf(() => redis.set('bench', round)),
      };
      if (round < 0) continue;
      for (const [name, ms] of Object.entries(kept)) times[name]?.push(ms);
    }
    const { none: without = [], judging: judged = [], limiting: limited = [], write = [] } = times;
    const floor = median(write);
    return {
      tables: [
        {
          title: 'one call',
          columns: TIME_COLUMNS,
          rows: [
            timeRow('no policy', without, 'defaults joined, ceilings held'),
            timeRow(`${RULES} rules, no limit`, judged),
            timeRow(`${RULES} rules, 3 limits`, limited, 'one call to Redis for all'),
            timeRow('one write to Redis', write, 'floor of a limit that survives a crash'),
          ],
        },
      ],
      targets: [
        atMost(`${RULES} rules: added p50`, median(judged) - median(without), 1, ' ms'),
        atMost(
          `${RULES} rules and 3 limits: added p50`,
          median(limited) - median(without),
          1,
          ' ms',
        ),
        atMost(
          'the same, beyond one write to Redis',
          median(limited) - median(without) - floor,
          1,
          ' ms',
        ),
      ],
      notes: [`${rounds} rounds after ${WARM_UP} of warm-up, in turn. Redis: appendfsync always.`],
    };
  },
};

async function decide(engine: Policy): Promise<void> {
  const caller = {
    tenant: 'default',
    grant: 'bench',
    name: 'user:bench@example.com',
    scopes: new Set(SCOPES),
    session: 'bench',
  };
  const args = { command: ['python3', '-c', 'print(6*7)'], timeoutMs: 10_000 };
  const judged = engine.judgeRun(
    { tool: 'exec', caller, args, nowMs: Date.now(), jobId: 'job_bench' },
    resolveWith,
  );
  const [result] = await engine.reserve([judged]);
  if (result instanceof AppError) throw result;
}

/** Rules as people write them, of which most speak of the call and do not match, and a few match. */
function rulesOf({ limited }: { limited: boolean }): object[] {
  const wide = { max: 1_000_000, window: 60 };
  const matching = [
    {
      name: 'allow',
      tools: ['exec', 'exec_batch'],
      action: 'allow',
      constrain: { max: { timeoutMs: 600_000 }, defaults: { timeoutMs: 30_000 } },
      ...(limited
        ? {
            rate_limit: [
              { ...wide, per: 'session' },
              { ...wide, per: 'grant', meter: 'wallMs', max: 1e12 },
            ],
          }
        : {}),
    },
    {
      name: 'require',
      tools: ['exec'],
      action: 'allow',
      require: [
        { when: { path: 'effective.timeoutMs', op: 'lte', value: 60_000 }, reason: 'Short.' },
      ],
      ...(limited ? { rate_limit: { ...wide, per: 'tenant', algorithm: 'token_bucket' } } : {}),
    },
  ];
  const others = Array.from({ length: RULES - matching.length }, (_, n) => ({
    name: `deny-${n}`,
    tools: ['exec', 'exec_batch'],
    when: [
      { path: 'args.command.0', op: 'in', value: [`tool-${n}`, 'curl', 'wget'] },
      { path: 'args.command', op: 'regex', value: `rm +-rf +/srv/${n}`, each: 'joined' },
      {
        all: [
          { path: 'effective.limits.memoryMb', op: 'gt', value: 4096 + n },
          { path: 'caller.name', op: 'glob', value: 'agent:*' },
        ],
      },
      { path: 'args.env.SECRET', op: 'exists', value: true },
    ][n % 4],
    action: 'deny',
    reason: 'Not here.',
  }));
  return [...others, ...matching];
}
