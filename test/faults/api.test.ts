/** Rows of the fault matrix: APIs that die within a request, under a waiting client, and receivers that do not answer. */
import { afterEach, expect, test } from 'vitest';
import { keys } from '../../shared/queue/keys.ts';
import { type Receiver, startReceiver } from '../api/callbacks/receiver.ts';
import { bytesOf, readStream, resultOf, storedBytes } from '../e2e/event-stream.ts';
import { until } from '../e2e/watching.ts';
import { UNARMED } from './kit/armed.ts';
import { nonceJob } from './kit/client.ts';
import { API_MILESTONES, crashAt } from './kit/crashes.ts';
import { show } from './kit/figures.ts';
import { keepBusy } from './kit/load.ts';
import { STOCK, startTrial, type Trial } from './kit/trial.ts';

/** More than a worker gets done must not pile up while APIs die. */
const BATCH_WAITED_FOR_S = 30;

let trial: Trial;
afterEach(() => trial.stop());

test('A1: an API is killed within requests and batches: a client that repeats has each job exactly once', async () => {
  trial = await startTrial();
  const { world, redis } = trial;
  const steady = await world.startApi();
  const victim = await world.startApi();
  await world.startWorker();
  const before = await trial.takeCensus();
  await victim.kill();
  const client = trial.clientOf([victim, steady]);
  const batch = () => Array.from({ length: 8 }, () => nonceJob());
  const loads = [
    keepBusy(3, (waitSeconds) => client.submitSurely(nonceJob(), { waitSeconds })),
    keepBusy(1, async () => {
      const id = await client.submitBatchSurely(batch(), { isolation: 'group' });
      await client.waitForBatch(id, BATCH_WAITED_FOR_S);
    }),
  ];
  for (const at of API_MILESTONES) await crashAt(victim, at, { times: 4, redis });
  for (const load of loads) await load.stop();
  await victim.start(UNARMED);
  const { verdict } = await trial.judge([client]);
  expect(verdict.counts.unknown).toBeGreaterThan(0);
  expect(verdict.counts.terminal).toBe(verdict.counts.accepted);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  const { accepted, unknown } = verdict.counts;
  show(
    'A1',
    `${4 * API_MILESTONES.length} kills, ${accepted} jobs, ${unknown} calls without an answer`,
  );
});

test('A2: a client whose API dies during a long poll or a stream goes on with another API and misses nothing', async () => {
  trial = await startTrial();
  const { world } = trial;
  const [dying, other] = [await world.startApi(), await world.startApi()];
  await world.startWorker();
  const before = await trial.takeCensus();
  const client = trial.clientOf([dying]);
  const job = nonceJob('for i in 1 2 3 4 5 6; do echo "line $i"; sleep 0.5; done');
  const id = await client.submitSurely(job);
  const polling = client.get(id, 30);
  const seen: Awaited<ReturnType<typeof readStream>> = [];
  const streaming = readStream(dying, id, {
    enough: (events) => {
      seen.splice(0, seen.length, ...events);
      return false;
    },
  });
  await until('output has come', 30_000, () => seen.some(({ event }) => event === 'output'));
  await dying.kill();
  expect(await polling).toBeUndefined();
  // A stream that lasts as long as its connection just ends with it.
  await streaming.catch(() => {});
  expect(seen.some(({ event }) => event === 'result')).toBe(false);
  const rest = await readStream(other, id, { lastId: seen.at(-1)?.id });
  const result = await trial.clientOf([other]).get(id, 30);
  const stored = JSON.parse(result?.text as string);
  expect(resultOf(rest)).toEqual(stored);
  expect(bytesOf([...seen, ...rest])).toEqual(storedBytes(stored));
  expect(stored.stdout).toBe(
    `${job.nonce}\n${[1, 2, 3, 4, 5, 6].map((i) => `line ${i}\n`).join('')}`,
  );
  await trial.judge([trial.clientOf([other])]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
});

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

test('A3: a receiver that is down, then slow, then failing hears of each job at last, under one id, whoever sends it', async () => {
  const probe = await startReceiver();
  const { port, url } = probe;
  await probe.close();
  trial = await startTrial({
    env: { COFFERDAM_WEBHOOK_SECRET: SECRET, COFFERDAM_CALLBACK_ALLOW: `127.0.0.1:${port}` },
  });
  const { world, redis } = trial;
  const [first, second] = [await world.startApi(), await world.startApi()];
  await world.startWorker();
  const before = await trial.takeCensus();
  const client = trial.clientOf([first, second]);
  const wanted = await Promise.all(
    Array.from({ length: 4 }, () => client.submitSurely(nonceJob('true', { callback: url }))),
  );
  for (const id of wanted) await client.get(id, 30);
  await until('each was tried while nobody listened', 15_000, async () => {
    const tries = await Promise.all(
      wanted.map((id) => redis.hget(keys.callback(`cb_${id}`), 'attempts')),
    );
    return tries.every((one) => Number(one) >= 1);
  });
  // A few seconds later half of them meet silence, the others a failure; half a minute after that they arrive.
  const receiver: Receiver = await startReceiver('127.0.0.1', port);
  trial.world.own(() => receiver.close());
  const met = new Set<string | undefined>();
  receiver.answer = (response, { headers }) => {
    const id = String(headers['webhook-id']);
    if (met.has(id)) return void response.writeHead(204).end();
    met.add(id);
    if (met.size % 2 === 0) response.writeHead(500).end();
  };
  await until('an attempt hangs', 30_000, () => receiver.received.length > 0);
  trial.history.fault('an API killed while its delivery hangs');
  await first.kill();
  const heard = () => new Set(receiver.received.map(({ headers }) => headers['webhook-id']));
  const isOver = async () => (await redis.hlen(keys.callbacksWaiting())) === 0;
  await until('all are delivered', 120_000, isOver);
  expect(heard()).toEqual(new Set(wanted.map((id) => `cb_${id}`)));
  await trial.judge([trial.clientOf([second])]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show(
    'A3',
    `${wanted.length} callbacks, ${receiver.received.length} attempts reached the receiver`,
  );
});
