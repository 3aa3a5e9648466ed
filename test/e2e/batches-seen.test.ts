/** How the jobs of a batch are seen while it runs: its events, and the list of its jobs. */
import { describe, expect, inject, test } from 'vitest';
import { jobPage } from '../../shared/contract/page.ts';
import { batchesOf, GROUPED, sh } from './batch-api.ts';

const server = inject('server');
const batches = batchesOf(server);
const { api } = batches;
const stranger = batchesOf({ url: server.url, key: server.otherKey });

interface Seen {
  readonly event: string;
  readonly id: string;
  readonly data: { index?: number; state?: string; outcome?: unknown };
}

/** Every event until the stream ends. */
async function eventsOf(id: string, lastId?: string): Promise<Seen[]> {
  const headers = lastId === undefined ? {} : { 'Last-Event-ID': lastId };
  const text = await (await api.send(`/v1/batches/${id}/events`, { headers })).text();
  return text
    .split('\n\n')
    .map((frame) => Object.fromEntries(frame.split('\n').map((line) => line.split(/: (.*)/s))))
    .filter(({ event }) => event !== undefined)
    .map(({ event, id: at, data }) => ({ event, id: at, data: JSON.parse(data) }));
}

describe('the events of a batch', () => {
  test('tell of each job once, and end with the batch as it was', async () => {
    const { id } = await batches.submit({
      defaults: GROUPED,
      jobs: [sh('sleep 0.3'), sh('exit 1')],
    });
    const seen = await eventsOf(id);
    const jobs = seen.filter(({ event }) => event === 'job');
    expect(jobs.map(({ data }) => data.index).sort()).toEqual([0, 1]);
    expect(jobs.find(({ data }) => data.index === 1)?.data.outcome).toEqual({
      kind: 'exited',
      exitCode: 1,
    });
    expect(seen[0]).toMatchObject({ event: 'batch' });
    expect(seen.at(-1)).toMatchObject({ event: 'batch', data: { state: 'done' } });
  });

  test('go on behind the last that was received', async () => {
    const { id } = await batches.submit({
      defaults: GROUPED,
      jobs: [sh('true'), sh('true'), sh('true')],
    });
    const first = (await eventsOf(id)).find(({ event }) => event === 'job');
    const rest = (await eventsOf(id, first?.id)).filter(({ event }) => event === 'job');
    expect(rest).toHaveLength(2);
    expect(rest.map(({ data }) => data.index)).not.toContain(first?.data.index);
  });

  test('are refused for another’s batch, and from a place that is none', async () => {
    const { id } = await batches.submit({ defaults: GROUPED, jobs: [sh('true')] });
    expect((await stranger.api.send(`/v1/batches/${id}/events`)).status).toBe(404);
    const wrong = { headers: { 'Last-Event-ID': '1.abcdef' } };
    expect((await api.send(`/v1/batches/${id}/events`, wrong)).status).toBe(400);
  });
});

describe('the list of jobs', () => {
  const list = async (query: string) => {
    const response = await api.send(`/v1/jobs?${query}`);
    expect(response.status).toBe(200);
    return jobPage.parse(await response.json());
  };

  test('of a batch has them in its order, page by page, and the list without it has none', async () => {
    const jobs = [0, 1, 2].map((at) => ({ ...sh(`exit ${at}`), labels: { at: String(at) } }));
    const { id } = await batches.submit({ defaults: GROUPED, jobs });
    await batches.untilOver(id);
    const first = await list(`batch=${id}&limit=2`);
    expect(first.jobs.map(({ labels }) => labels.at)).toEqual(['0', '1']);
    const second = await list(`batch=${id}&limit=2&cursor=${first.next}`);
    expect(second.jobs.map(({ labels }) => labels.at)).toEqual(['2']);
    expect((await list(`batch=${id}&label=at%3D1`)).jobs).toHaveLength(1);
    expect((await list('label=at%3D1')).jobs).toHaveLength(0);
    expect((await stranger.api.send(`/v1/jobs?batch=${id}`)).status).toBe(404);
  });
});
