/** What is refused at one door is refused at all; and nothing that a client writes has a line of its own in the log. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Caller, callerOf, type ServerProcess, startServer } from '../../helpers/server.ts';
import { connectHttp } from '../mcp-clients.ts';
import { exchange } from './raw-connection.ts';

let server: ServerProcess;
let api: Caller;
beforeAll(async () => {
  server = await startServer({
    COFFERDAM_LOG_LEVEL: 'debug',
    COFFERDAM_POOL_READY: '0',
    COFFERDAM_POOL_MAX_READY: '2',
  });
  api = callerOf(server);
});
afterAll(() => server.stop());

/** Each asks for more than there is, or for what there is not. */
const TOO_MUCH: readonly (readonly [string, Record<string, unknown>])[] = [
  ['more memory than the ceiling', { limits: { memoryMb: 10_000_000 } }],
  ['more time than the ceiling', { timeoutMs: 1_000_000_000 }],
  ['no limit at all', { limits: { processes: 0 } }],
  ['a privilege', { privileged: true }],
  ['an image of somewhere else', { image: 'docker.io/library/alpine' }],
  ['a file outside', { files: [{ path: '../x', content: '' }] }],
];

describe('H43 a job that wants', () => {
  test.each(TOO_MUCH)(
    '%s is refused alone, in a batch, in a stream of lines and over MCP',
    async (_, more) => {
      const job = { command: ['true'], ...more };
      const post = (path: string, body: unknown, type = 'application/json') =>
        api.send(path, { method: 'POST', body, headers: { 'Content-Type': type } });
      const answers = [
        await post('/v1/jobs', job),
        await post('/v1/batches', { jobs: [job] }),
        await post('/v1/batches', { defaults: more, jobs: [{ command: ['true'] }] }),
        await post('/v1/batches', `${JSON.stringify(job)}\n`, 'application/x-ndjson'),
      ];
      for (const answer of answers) expect([400, 422]).toContain(answer.status);
      const client = await connectHttp('v2', server);
      try {
        const said = await client.call('exec', job).catch((error: Error) => ({
          isError: true,
          text: error.message,
        }));
        expect(said.isError).toBe(true);
      } finally {
        await client.close();
      }
      const { jobs } = (await (await api.send('/v1/jobs?limit=10')).json()) as { jobs: unknown[] };
      expect(jobs).toEqual([]);
    },
  );
});

describe('H18 a client that writes lines', () => {
  test('has none of its own in the log, by path, header, label or output', async () => {
    const planted = '{"level":"info","msg":"planted"}';
    const secretly = `x\\n${planted}\\u001b[2J`;
    await exchange(
      server.url,
      `GET /v1/jobs/%0a${encodeURIComponent(planted)}%1b%5b2J HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m${planted}\r\nAuthorization: Bearer ${planted}\r\nConnection: close\r\n\r\n`,
    );
    await exchange(server.url, `NONSENSE ${planted}\n\n\x1b[2J`, 2_000);
    await api.send('/v1/jobs', {
      method: 'POST',
      body: `{"command":["printf","%s","\\n${planted.replaceAll('"', '\\"')}\\n"],"labels":{"a":"${secretly.replaceAll('"', '\\"')}"},"reason":"${secretly.replaceAll('"', '\\"')}"}`,
      headers: { Prefer: 'wait=30' },
    });
    const lines = server.log().trim().split('\n');
    const parsed = lines.map((line) => JSON.parse(line) as { msg?: string });
    expect(parsed.filter(({ msg }) => msg === 'planted')).toEqual([]);
    expect(server.log()).not.toContain('\x1b');
  });
});
