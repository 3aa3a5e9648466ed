/** A key that is revoked while a request of it lasts: it lets in no more jobs, and follows nothing any more. */
import http from 'node:http';
import { expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { sh } from './batch-api.ts';

const server = inject('server');
const admin = callerOf(server);

async function makeKey(): Promise<{ id: string; key: string }> {
  const scopes = ['exec:run', 'exec:batch', 'exec:read'];
  const body = { tenant: 'default', name: 'agent:lasting', scopes };
  const answer = await admin.send('/v1/keys', { method: 'POST', body });
  expect(answer.status).toBe(201);
  return (await answer.json()) as { id: string; key: string };
}

const revoke = (id: string) => admin.send(`/v1/keys/${id}`, { method: 'DELETE' });

test('an upload goes on no longer than its key is in force', async () => {
  const { id, key } = await makeKey();
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/x-ndjson' };
  const sending = http.request(`${server.url}/v1/batches`, { method: 'POST', headers });
  const cut = new Promise<string>((resolve) => {
    sending.once('error', () => resolve('cut'));
    sending.once('response', (answer) => resolve(`answered ${answer.statusCode}`));
  });
  const line = `${JSON.stringify(sh('true'))}\n`;
  sending.write(line);
  const timer = setInterval(() => sending.write(line), 100);
  await revoke(id);
  expect(await cut).toBe('cut');
  clearInterval(timer);
  sending.destroy();
});

test('what follows a job ends with its key, and the job does not', async () => {
  const { id, key } = await makeKey();
  const own = callerOf({ url: server.url, key });
  const job = await own.submit(sh('sleep 60'));
  const events = await own.send(`/v1/jobs/${job.id}/events`);
  expect(events.status).toBe(200);
  await revoke(id);
  // It would have ended with the result.
  expect(await events.text()).not.toContain('event: result');
  const still = (await (await admin.send(`/v1/jobs/${job.id}`)).json()) as { state: string };
  expect(still.state).not.toBe('done');
  await admin.send(`/v1/jobs/${job.id}`, { method: 'DELETE' });
});
