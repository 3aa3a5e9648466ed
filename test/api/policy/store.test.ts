import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defaultPolicy } from '../../../services/api/policy/default-policy.ts';
import { createPolicy } from '../../../services/api/policy/engine.ts';
import { createPolicyStore, type PolicyStore } from '../../../services/api/policy/store.ts';
import { AppError } from '../../../shared/errors.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { admitted, begun } from '../../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { LOOK, load, RUN, resolveWith, runCall, textOf } from './documents.ts';

const WITHIN_MS = 1_000;
const fallback = defaultPolicy();

let server: TestRedis;
let folder: string;
let file: string;
const started: PolicyStore[] = [];
beforeAll(async () => {
  server = await startRedis();
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-policy-'));
  file = path.join(folder, 'policy.yaml');
});
afterEach(async () => {
  for (const store of started.splice(0)) await store.stop();
  await server.redis.flushall();
  rmSync(file, { force: true });
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await server.stop();
});

async function aStore(from?: string): Promise<PolicyStore> {
  const redis = await server.connect('request');
  const store = createPolicyStore({ redis, file: from, load, fallback, log: silent });
  await store.start();
  started.push(store);
  return store;
}

/** As editors and deployments do it: whole or not at all. */
function write(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

const named = (name: string, more: object = {}): string =>
  textOf({ name, rules: [RUN, LOOK], ...more });
const nameOf = (store: PolicyStore): string => store.current.policy.name;
const followed = (name: string, ...stores: PolicyStore[]): Promise<void> =>
  eventually(
    `${name} in force`,
    () => stores.every((store) => nameOf(store) === name),
    WITHIN_MS * 3,
  );

async function errorOf(act: Promise<unknown>): Promise<AppError> {
  const error = await act.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof AppError) return error;
  throw new Error(`expected an AppError; came ${error}`);
}

describe('without a document', () => {
  it('the default is in force, and nothing is wrong', async () => {
    const store = await aStore();
    expect(store.current).toMatchObject({ source: 'default', text: null, policy: fallback });
    expect(store.problems()).toEqual([]);
  });

  it('the first PUT names the default’s revision, and a second one by it is too late', async () => {
    const [one, two] = [await aStore(), await aStore()];
    const ifMatch = fallback.revision;
    await one.put(named('first'), { ifMatch, by: 'ann' });
    expect(one.current).toMatchObject({ source: 'put', by: 'ann', policy: { name: 'first' } });
    const error = await errorOf(two.put(named('second'), { ifMatch, by: 'bob' }));
    expect(error.code).toBe('POLICY_CHANGED');
    expect(nameOf(two)).toBe('first');
  });
});

describe('a file', () => {
  it('is in force from the start, in every process', async () => {
    write(named('from-file'));
    const [one, two] = [await aStore(file), await aStore()];
    expect([one, two].map(nameOf)).toEqual(['from-file', 'from-file']);
    expect(one.current.source).toBe('file');
  });

  it('that changes is in force in two processes without a restart', async () => {
    write(named('before'));
    const [one, two] = [await aStore(file), await aStore()];
    write(named('after'));
    await followed('after', one, two);
  });

  it('that is broken, or fails its own tests, leaves the last good one in force and says so', async () => {
    write(named('good'));
    const store = await aStore(file);
    for (const broken of [
      '{"version": "1", "rules": [',
      textOf({ rulez: [] }),
      named('bad', { tests: [{ name: 'no', tool: 'exec', args: {}, expect: 'deny' }] }),
    ]) {
      write(broken);
      await eventually('the problem', () => store.problems().length > 0, WITHIN_MS * 3);
      expect(store.problems()[0]).toContain(`revision ${store.current.policy.revision} stays`);
      expect(nameOf(store)).toBe('good');
      write(named('good'));
      await eventually('its end', () => store.problems().length === 0, WITHIN_MS * 3);
    }
  });

  it('that goes away leaves the last good one in force and says so', async () => {
    write(named('good'));
    const store = await aStore(file);
    rmSync(file);
    await eventually('the problem', () => store.problems().length > 0, WITHIN_MS * 3);
    expect(store.problems()[0]).toContain('ENOENT');
    expect(nameOf(store)).toBe('good');
  });

  it('that is broken at the start, with nothing good to fall back to, ends the start', async () => {
    write('rules: [');
    await expect(aStore(file)).rejects.toThrow(/COFFERDAM_POLICY.*not usable/s);
  });

  it('does not undo a PUT when a process starts, but does when it changes or is asked to', async () => {
    write(named('from-file'));
    const one = await aStore(file);
    await one.put(named('from-put'), { ifMatch: one.current.policy.revision, by: 'ann' });
    const two = await aStore(file);
    expect(nameOf(two)).toBe('from-put');
    process.emit('SIGHUP');
    await followed('from-file', one, two);
    await two.put(named('again'), { ifMatch: two.current.policy.revision, by: 'ann' });
    write(named('from-file', { description: 'changed' }));
    await followed('from-file', one, two);
  });
});

describe('a PUT', () => {
  it('by a stale revision changes nothing', async () => {
    const store = await aStore();
    await store.put(named('one'), { ifMatch: fallback.revision, by: 'ann' });
    const stale = store.current.policy.revision;
    await store.put(named('two'), { ifMatch: stale, by: 'ann' });
    const error = await errorOf(store.put(named('three'), { ifMatch: stale, by: 'ann' }));
    expect(error.code).toBe('POLICY_CHANGED');
    expect(error.message).toContain(store.current.policy.revision);
    expect(nameOf(store)).toBe('two');
  });

  it('lets one of many racing ones through', async () => {
    const stores = await Promise.all([aStore(), aStore(), aStore()]);
    const puts = Array.from({ length: 30 }, (_, n) =>
      (stores[n % 3] as PolicyStore)
        .put(named(`p${n}`), { ifMatch: fallback.revision, by: 'ann' })
        .then(
          () => n,
          (error: unknown) => error as AppError,
        ),
    );
    const ends = await Promise.all(puts);
    const won = ends.filter((end) => typeof end === 'number');
    expect(won).toHaveLength(1);
    for (const end of ends) {
      if (end instanceof AppError) expect(end.code).toBe('POLICY_CHANGED');
    }
    await followed(`p${won[0]}`, ...stores);
  });

  it('of what is not usable is refused with every fault', async () => {
    const store = await aStore();
    const bad = textOf({ rules: [{ ...RUN, name: '!' }], mode: 'loud' });
    const error = await errorOf(store.put(bad, { ifMatch: fallback.revision, by: 'ann' }));
    expect(error.code).toBe('POLICY_INVALID');
    expect(error.message).toContain('rules.0.name');
    expect(error.message).toContain('mode');
    expect(store.current.source).toBe('default');
  });
});

describe('under load', () => {
  it('each call meets one document as a whole, and limits go on counting', async () => {
    const limited = { ...RUN, rate_limit: { max: 40, window: 60, per: 'grant' } };
    const document = (name: string): string => textOf({ name, rules: [limited, LOOK] });
    write(document('v0'));
    const store = await aStore(file);
    const decided: string[] = [];
    const policy = createPolicy({
      redis: await server.connect('request'),
      inForce: () => store.current.policy,
      onDecisions: (all) => decided.push(...all.map(({ decision }) => decision)),
      log: silent,
    });
    let isOver = false;
    const calls = (async () => {
      let admitted = 0;
      while (!isOver) {
        const judged = policy.judgeRun(runCall(), resolveWith);
        const [result] = await policy.reserve([judged]);
        if (!(result instanceof AppError)) admitted++;
        else expect(result.code).toBe('LIMIT_EXCEEDED');
      }
      return admitted;
    })();
    write('rules: [');
    await eventually('the problem', () => store.problems().length > 0, WITHIN_MS * 3);
    expect(nameOf(store)).toBe('v0');
    write(document('v1'));
    await followed('v1', store);
    isOver = true;
    expect(await calls).toBe(40);
    expect(decided.filter((one) => one === 'allow')).toHaveLength(40);
  });
});

describe('Redis', () => {
  it('that lost everything gets back what is in force', async () => {
    const store = await aStore();
    await store.put(named('kept'), { ifMatch: fallback.revision, by: 'ann' });
    await server.redis.flushall();
    await eventually(
      'the document in Redis',
      async () =>
        (await server.redis.hget(keys.policy(), 'revision')) === store.current.policy.revision,
      WITHIN_MS * 3,
    );
    expect(nameOf(await aStore())).toBe('kept');
  });

  it('that holds what this process cannot use leaves the last good one in force', async () => {
    const store = await aStore();
    await store.put(named('good'), { ifMatch: fallback.revision, by: 'ann' });
    await server.redis.hset(keys.policy(), { document: 'rules: [', revision: 'f00' });
    await eventually('the problem', () => store.problems().length > 0, WITHIN_MS * 3);
    expect(store.problems()[0]).toContain('f00');
    expect(nameOf(store)).toBe('good');
  });
});

describe('the kill switch', () => {
  const killed = (cancelRunning: boolean): string =>
    named('killed', { killSwitch: { active: true, reason: 'Stop.', cancelRunning } });

  it('is put where workers look with the document, and goes with the next', async () => {
    const store = await aStore();
    await store.put(killed(false), { ifMatch: fallback.revision, by: 'ann' });
    expect(await server.redis.hget(keys.killSwitch(), 'reason')).toBe('Stop.');
    await store.put(named('on'), { ifMatch: store.current.policy.revision, by: 'ann' });
    expect(await server.redis.exists(keys.killSwitch())).toBe(0);
  });

  it('cancels what runs where it says so, in the operator’s name', async () => {
    const store = await aStore();
    const ids = await Promise.all([1, 2, 3].map(() => admitted(server.redis)));
    for (const id of ids) await begun(server.redis, id);
    await store.put(killed(true), { ifMatch: fallback.revision, by: 'ann' });
    await eventually('all cancelled', async () => {
      const by = await Promise.all(ids.map((id) => server.redis.hget(keys.job(id), 'cancelledBy')));
      return by.every((one) => one === 'operator');
    });
  });
});
