/** A request that the API must refuse: how the refusal looks, and that nothing came of it. */
import { afterAll, beforeAll, expect, inject } from 'vitest';
import type { JobPage } from '../../shared/contract/index.ts';
import { callerOf } from '../helpers/server.ts';
import { sandboxesOf, until, workerOf } from './watching.ts';

const api = callerOf(inject('server'));
export const OK = { command: ['true'] };

const newestJob = async (): Promise<string | undefined> => {
  const page = (await (await api.send('/v1/jobs?limit=1')).json()) as JobPage;
  return page.jobs[0]?.id;
};
const sandboxIds = async (): Promise<string[]> => sandboxesOf((await workerOf(api)).id);

/** Around the tests of a file: no job is recorded, no sandbox used, and afterwards the server runs a job. */
export function nothingComesOfIt(): void {
  let before: { job: string | undefined; sandboxes: string[] };
  beforeAll(async () => {
    await api.run(OK);
    // Each job's sandbox is replaced: the pool is at rest when nothing changes any more.
    let seen = '';
    await until('the pool is at rest', 30_000, async () => {
      const now = (await sandboxIds()).join();
      const isSame = now === seen && now !== '';
      seen = now;
      await new Promise((resolve) => setTimeout(resolve, 700));
      return isSame;
    });
    before = { job: await newestJob(), sandboxes: await sandboxIds() };
  });

  afterAll(async () => {
    expect(await newestJob()).toBe(before.job);
    expect(await sandboxIds()).toEqual(before.sandboxes);
    expect(await api.run({ command: ['echo', 'still here'] })).toMatchObject({
      stdout: 'still here\n',
    });
  });
}

/** Sends it and looks at the refusal; `field` undefined where no one field is at fault. */
export async function refused(body: unknown, status: number, code: string, field?: string) {
  const response = await api.send('/v1/jobs', { method: 'POST', body });
  const problem = (await response.json()) as Record<string, unknown>;
  expect({ status: response.status, code: problem.code, field: problem.field }).toEqual({
    status,
    code,
    field,
  });
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  expect(problem).toMatchObject({
    type: expect.stringContaining(code),
    title: expect.any(String),
    status,
    detail: expect.stringMatching(/\S/),
    remedy: expect.stringMatching(/\S/),
    retryable: false,
    requestId: response.headers.get('x-request-id'),
  });
  return problem as { detail: string };
}
export const invalid = (body: unknown, field?: string) =>
  refused(body, 400, 'REQUEST_INVALID', field);
