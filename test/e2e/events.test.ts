/** Following a job: what a program writes is seen while it runs, and in the end it is exactly what is stored. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { outputEvent, stateEvent } from '../../shared/contract/event.ts';
import type { JobRequest } from '../../shared/contract/index.ts';
import { callerOf } from '../helpers/server.ts';
import {
  bytesOf,
  outputs,
  readStream,
  readThroughCuts,
  resultOf,
  type SeenEvent,
  storedBytes,
} from './event-stream.ts';
import { sendRaw } from './raw-http.ts';
import { occupySlots, until, untilDone, untilRunning } from './watching.ts';

const server = inject('server');
const api = callerOf(server);
const sh = (script: string, over: Partial<JobRequest> = {}): JobRequest =>
  ({ command: ['sh', '-c', script], timeoutMs: 30_000, ...over }) as JobRequest;
const python = (script: string, over: Partial<JobRequest> = {}): JobRequest =>
  ({ image: 'python', script, timeoutMs: 60_000, ...over }) as JobRequest;

/** The events hold what is stored, and the last of them is that. */
async function expectExact(id: string, events: readonly SeenEvent[]): Promise<void> {
  const result = resultOf(events);
  expect(events.at(-1)?.event).toBe('result');
  expect(await api.get(id)).toEqual(result);
  for (const stream of ['stdout', 'stderr'] as const) {
    expect(bytesOf(events, stream).equals(storedBytes(result, stream))).toBe(true);
  }
}

/** Jobs that end only when they are cancelled, so that what was seen before was live. */
const cancel = (id: string) => api.send(`/v1/jobs/${id}`, { method: 'DELETE' });

describe('while a job runs', () => {
  test('its output is there before its end, from the first byte on', async () => {
    const { id } = await api.submit(sh('echo one; echo two >&2; sleep 50'));
    await untilRunning(api, id);
    const events = await readStream(server, id, { enough: (seen) => outputs(seen).length >= 2 });
    expect((await api.get(id)).state).toBe('running');
    for (const event of outputs(events)) expect(outputEvent.parse(event)).toEqual(event);
    expect([bytesOf(events).toString(), bytesOf(events, 'stderr').toString()]).toEqual([
      'one\n',
      'two\n',
    ]);
    const [first] = events;
    expect(stateEvent.parse(JSON.parse(first?.data ?? ''))).toEqual({
      id,
      state: 'running',
      attempt: 1,
    });
    await cancel(id);
    await untilDone(api, id);
  });

  test('a follower from before the start sees every state and every byte', async () => {
    const release = await occupySlots(api);
    const { id } = await api.submit(sh('echo early; sleep 0.3; echo late'));
    let heard = 0;
    const reading = readStream(server, id, {
      enough: ({ length }) => {
        heard = length;
        return false;
      },
    });
    await until('the first event', 20_000, () => heard > 0);
    await release();
    const events = await reading;
    const states = events.filter(({ event }) => event === 'state');
    expect(states.map(({ data }) => JSON.parse(data).state)).toEqual(['queued', 'running', 'done']);
    await expectExact(id, events);
  });

  test('a late follower sees the same as an early one, and two at once do', async () => {
    const { id } = await api.submit(
      sh('for i in 1 2 3 4 5 6; do echo $i; echo e$i >&2; sleep 0.2; done'),
    );
    const early = [readStream(server, id), readStream(server, id)];
    await sleep(700);
    const late = readStream(server, id);
    for (const events of await Promise.all([...early, late])) await expectExact(id, events);
    await expectExact(id, await readStream(server, id));
  });

  test('steps come one after another, each with its own offsets', async () => {
    const { id } = await api.submit({
      steps: [
        { name: 'one', command: ['sh', '-c', 'echo first; echo e >&2; sleep 0.3'] },
        { name: 'two', command: ['sh', '-c', 'printf "\\377"; sleep 0.3'] },
        { name: 'three', command: ['sh', '-c', 'echo third; sleep 50'] },
      ],
      timeoutMs: 60_000,
    });
    const live = await readStream(server, id, {
      enough: (seen) => outputs(seen).some(({ step }) => step === 2),
    });
    expect((await api.get(id)).state).toBe('running');
    await cancel(id);
    await untilDone(api, id);
    const lastId = live.at(-1)?.id;
    const events = [...live, ...(await readStream(server, id, { lastId }))];
    const { steps = [] } = resultOf(events);
    expect(steps.length).toBe(3);
    steps.forEach((step, index) => {
      expect(bytesOf(events, 'stdout', index)).toEqual(storedBytes(step));
      expect(bytesOf(events, 'stderr', index)).toEqual(storedBytes(step, 'stderr'));
    });
  });

  test('a followed flood of single bytes holds up no other job', async () => {
    const flood = await api.submit(
      sh('while :; do printf x; done', { limits: { stdoutBytes: 100_000 } }),
    );
    await untilRunning(api, flood.id);
    const reading = readStream(server, flood.id);
    await until('the flood', 20_000, async () => (await api.get(flood.id)).state === 'running');
    const others = await Promise.all(
      Array.from({ length: 5 }, () => api.run({ command: ['echo', 'other'] })),
    );
    expect(others.map(({ stdout }) => stdout)).toEqual(Array(5).fill('other\n'));
    expect((await api.get(flood.id)).state).toBe('running');
    await cancel(flood.id);
    const events = await reading;
    await expectExact(flood.id, events);
    expect(outputs(events).length).toBeLessThan(1_000);
  });
});

describe('exactly what is stored', () => {
  const MIXED = `
import sys, time, random
random.seed(7)
words = ['a', 'é', '€', '日本', '🙂', '\\n', 'plain text ']
left = 500_000
while left > 0:
    piece = ''.join(random.choice(words) for _ in range(random.randint(1, 4000))).encode()
    out = random.choice([sys.stdout, sys.stderr]).buffer
    out.write(piece[:left]); out.flush()
    left -= len(piece)
    if random.random() < 0.3: time.sleep(0.02)
`;
  test('arrives through connections that are cut anywhere, live and afterwards', async () => {
    const { id } = await api.submit(python(`${MIXED}\nleft = 500_000\n${MIXED}`));
    let seed = 1;
    const cutAfter = (): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % 90_000;
    };
    const { events, connections } = await readThroughCuts(server, id, cutAfter);
    expect(connections).toBeGreaterThan(10);
    expect(resultOf(events).stdoutBytes + resultOf(events).stderrBytes).toBeGreaterThan(900_000);
    await expectExact(id, events);
    const after = await readThroughCuts(server, id, cutAfter);
    await expectExact(id, after.events);
  });

  test.each(['head', 'tail', 'both'] as const)(
    'of output past its cap, with %s kept, whoever follows when',
    async (truncate) => {
      const script = `
import sys, time
for i in range(40):
    sys.stdout.write('日本é' * 200); sys.stdout.flush()
    sys.stderr.buffer.write(bytes([200, i]) * 300); sys.stderr.flush()
    time.sleep(0.02)
`;
      const limits = { stdoutBytes: 10_001, stderrBytes: 5_000 };
      const { id } = await api.submit(python(script, { truncate, limits }));
      const live = await readStream(server, id);
      expect(resultOf(live).isTruncated).toBe(true);
      await expectExact(id, live);
      await expectExact(id, await readStream(server, id));
      const gap = outputs(live)
        .filter(({ stream }) => stream === 'stdout')
        .at(-1);
      expect((gap?.offset ?? 0) < resultOf(live).stdoutBytes).toBe(true);
    },
  );

  test('of a step that filled its cap, though later steps wait for the end then', async () => {
    const { id } = await api.submit({
      steps: [
        { name: 'full', command: ['sh', '-c', 'head -c 5000 /dev/zero | tr "\\0" x'] },
        { name: 'next', command: ['sh', '-c', 'echo next; sleep 0.3'] },
      ],
      limits: { stdoutBytes: 1_000 },
    });
    const events = await readStream(server, id);
    resultOf(events).steps?.forEach((step, index) => {
      expect(bytesOf(events, 'stdout', index)).toEqual(storedBytes(step));
    });
  });

  test('of bytes that are no text', async () => {
    const { id } = await api.submit(
      sh('head -c 300000 /dev/urandom; sleep 0.3; head -c 1000 /dev/urandom >&2'),
    );
    const events = await readStream(server, id);
    await expectExact(id, events);
    expect(outputs(events).some((one) => 'base64' in one)).toBe(true);
  });

  test('of a job without any output, and of one that never ran', async () => {
    const quiet = await api.run({ command: ['true'] });
    await expectExact(quiet.id, await readStream(server, quiet.id));
    const release = await occupySlots(api);
    const { id } = await api.submit({ command: ['true'] });
    const reading = readStream(server, id);
    await cancel(id);
    await expectExact(id, await reading);
    await release();
  });
});

describe('a stream', () => {
  test('is refused for a job that is not there, before it begins', async () => {
    for (const id of [`job_${'0'.repeat(32)}`, 'nope', '..']) {
      const response = await api.send(`/v1/jobs/${encodeURIComponent(id)}/events`);
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: 'NOT_FOUND' });
    }
  });

  test.each(['', 'x', '1.0.0', '1.0.-1.0', '1.0.1.0.0'])(
    'is refused for the last id %j, and says what one looks like',
    async (lastId) => {
      const { id } = await api.run({ command: ['true'] });
      const headers = { 'Last-Event-ID': lastId };
      const response = await api.send(`/v1/jobs/${id}/events`, { headers });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        code: 'REQUEST_INVALID',
        field: 'last-event-id',
        detail: expect.stringContaining('1.0.1234.56'),
      });
    },
  );

  test('is counted while it is open, and no longer', async () => {
    const count = async (): Promise<number> => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      return Number(text.match(/cofferdam_event_streams (\d+)/)?.[1]);
    };
    const { id } = await api.submit(sh('echo x; sleep 50'));
    const before = await count();
    const leaving = { now: false };
    const reading = readStream(server, id, { enough: () => leaving.now });
    await until('one more', 10_000, async () => (await count()) === before + 1);
    leaving.now = true;
    await cancel(id);
    await reading;
    await until('as before', 10_000, async () => (await count()) === before);
  });
});

describe('a client that goes away while it waits for the job that it submits', () => {
  /** Submits over a connection that is cut once the job runs; the job's id. */
  async function submitAndLeave(label: string, headers: Record<string, string>): Promise<string> {
    const body = JSON.stringify(sh('sleep 40', { labels: { left: label }, timeoutMs: 50_000 }));
    const leaving = new AbortController();
    const sent = fetch(`${server.url}/v1/jobs`, {
      method: 'POST',
      body,
      headers: {
        Authorization: `Bearer ${server.key}`,
        'Content-Type': 'application/json',
        Prefer: 'wait=30',
        ...headers,
      },
      signal: leaving.signal,
    }).catch(() => undefined);
    const id = await until('the job', 20_000, async () => {
      const page = await (await api.send(`/v1/jobs?label=left=${label}&state=running`)).json();
      return (page as { jobs: { id: string }[] }).jobs[0]?.id;
    });
    leaving.abort();
    await sent;
    return id;
  }

  test('has it cancelled: nobody could ever ask for it', async () => {
    const id = await submitAndLeave('unnamed', {});
    expect((await untilDone(api, id)).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
  });

  test('keeps it when an Idempotency-Key names it', async () => {
    const id = await submitAndLeave('named', { 'Idempotency-Key': `left-${Date.now()}` });
    await sleep(1_500);
    expect((await api.get(id)).state).toBe('running');
    await cancel(id);
    await untilDone(api, id);
  });

  test('keeps it when it did not wait', async () => {
    const answer = await sendRaw(server, {
      path: '/v1/jobs',
      method: 'POST',
      headers: { Authorization: `Bearer ${server.key}`, 'Content-Type': 'application/json' },
      body: [JSON.stringify(sh('sleep 1; echo kept'))],
    });
    expect(answer.status).toBe(202);
    expect((await untilDone(api, String(answer.json().id))).stdout).toBe('kept\n');
  });
});
