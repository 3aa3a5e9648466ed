/** Callbacks of a whole server: from the request to the receiver. */
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchAccepted } from '../../shared/contract/batch.ts';
import { callbackMessage } from '../../shared/contract/callback-message.ts';
import { type Received, type Receiver, startReceiver } from '../api/callbacks/receiver.ts';
import { type Caller, callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { until } from './watching.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const ARRIVES_WITHIN_MS = 30_000;

let server: ServerProcess;
let receiver: Receiver;
let api: Caller;

beforeAll(async () => {
  receiver = await startReceiver();
  server = await startServer({
    COFFERDAM_WEBHOOK_SECRET: SECRET,
    COFFERDAM_CALLBACK_ALLOW: `127.0.0.1:${receiver.port}`,
  });
  api = callerOf(server);
});

afterAll(async () => {
  await server.stop();
  await receiver.close();
});

/** What arrived about this job or batch, verified. */
async function heardOf(subject: string): Promise<ReturnType<typeof callbackMessage.parse>> {
  const isIt = ({ headers }: Received): boolean => headers['webhook-id'] === `cb_${subject}`;
  await until('it is received', ARRIVES_WITHIN_MS, async () => receiver.received.some(isIt));
  const { body, headers } = receiver.received.find(isIt) as Received;
  return callbackMessage.parse(new Webhook(SECRET).verify(body, headers));
}

const command = ['sh', '-c', 'echo hello; exit 3'];

describe('a callback', () => {
  test('tells of the end of a job, with its result', async () => {
    const { id } = await api.submit({ command, callback: receiver.url });
    const { type, data } = await heardOf(id);
    const { url, ...result } = await api.get(id).then((got) => ({ ...got, url: undefined }));
    expect(url).toBeUndefined();
    expect(type).toBe('job.done');
    expect(data).toEqual({ ...result, content: 'whole', url: `/v1/jobs/${id}` });
  });

  test('leaves the output out when it is asked to', async () => {
    const callback = { url: receiver.url, includeOutput: false };
    const { id } = await api.submit({ command, callback });
    const { data } = await heardOf(id);
    expect(data).toMatchObject({ content: 'without_output', exitCode: 3, stdoutBytes: 6 });
    expect(data).not.toHaveProperty('stdout');
  });

  test('tells of the end of a batch, once, and of its jobs where its defaults say so', async () => {
    const body = {
      callback: receiver.url,
      defaults: { callback: receiver.url, isolation: 'group' },
      jobs: [{ command }, { command: ['true'] }],
    };
    const response = await api.send('/v1/batches', { method: 'POST', body });
    expect(response.status).toBe(202);
    const { id } = (await response.json()) as BatchAccepted;
    const { type, data } = await heardOf(id);
    expect(type).toBe('batch.done');
    expect(data).toMatchObject({ id, state: 'done', counts: { total: 2, done: 2 } });
    const page = await api.send(`/v1/jobs?batch=${id}`);
    const { jobs } = (await page.json()) as { jobs: { id: string }[] };
    for (const job of jobs) expect((await heardOf(job.id)).type).toBe('job.done');
    const ofBatch = receiver.received.filter(({ headers }) => headers['webhook-id'] === `cb_${id}`);
    expect(ofBatch).toHaveLength(1);
  });

  test.each([
    ['https://127.0.0.1/'],
    ['http://127.0.0.1:1/'],
    ['https://169.254.169.254/latest'],
    ['https://[::ffff:127.0.0.1]/'],
    ['https://2130706433/'],
    ['http://example.com/'],
    ['file:///etc/passwd'],
  ])('to %s is refused, for a job and for a batch', async (callback) => {
    for (const [route, body] of [
      ['/v1/jobs', { command, callback }],
      ['/v1/batches', { callback, jobs: [{ command }] }],
      ['/v1/batches', { jobs: [{ command, callback }] }],
    ] as const) {
      const response = await api.send(route, { method: 'POST', body });
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({ code: 'CALLBACK_REFUSED' });
    }
  });
});
