/** Sends malformed requests to a server, a few at a time, and keeps what must not be: 5xx and silence. */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { packageRoot } from '../../../shared/images.ts';
import { callerOf, type ServerProcess } from '../../helpers/server.ts';
import { watchMemory } from '../process-memory.ts';
import { shotOf } from './requests.ts';
import { routesOf, type Target, type Tool } from './target.ts';
import type { Shot } from './wire.ts';

/** With a policy whose rules look at what comes. */
export const FUZZ_ENV = {
  COFFERDAM_POLICY: path.join(packageRoot, 'test/fixtures/policies/fuzz.yaml'),
};

const AT_ONCE = 24;
/** Streams go on after their head, and are left then. */
const READ_ON_MS = 150;
/** Whoever may wait for a job is answered long before. */
const SILENCE_MS = 40_000;
const REFRESH_AFTER = 500;
const ADDRESSES = 200;
const LARGE_BYTES = 250_000;
const SHOWN_BYTES = 600;

export interface Fuzzed {
  readonly sent: number;
  /** Requests by the status that they were answered with; 0: the connection was closed without one. */
  readonly statuses: Readonly<Record<string, number>>;
  /** What must not be, each with the number that repeats it. */
  readonly faults: readonly string[];
  readonly peakBytes: number;
}

export async function fuzz(
  server: Pick<ServerProcess, 'url' | 'key' | 'pid' | 'log'>,
  { seed, count }: { seed: number; count: number },
): Promise<Fuzzed> {
  const memory = watchMemory(server.pid);
  const statuses: Record<string, number> = {};
  const faults: string[] = [];
  let target = await lookAt(server);
  let number = 0;
  const shoot = async (): Promise<void> => {
    while (number < count) {
      const at = number++;
      if (at > 0 && at % REFRESH_AFTER === 0) target = await lookAt(server, target);
      const shot = shotOf(target, seed, at);
      const answer = await send(server.url, shot, at);
      for (const status of answer.statuses) statuses[status] = (statuses[status] ?? 0) + 1;
      const fault = faultOf(answer, shot);
      if (fault !== undefined) faults.push(`${at} (${shot.about}): ${fault}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, shoot));
  await restorePolicy(server);
  // Also those whose client was gone before it could hear of them.
  faults.push(...(server.log().match(/.*"request failed".*/g) ?? []));
  return { sent: count, statuses, faults, peakBytes: memory.stop() };
}

/** A document that lost its tests on the way may have got into force: whoever asks after this meets the first again. */
async function restorePolicy(server: Pick<ServerProcess, 'url' | 'key'>): Promise<void> {
  const { send: ask } = callerOf(server);
  const etag = (await ask('/v1/policy')).headers.get('etag') ?? '';
  const answer = await ask('/v1/policy', {
    method: 'PUT',
    body: readFileSync(FUZZ_ENV.COFFERDAM_POLICY, 'utf8'),
    headers: { 'If-Match': etag, 'Content-Type': 'application/yaml' },
  });
  if (answer.status !== 200) throw new Error(`the policy stays replaced: ${await answer.text()}`);
}

/** What is there to be asked for: routes, tools, ids, the policy's revision. */
async function lookAt(
  server: Pick<ServerProcess, 'url' | 'key'>,
  before?: Target,
): Promise<Target> {
  const { send: ask } = callerOf(server);
  const revision = (await ask('/v1/policy')).headers.get('etag')?.replaceAll('"', '') ?? '';
  const post = async (route: string, body: unknown) => {
    const answer = await ask(route, { method: 'POST', body });
    return (await answer.json()) as { id: string; key: string; approvalId: string };
  };
  const command = ['true'];
  const parked = await post('/v1/jobs', { command, labels: { leave: 'please' } });
  if (before !== undefined) {
    return { ...before, revision, ids: { ...before.ids, approvals: parked.approvalId } };
  }
  const newKey = (name: string, scope: string) =>
    post('/v1/keys', { tenant: 'default', name, scopes: [scope] });
  const approver = await newKey('user:approver', 'policy:approve');
  const ids = {
    jobs: (await post('/v1/jobs', { command })).id,
    batches: (await post('/v1/batches', { jobs: [{ command }] })).id,
    approvals: parked.approvalId,
    keys: (await newKey('user:nobody', 'exec:read')).id,
    tenants: 'fuzz',
  };
  const document = await (await ask('/openapi.json')).json();
  const { key, url } = server;
  const routes = routesOf(document as Parameters<typeof routesOf>[0]);
  const keys = { key, approverKey: approver.key };
  return { ...keys, host: new URL(url).host, routes, tools: await toolsOf(server), ids, revision };
}

async function toolsOf(server: Pick<ServerProcess, 'url' | 'key'>): Promise<Tool[]> {
  const listed = await callerOf(server).send('/mcp', {
    method: 'POST',
    headers: { Accept: 'application/json, text/event-stream' },
    body: { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} },
  });
  const [, said = ''] = (await listed.text()).match(/^data: (.*)$/m) ?? [];
  return (JSON.parse(said) as { result: { tools: Tool[] } }).result.tools;
}

interface Answer {
  readonly statuses: readonly number[];
  readonly text: string;
  readonly isSilent: boolean;
}

/** All that comes back until the connection ends, or a while after the first head where it stays open. */
function send(url: string, { bytes, isCut }: Shot, number: number): Promise<Answer> {
  const { hostname, port } = new URL(url);
  // A client's ports are used up by so many connections: each of its addresses has its own.
  const localAddress = `127.0.0.${2 + (number % ADDRESSES)}`;
  return new Promise((resolve) => {
    let text = '';
    let isSilent = false;
    const socket = net.connect({ host: hostname, port: Number(port), localAddress });
    const overdue = setTimeout(() => {
      isSilent = true;
      socket.destroy();
    }, SILENCE_MS);
    let leaving: NodeJS.Timeout | undefined;
    socket.once('connect', () => (isCut ? socket.end(bytes) : socket.write(bytes)));
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1');
      if (text.includes('\r\n\r\n')) leaving ??= setTimeout(() => socket.destroy(), READ_ON_MS);
    });
    // The server may close before it has read everything.
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(overdue);
      clearTimeout(leaving);
      const found = [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, code]) => Number(code));
      resolve({ statuses: found.length === 0 ? [0] : found, text, isSilent });
    });
  });
}

/** Back pressure is the one 5xx that a client may see, and it is told when to come back. */
function faultOf({ statuses, text, isSilent }: Answer, { bytes, isCut }: Shot): string | undefined {
  if (isSilent) return `no end within ${SILENCE_MS} ms`;
  const isBack = (status: number): boolean => status === 503 && /^retry-after: \d/im.test(text);
  if (statuses.some((status) => status >= 500 && !isBack(status)))
    return text.slice(0, SHOWN_BYTES);
  // What is refused for its size is not read to its end, and the reset may overtake the answer.
  const mayBeReset = isCut || bytes.length > LARGE_BYTES;
  if (!mayBeReset && statuses[0] === 0) return 'the connection was closed without an answer';
  return undefined;
}
