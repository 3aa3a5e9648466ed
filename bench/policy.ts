/**
 * What the policy adds to a submission: fifty rules of every kind, judged, and the limits among them charged in Redis.
 * In turn with it: the same without a policy, and one write to the same Redis, which is on disk before it is answered
 * and is the floor of any limit that survives a crash.
 *
 * Measured twice: where it happens, in the API's own functions, and as callers see it, in whole submissions over HTTP to
 * an API that has no worker beside it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Redis } from 'ioredis';
import { createPolicy, type Policy } from '../services/api/policy/engine.ts';
import { resolve } from '../services/api/policy/resolve.ts';
import { loadUsable } from '../services/api/policy/usable.ts';
import { parseSettings } from '../shared/config/settings.ts';
import { SCOPES } from '../shared/contract/policy.ts';
import { AppError } from '../shared/errors.ts';
import { readCatalogue } from '../shared/images.ts';
import { createLog } from '../shared/log.ts';
import type { Benchmark, Run } from './benchmark.ts';
import { startApi, startRedis } from './cofferdam.ts';
import { atMost, type Table, type Target } from './report.ts';
import { median, TIME_COLUMNS, timeOf, timeRow } from './times.ts';

const RULES = 50;
const WARM_UP = 100;
const JOB = { command: ['python3', '-c', 'print(6*7)'], timeoutMs: 10_000 };

const { limits, defaultImage, runtimes, imagesFile } = parseSettings({});
const RESOLVE_RULES = { limits, defaultImage, runtimes, catalogue: readCatalogue(imagesFile) };
const resolveWith = (request: Parameters<typeof resolve>[0]) => resolve(request, RESOLVE_RULES);

type Part = 'none' | 'judging' | 'limiting';
const DOCUMENTS: Readonly<Record<Part, object>> = {
  none: { version: '1', mode: 'off' },
  judging: { version: '1', rules: rulesOf({ limited: false }) },
  limiting: { version: '1', rules: rulesOf({ limited: true }) },
};

export const policy: Benchmark = {
  shows: 'what a policy of fifty rules adds to a submission',
  limitMinutes: 3,
  async measure(run) {
    const rounds = run.isQuick ? 300 : 3_000;
    const httpRounds = rounds / 3;
    const { redis, url } = await startRedis(run);
    const decisions = await inTurn(rounds, {
      none: decisionUnder('none', redis),
      judging: decisionUnder('judging', redis),
      limiting: decisionUnder('limiting', redis),
      write: (round: number) => redis.set('bench', round),
    });
    const { again, ...submissions } = await inTurn(httpRounds, {
      none: await submissionUnder('none', { run, url }),
      judging: await submissionUnder('judging', { run, url }),
      limiting: await submissionUnder('limiting', { run, url }),
      again: await submissionUnder('none', { run, url }),
    });
    const { write, ...own } = decisions;
    const floor = median(write);
    return {
      tables: [
        tableOf('one decision', own, [
          timeRow('one write to Redis', write, 'floor of a limit that survives a crash'),
        ]),
        tableOf('one submission over HTTP', submissions, [
          timeRow('no policy, again', again, 'what differs from the first is noise'),
        ]),
      ],
      targets: [
        ...targetsOf('', own),
        atMost(
          'the same, beyond one write to Redis',
          median(own.limiting) - median(own.none) - floor,
          1,
          ' ms',
        ),
        ...targetsOf(', over HTTP', submissions),
      ],
      notes: [
        `${rounds} rounds and ${httpRounds} over HTTP, after ${WARM_UP} of warm-up, in turn. Redis: appendfsync always.`,
      ],
    };
  },
};

type Times = Readonly<Record<Part, readonly number[]>>;

const tableOf = (title: string, times: Times, more: Table['rows'] = []): Table => ({
  title,
  columns: TIME_COLUMNS,
  rows: [
    timeRow('no policy', times.none, 'defaults joined, ceilings held'),
    timeRow(`${RULES} rules, no limit`, times.judging),
    timeRow(`${RULES} rules, 3 limits`, times.limiting, 'one call to Redis for all'),
    ...more,
  ],
});

const targetsOf = (where: string, { none, judging, limiting }: Times): Target[] => [
  atMost(`${RULES} rules: added p50${where}`, median(judging) - median(none), 1, ' ms'),
  atMost(
    `${RULES} rules and 3 limits: added p50${where}`,
    median(limiting) - median(none),
    1,
    ' ms',
  ),
];

/** Each act once a round, there and back: none comes always after the same other. */
async function inTurn<Name extends string>(
  rounds: number,
  acts: Readonly<Record<Name, (round: number) => Promise<unknown>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(acts) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    number[]
  >;
  for (let round = 0; round < WARM_UP + rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const ms = await timeOf(() => acts[name](round));
      if (round >= WARM_UP) times[name].push(ms);
    }
  }
  return times;
}

/** A whole submission to an API of its own, answered once the job is in the queue. */
async function submissionUnder(
  part: Part,
  { run, url }: { run: Run; url: string },
): Promise<() => Promise<unknown>> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-bench-policy-'));
  run.own(folder, () => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, `${part}.json`);
  writeFileSync(file, JSON.stringify(DOCUMENTS[part]));
  const { api } = await startApi(run, url, { COFFERDAM_POLICY: file });
  return () => api.submit(JOB);
}

function decisionUnder(part: Part, redis: Redis): () => Promise<void> {
  const loaded = loadUsable(JSON.stringify(DOCUMENTS[part]), resolveWith);
  const log = createLog('silent');
  const engine = createPolicy({ redis, inForce: () => loaded, onDecisions: () => {}, log });
  return () => decide(engine);
}

async function decide(engine: Policy): Promise<void> {
  const caller = {
    tenant: 'default',
    grant: 'bench',
    name: 'user:bench@example.com',
    scopes: new Set(SCOPES),
    session: 'bench',
  };
  const judged = engine.judgeRun(
    { tool: 'exec', caller, args: JOB, nowMs: Date.now(), jobId: 'job_bench' },
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
