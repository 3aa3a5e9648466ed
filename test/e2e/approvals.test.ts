/** A job that waits for people’s leave, through the doors that people use. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApprovalView, approvalPage, approvalView } from '../../shared/contract/approval.ts';
import { batchView } from '../../shared/contract/batch.ts';
import { type Caller, callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { cofferdam, run } from './command-line.ts';
import { until } from './watching.ts';

const SECRET = 's'.repeat(40);
const SMALL = { command: ['echo', 'small'] };
const BIG = { command: ['echo', 'big'], timeoutMs: 20_000 };

interface Received {
  readonly headers: Record<string, string>;
  readonly body: string;
}

const received: Received[] = [];
const receiver = http.createServer((request, response) => {
  let body = '';
  request.on('data', (bytes: Buffer) => {
    body += bytes.toString();
  });
  request.on('end', () => {
    received.push({ headers: request.headers as Record<string, string>, body });
    response.end();
  });
});

const policyOf = (port: number) => ({
  version: '1',
  name: 'approvals',
  default: 'deny',
  roles: { operators: ['user:*'] },
  notifiers: { oncall: { url: `http://127.0.0.1:${port}/notices` } },
  rules: [
    {
      name: 'big-jobs',
      tools: ['exec', 'exec_batch'],
      when: { path: 'effective.timeoutMs', op: 'gt', value: 10_000 },
      action: 'require_approval',
      reason: 'More than 10 s needs an operator.',
      approval: {
        approvers: ['role:operators'],
        mayEdit: ['timeoutMs', 'command'],
        notify: ['oncall'],
      },
    },
    { name: 'all', tools: ['*'], action: 'allow' },
  ],
});

const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-approvals-'));
let server: ServerProcess;
let agent: Caller;
let env: Record<string, string>;
let boss: Record<string, string>;

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const file = path.join(folder, 'policy.json');
  writeFileSync(file, JSON.stringify(policyOf((receiver.address() as AddressInfo).port)));
  server = await startServer({
    COFFERDAM_POLICY: file,
    COFFERDAM_WEBHOOK_SECRET: SECRET,
    COFFERDAM_CALLBACK_ALLOW: '127.0.0.1',
  });
  agent = callerOf(server);
  env = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };
  const made = await run(
    ['keys', 'create', '--tenant', 'default', '--name', 'user:boss', '--scope', 'policy:approve'],
    { env },
  );
  boss = { ...env, COFFERDAM_DEV_KEY: made.stdout.trim() };
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
  await new Promise((resolve) => receiver.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

const approvals = (who: Record<string, string>, ...args: string[]) =>
  run(['approvals', ...args], { env: who });

async function ask(request: object = BIG): Promise<{ job: string; id: string }> {
  const { id, state, approvalId = '' } = await agent.submit(request as typeof BIG);
  expect(state).toBe('awaiting_approval');
  return { job: id, id: approvalId };
}

describe('a job that the policy wants approved', () => {
  test('is held back while others run, and runs once it is approved on the command line', async () => {
    const { job, id } = await ask();
    expect((await agent.run(SMALL)).stdout).toBe('small\n');
    const listed = await approvals(boss, 'list');
    expect(listed.stdout).toContain(id);
    const shown = await approvals(boss, 'show', id);
    expect(shown.stdout).toContain('More than 10 s needs an operator.');
    expect(shown.stdout).toContain('"big"');
    expect((await agent.get(job)).state).toBe('awaiting_approval');
    const result = agent.get(job, 30);
    const approved = await approvals(boss, 'approve', id, '--reason', 'fine');
    expect(approved).toMatchObject({ code: 0, stdout: `${id} is approved: ${job}\n` });
    expect(await result).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: 'big\n',
    });
    expect((await approvals(boss, 'list')).stdout).not.toContain(id);
  });

  test('H04 is never approved by the key that asked', async () => {
    const { id } = await ask();
    const refused = await approvals(env, 'approve', id);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('APPROVAL_NOT_YOURS');
    await approvals(boss, 'deny', id, '--reason', 'enough');
  });

  test('is denied with a reason that whoever waits for it reads', async () => {
    const { job, id } = await ask();
    const result = agent.get(job, 30);
    expect((await approvals(boss, 'deny', id, '--reason', 'too long')).code).toBe(0);
    expect(await result).toMatchObject({
      outcome: { kind: 'denied', rule: 'big-jobs', reason: 'too long' },
      fault: 'policy',
      ran: 'no',
    });
    const late = await approvals(boss, 'approve', id);
    expect(late.stderr).toContain('APPROVAL_DECIDED');
  });

  test('is said to wait by the command that runs it, which tells why it ended', async () => {
    const job = cofferdam(['exec', '--timeout', '20000', '--json', '--', 'echo', 'x'], { env });
    const said = /^cofferdam: job_\w+ waits for .*`cofferdam approvals show (apr_\w+)`/;
    const id = await until('it says so', 15_000, () => said.exec(job.stderr())?.[1]);
    const logs = await run(['logs', /job_\w+/.exec(job.stderr())?.[0] ?? ''], { env });
    expect(logs.stderr).toContain('`cofferdam approvals list`');
    await approvals(boss, 'deny', id, '--reason', 'enough');
    expect(await job.exitCode).toBe(125);
    expect(JSON.parse(job.stdout())).toMatchObject({ outcome: { kind: 'denied' } });
  });

  test('runs as it was edited, with a signature that its worker accepts', async () => {
    const { job, id } = await ask();
    const fingerprint = /fingerprint +(\w+)/.exec((await approvals(boss, 'show', id)).stdout)?.[1];
    const edit = ['--edit', 'timeoutMs=5000', '--edit', 'command=["echo","edited"]'];
    const wrong = await approvals(boss, 'approve', id, '--edit', 'image=python');
    expect(wrong.stderr).toContain('the rule lets be edited: timeoutMs, command');
    const stale = await approvals(boss, 'approve', id, ...edit, '--seen', '0'.repeat(64));
    expect(stale.stderr).toContain('POLICY_CHANGED');
    const done = await approvals(boss, 'approve', id, ...edit, '--seen', fingerprint ?? '');
    expect(done).toMatchObject({ code: 0 });
    expect(await agent.get(job, 30)).toMatchObject({ stdout: 'edited\n' });
  });

  test('that its owner cancels ends its approval', async () => {
    const { job, id } = await ask();
    expect((await agent.send(`/v1/jobs/${job}`, { method: 'DELETE' })).status).toBe(200);
    const view = await agent.send(`/v1/approvals/${id}`);
    expect(approvalView.parse(await view.json()).state).toBe('cancelled');
  });

  test('is told to the notifier of the rule, signed', async () => {
    const { id } = await ask();
    const notice = await until('a notice', 15_000, () =>
      received.find(({ body }) => body.includes(id)),
    );
    const key = `whsec_${Buffer.from(SECRET).toString('base64')}`;
    const told = new Webhook(key).verify(notice.body, notice.headers) as {
      type: string;
      data: ApprovalView;
    };
    expect(told).toMatchObject({ type: 'approval.requested', data: { id, rule: 'big-jobs' } });
    expect(told.data.request).toBeUndefined();
    await approvals(boss, 'deny', id, '--reason', 'enough');
  });

  test('in a batch lets the others pass, and the batch ends with it', async () => {
    const body = { jobs: [{ key: 'big', ...BIG }, SMALL, SMALL] };
    const sent = await agent.send('/v1/batches', { method: 'POST', body });
    const { id: batch } = batchView.partial().parse(await sent.json().then(pickView));
    const view = async () =>
      batchView.parse(pickView(await (await agent.send(`/v1/batches/${batch}`)).json()));
    await until('two are done', 30_000, async () => (await view()).counts.done === 2);
    expect(await view()).toMatchObject({ state: 'running', counts: { queued: 1 } });
    const pending = await agent.send('/v1/approvals?state=pending');
    const found = approvalPage
      .parse(await pending.json())
      .approvals.find((one) => one.batch === batch);
    await approvals(boss, 'approve', found?.id ?? '');
    await until('all are done', 30_000, async () => (await view()).state === 'done');
    expect((await view()).outcomes.exited_zero).toBe(3);
  });
});

/** What an upload answers beside the view of its batch is left out. */
const pickView = (answer: unknown): unknown => {
  const { id, state, counts, outcomes, createdAt } = answer as Record<string, unknown>;
  return { id, state, counts, outcomes, createdAt };
};
