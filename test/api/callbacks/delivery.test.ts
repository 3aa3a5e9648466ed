import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAllowList } from '../../../services/api/callbacks/address.ts';
import {
  createDeliveries,
  type Deliveries,
  type DeliveryTimes,
} from '../../../services/api/callbacks/delivery.ts';
import { createNotices } from '../../../services/api/callbacks/notices.ts';
import type { Resolve } from '../../../services/api/callbacks/resolver.ts';
import { createSigner } from '../../../services/api/callbacks/signer.ts';
import { createAcceptCallback, parseTarget } from '../../../services/api/callbacks/target.ts';
import {
  claimCallbacks,
  dueNotice,
  readDeadCallbacks,
  replayCallback,
} from '../../../shared/queue/callbacks.ts';
import { PREFIX } from '../../../shared/queue/keys.ts';
import { admitted, begun, settle } from '../../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { type Received, type Receiver, startReceiver } from './receiver.ts';

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const TIMES: DeliveryTimes = { pollMs: 10, attemptMs: 2_000, leaseMs: 10_000, waitsMs: [20, 20] };
const allow = parseAllowList(['127.0.0.0/8', 'hooks.test']);
const accept = createAcceptCallback({ secret: SECRET, allow });

let server: TestRedis;
let receiver: Receiver;
const counted = { sent: 0, failed: 0, dead: 0 };
const running: Deliveries[] = [];
const receivers: Receiver[] = [];

const metrics = {
  sent: () => void counted.sent++,
  failed: () => void counted.failed++,
  dead: () => void counted.dead++,
};

function deliver(over: { times?: Partial<DeliveryTimes>; resolve?: Resolve } = {}): Deliveries {
  const deliveries = createDeliveries({
    redis: server.redis,
    allow,
    signer: createSigner(SECRET),
    resolve: over.resolve ?? (async () => []),
    publicUrl: 'https://cofferdam.example.com/',
    metrics,
    log: silent,
    times: { ...TIMES, ...over.times },
  });
  deliveries.start();
  running.push(deliveries);
  return deliveries;
}

async function newReceiver(host?: string, port?: number): Promise<Receiver> {
  const one = await startReceiver(host, port);
  receivers.push(one);
  return one;
}

/** A job that has ended, with a callback to this URL; returns its id. */
async function ended(url: string, tenant = 'default'): Promise<string> {
  const id = await admitted(server.redis, { tenant, callback: accept(url) });
  const result = JSON.stringify({ id, state: 'done', outcome: { kind: 'exited' }, stdout: 'hi' });
  await settle(server.redis, id, await begun(server.redis, id), { result });
  return id;
}

const dead = (tenant = 'default') => readDeadCallbacks(server.redis, tenant, 100);
const left = (): Promise<string[]> => server.redis.keys(`${PREFIX}:callback*`);
const idOf = ({ headers }: Received): string => headers['webhook-id'] ?? '';

beforeAll(async () => {
  server = await startRedis();
});
beforeEach(async () => {
  await server.redis.flushall();
  Object.assign(counted, { sent: 0, failed: 0, dead: 0 });
  receiver = await newReceiver();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await Promise.all(receivers.splice(0).map((one) => one.close()));
});
afterAll(() => server.stop());

describe('the end of a job', () => {
  it('reaches its receiver, signed, and leaves nothing behind', async () => {
    deliver();
    const id = await ended(receiver.url);
    await eventually('it is received', () => receiver.received.length > 0);
    await eventually('nothing is left', async () => (await left()).length === 0);
    const [got] = receiver.received as [Received];
    expect(new Webhook(SECRET).verify(got.body, got.headers)).toMatchObject({
      type: 'job.done',
      data: { id, stdout: 'hi', url: `https://cofferdam.example.com/v1/jobs/${id}` },
    });
    expect(got.headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': `cb_${id}`,
    });
    expect(receiver.received).toHaveLength(1);
    expect(counted).toEqual({ sent: 1, failed: 0, dead: 0 });
  });

  it('of another tenant is signed with the secret of that one', async () => {
    deliver();
    await ended(receiver.url, 'two');
    await eventually('it is received', () => receiver.received.length > 0);
    const [got] = receiver.received as [Received];
    const secret = createSigner(SECRET).secretOf('two');
    expect(new Webhook(secret).verify(got.body, got.headers)).toBeDefined();
    expect(() => new Webhook(SECRET).verify(got.body, got.headers)).toThrow();
  });

  it('is sent once by two processes', async () => {
    deliver();
    deliver();
    const ids = await Promise.all(Array.from({ length: 50 }, () => ended(receiver.url)));
    await eventually('nothing is left', async () => (await left()).length === 0);
    expect(receiver.received.map(idOf).sort()).toEqual(ids.map((id) => `cb_${id}`).sort());
  });
});

describe('a delivery that fails', () => {
  it('is tried again under the same id, each attempt signed anew, until it arrives', async () => {
    const statuses = [500, 503, 200];
    receiver.answer = (response) => response.writeHead(statuses.shift() ?? 200).end();
    deliver();
    const id = await ended(receiver.url);
    await eventually('nothing is left', async () => (await left()).length === 0);
    expect(receiver.received.map(idOf)).toEqual(Array(3).fill(`cb_${id}`));
    const bodies = new Set(receiver.received.map(({ body }) => body));
    expect(bodies.size).toBe(1);
    for (const { body, headers } of receiver.received) new Webhook(SECRET).verify(body, headers);
    expect(counted).toEqual({ sent: 1, failed: 2, dead: 0 });
  });

  it('becomes a dead letter after its last attempt, and is sent when it is replayed', async () => {
    receiver.answer = (response) => response.writeHead(500).end();
    deliver();
    const id = await ended(receiver.url);
    await eventually('it is given up', async () => (await dead()).length > 0);
    expect(await dead()).toMatchObject([
      { id: `cb_${id}`, subject: id, attempts: 3, reason: 'the receiver answered 500' },
    ]);
    expect(counted).toEqual({ sent: 0, failed: 3, dead: 1 });
    receiver.answer = (response) => response.writeHead(200).end();
    expect(await replayCallback(server.redis, 'default', `cb_${id}`)).toBe(true);
    await eventually('nothing is left', async () => (await left()).length === 0);
    expect(receiver.received).toHaveLength(4);
  });

  it.each([
    ['nobody listens', 'ECONNREFUSED'],
    ['the receiver never answers', 'no answer within 0.1 s'],
  ])('where %s says so', async (what, reason) => {
    receiver.answer = () => {};
    const { url } = receiver;
    if (what === 'nobody listens') await receiver.close();
    deliver({ times: { attemptMs: 100, waitsMs: [] } });
    await ended(url);
    await eventually('it is given up', async () => (await dead()).length > 0);
    expect(await dead()).toMatchObject([{ attempts: 1, reason }]);
  });

  it('is given up at once when the receiver is gone for good', async () => {
    receiver.answer = (response) => response.writeHead(410).end();
    deliver();
    await ended(receiver.url);
    await eventually('it is given up', async () => (await dead()).length > 0);
    expect(await dead()).toMatchObject([{ attempts: 1, reason: 'the receiver answered 410' }]);
  });

  it('H28 follows no redirect, to a private address or in a ring', async () => {
    const trap = await newReceiver();
    const statuses = [301, 302, 307];
    receiver.answer = (response) =>
      response.writeHead(statuses.shift() ?? 308, { Location: trap.url }).end();
    deliver();
    await ended(receiver.url);
    await eventually('it is given up', async () => (await dead()).length > 0);
    expect((await dead())[0]?.reason).toContain('redirects are not followed');
    expect(trap.received).toEqual([]);
    expect(receiver.received).toHaveLength(3);
  });
});

describe('a target by name', () => {
  const notice = (url: string) =>
    dueNotice(server.redis, {
      type: 'test.notice',
      subject: 'n1',
      tenant: 'default',
      data: '{}',
      to: parseTarget(url, allow),
    });

  it('H26 that leads to a private address is given up at once, and nobody is connected to', async () => {
    // Nothing of the list but the loopback: the name is not on it, and 10.0.0.1 is in no range of it.
    deliver({ resolve: async () => ['10.0.0.1'] });
    await notice('https://hooks.example.com/hook');
    await eventually('it is given up', async () => (await dead()).length > 0);
    expect((await dead())[0]).toMatchObject({ attempts: 1 });
    expect((await dead())[0]?.reason).toContain('off the public internet');
  });

  it('is asked for once an attempt, and the checked answer is the one connected to', async () => {
    // A name that answers otherwise each time it is asked: the first answer is another host than the second.
    const other = await newReceiver('127.0.0.2', receiver.port);
    const answers = ['127.0.0.1', '127.0.0.2', '10.0.0.1'];
    let asked = 0;
    deliver({ resolve: async () => [answers[asked++] ?? '10.0.0.1'] });
    await notice(`http://hooks.test:${receiver.port}/hook`);
    await eventually('nothing is left', async () => (await left()).length === 0);
    expect(asked).toBe(1);
    expect(receiver.received).toHaveLength(1);
    expect(receiver.received[0]?.headers.host).toBe(`hooks.test:${receiver.port}`);
    expect(other.received).toEqual([]);
  });

  it('that has no address may have one at the next attempt', async () => {
    let asked = 0;
    deliver({ resolve: async () => (asked++ === 0 ? [] : ['127.0.0.1']) });
    await notice(`http://hooks.test:${receiver.port}/hook`);
    await eventually('it is received', () => receiver.received.length > 0);
    expect(asked).toBe(2);
  });

  it('that is no longer allowed is given up at once', async () => {
    const former = parseAllowList(['10.9.9.9']);
    await dueNotice(server.redis, {
      type: 'test.notice',
      subject: 'n1',
      tenant: 'default',
      data: '{}',
      to: parseTarget('http://10.9.9.9/hook', former),
    });
    deliver();
    await eventually('it is given up', async () => (await dead()).length > 0);
    expect((await dead())[0]?.reason).toContain('expected https');
  });
});

describe('one slow receiver', () => {
  it('holds up no other, of the same tenant or of another', async () => {
    receiver.answer = () => {};
    const fast = await newReceiver();
    for (let n = 0; n < 40; n++) await ended(receiver.url);
    deliver({ times: { attemptMs: 30_000 } });
    await eventually('the slow one is busy', () => receiver.received.length === 4);
    await ended(fast.url);
    await ended(fast.url, 'two');
    await eventually('the fast one has heard', () => fast.received.length === 2);
    expect(receiver.received).toHaveLength(4);
  });
});

describe('a process', () => {
  it('that dies between claim and send leaves the delivery to another, after the lease', async () => {
    const id = await ended(receiver.url);
    const lost = await claimCallbacks(server.redis, {
      wanted: 10,
      leaseMs: 300,
      maxOfLane: 4,
      maxOfTenant: 16,
      underWay: {},
    });
    expect(lost).toHaveLength(1);
    deliver();
    await eventually('it is received', () => receiver.received.length > 0);
    expect(receiver.received.map(idOf)).toEqual([`cb_${id}`]);
  });

  it('stops at once, and gives back what is under way', async () => {
    receiver.answer = () => {};
    const ids = await Promise.all(Array.from({ length: 8 }, () => ended(receiver.url)));
    const stopping = deliver({ times: { attemptMs: 60_000, leaseMs: 600_000 } });
    await eventually('some are under way', () => receiver.received.length === 4);
    await Promise.all([stopping.stop(), stopping.stop()]);
    expect(counted).toEqual({ sent: 0, failed: 0, dead: 0 });
    receiver.received.length = 0;
    receiver.answer = (response) => response.writeHead(204).end();
    deliver();
    await eventually('nothing is left', async () => (await left()).length === 0);
    expect(receiver.received.map(idOf).sort()).toEqual(ids.map((id) => `cb_${id}`).sort());
  });

  it('goes on once Redis is there again', async () => {
    deliver({ times: { leaseMs: 500 } });
    const id = await ended(receiver.url);
    await eventually('it is received', () => receiver.received.map(idOf).includes(`cb_${id}`));
    await server.restart();
    const next = await ended(receiver.url);
    await eventually('the next is, too', () => receiver.received.map(idOf).includes(`cb_${next}`));
  });
});

describe('a notice', () => {
  const notices = (secret: string | undefined) =>
    createNotices({ redis: server.redis, secret, allow });
  const notice = (url: string) => ({
    type: 'approval.requested',
    subject: 'apr_1.ops',
    tenant: 'two',
    url,
    data: { approval: 'apr_1' },
  });

  it('takes the same road, signed by the operator, whose tenant it ever is of', async () => {
    deliver();
    await notices(SECRET).send(notice(receiver.url));
    await eventually('it is received', () => receiver.received.length > 0);
    const [got] = receiver.received as [Received];
    expect(new Webhook(SECRET).verify(got.body, got.headers)).toMatchObject({
      type: 'approval.requested',
      data: { approval: 'apr_1' },
    });
    expect(got.headers['webhook-id']).toBe('cb_apr_1.ops');
  });

  it('is refused to a target that is not allowed, and while there is no secret', async () => {
    const refused = { code: 'CALLBACK_REFUSED' };
    await expect(notices(SECRET).send(notice('http://10.0.0.1/'))).rejects.toMatchObject(refused);
    await expect(notices(undefined).send(notice(receiver.url))).rejects.toMatchObject(refused);
  });
});
