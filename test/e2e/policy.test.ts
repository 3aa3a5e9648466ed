import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problem } from '../../shared/contract/problem.ts';
import { KEEPS_EVERYTHING, type OperatorsRedis, startOperatorsRedis } from '../helpers/redis.ts';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';

const KEY = 'k'.repeat(36);
const FOLLOWED_WITHIN_MS = 3_000;

let redis: OperatorsRedis;
let folder: string;
let file: string;
let apis: ServerProcess[] = [];
beforeAll(async () => {
  redis = await startOperatorsRedis(...KEEPS_EVERYTHING);
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-policy-'));
  file = path.join(folder, 'policy.json');
  write('first', TEN_A_MINUTE);
  const env = { COFFERDAM_REDIS_URL: redis.url, COFFERDAM_DEV_KEY: KEY };
  const options = { command: 'api' } as const;
  apis = [
    await startServer({ ...env, COFFERDAM_POLICY: file }, options),
    await startServer({ ...env, COFFERDAM_POLICY: '' }, options),
  ];
});
afterAll(async () => {
  await Promise.all(apis.map((api) => api.stop()));
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

const TEN_A_MINUTE = { max: 10, window: 60, per: 'session', reason: '10 runs a minute' };
const documentOf = (name: string, rate_limit?: object, more: object = {}): object => ({
  version: '1',
  name,
  rules: [
    { name: 'run', tools: ['exec'], action: 'allow', ...(rate_limit ? { rate_limit } : {}) },
    { name: 'look', tools: ['job_*', 'policy_check', 'sandbox_info'], action: 'allow' },
    {
      name: 'no-network-tools',
      tools: ['exec'],
      when: { path: 'args.command.0', op: 'eq', value: 'curl' },
      action: 'deny',
      reason: 'Sandboxes have no network.',
    },
  ],
  ...more,
});

function writeText(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}
const write = (name: string, rate_limit?: object): void =>
  writeText(JSON.stringify(documentOf(name, rate_limit)));

const api = (at: number) => callerOf(apis[at % 2] as ServerProcess);
const submit = (at: number, session: string, command = ['true']): Promise<Response> =>
  api(at).send('/v1/jobs', {
    method: 'POST',
    body: { command },
    headers: { 'Cofferdam-Session': session },
  });
const inForce = async (at: number): Promise<{ name: string; etag: string }> => {
  const answer = await api(at).send('/v1/policy');
  const { name } = (await answer.json()) as { name: string };
  return { name, etag: answer.headers.get('etag') ?? '' };
};
const problems = async (at: number): Promise<string[]> =>
  ((await (await api(at).send('/readyz')).json()) as { problems: string[] }).problems;

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + FOLLOWED_WITHIN_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(50);
  }
}
const followed = (name: string): Promise<void> =>
  until(name, async () => {
    const names = await Promise.all([inForce(0), inForce(1)]);
    return names.every((one) => one.name === name);
  });

async function put(name: string, rate_limit?: object, more: object = {}): Promise<void> {
  const { etag } = await inForce(0);
  const headers = { 'If-Match': etag };
  const body = documentOf(name, rate_limit, more);
  const answer = await api(0).send('/v1/policy', { method: 'PUT', body, headers });
  if (answer.status !== 200) throw new Error(await answer.text());
  await followed(name);
}

describe('rate_limit {max: 10, window: 60} per session, over two API processes', () => {
  it('H21 admits exactly 10 of 500 parallel calls, and tells the others when to come back', async () => {
    const answers = await Promise.all(Array.from({ length: 500 }, (_, n) => submit(n, 'crowd')));
    const admitted = answers.filter(({ status }) => status === 202);
    const limited = answers.filter(({ status }) => status === 429);
    expect([admitted.length, limited.length]).toEqual([10, 490]);
    for (const answer of limited) {
      const after = Number(answer.headers.get('retry-after'));
      expect(after).toBeGreaterThan(0);
      expect(after).toBeLessThanOrEqual(60);
      const { code, policy } = problem.parse(await answer.json());
      expect(code).toBe('LIMIT_EXCEEDED');
      expect(policy).toMatchObject({ decision: 'rate_limited', rule: 'run' });
    }
    expect((await submit(0, 'another')).status).toBe(202);
  });

  it('admits the eleventh call after the time that it was told', async () => {
    await put('short', { ...TEN_A_MINUTE, window: 2 });
    for (let n = 0; n < 10; n++) expect((await submit(n, 'patient')).status).toBe(202);
    const eleventh = await submit(1, 'patient');
    expect(eleventh.status).toBe(429);
    await sleep(1000 * Number(eleventh.headers.get('retry-after')));
    expect((await submit(1, 'patient')).status).toBe(202);
  });

  it('gives a key no more by other session names', async () => {
    const own = { ...TEN_A_MINUTE, window: 61 };
    const ofKey = { max: 12, window: 61, per: 'grant' };
    await put('ceiling', [own, ofKey]);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => submit(n, `s${n}`)));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(12);
  });
});

describe('a denial', () => {
  it('reaches the caller with its rule and reason, and enqueues nothing', async () => {
    await put('open');
    const before = await (await api(0).send('/v1/jobs')).json();
    const answer = await submit(0, 's', ['curl', 'http://x']);
    expect(answer.status).toBe(403);
    expect(problem.parse(await answer.json())).toMatchObject({
      code: 'POLICY_DENIED',
      detail: 'exec is denied by the rule no-network-tools: Sandboxes have no network.',
      policy: { decision: 'deny', rule: 'no-network-tools', retryAfterMs: null },
    });
    expect(await (await api(0).send('/v1/jobs')).json()).toEqual(before);
  });
});

describe('a reload', () => {
  it('of a broken file keeps the last good one in force under load, and /readyz says so', async () => {
    write('good');
    await followed('good');
    let isOver = false;
    const load = (async () => {
      const seen = new Set<number>();
      for (let n = 0; !isOver; n++) seen.add((await submit(n, 'load')).status);
      return [...seen];
    })();
    writeText('{"version": "1", "rules": [');
    await until('the problem', async () => (await problems(0)).some((one) => one.includes(file)));
    expect((await inForce(0)).name).toBe('good');
    write('better');
    await followed('better');
    isOver = true;
    expect(await load).toEqual([202]);
    expect((await problems(0)).some((one) => one.includes(file))).toBe(false);
  });
});

describe('the kill switch', () => {
  it('refuses runs in both processes at once with the next document, and looks still work', async () => {
    await put('killed', undefined, { killSwitch: { active: true, reason: 'Stop.' } });
    for (const at of [0, 1]) {
      const answer = await submit(at, 's');
      expect(answer.status).toBe(403);
      expect((await answer.json()) as object).toMatchObject({ policy: { reason: 'Stop.' } });
    }
    expect((await api(1).send('/v1/jobs')).status).toBe(200);
    await put('again');
    expect((await submit(1, 's')).status).toBe(202);
  });
});
