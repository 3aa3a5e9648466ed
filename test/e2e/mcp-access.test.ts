/** Who is let in to /mcp, from where, and what becomes of what is no message of the protocol. */
import { describe, expect, inject, test } from 'vitest';
import { startServer } from '../helpers/server.ts';
import { connectHttp } from './mcp-clients.ts';
import { rawRequest } from './raw-request.ts';

const server = inject('server');
const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
const json = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
};

const post = (
  headers: Record<string, string>,
  body: string = JSON.stringify(list),
  url = server.url,
) => rawRequest(`${url}/mcp`, { method: 'POST', headers: { ...json, ...headers }, body });

const authorization = `Bearer ${server.key}`;

const nested = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;

describe('a request to /mcp', () => {
  test.each([
    ['its id', `{"jsonrpc":"2.0","method":"tools/list","id":${nested}}`],
    [
      'its arguments',
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"job_list","arguments":{"labels":${nested}}}}`,
    ],
  ])('that is nested without end in %s is refused', async (_name, body) => {
    const answer = await post({ authorization, 'mcp-session-id': 'a' }, body);
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('nested');
  });

  test.each([
    ['without a key', {}],
    ['with a wrong key', { authorization: `Bearer cfd_${'0'.repeat(16)}_${'A'.repeat(43)}` }],
    ['with something else', { authorization: 'Basic x' }],
  ])('%s gets 401 and the way to a key', async (_name, headers) => {
    const answer = await post(headers);
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
  });

  test.each([
    ['a Host of another name', { host: 'evil.example' }],
    ['a Host that only begins as ours', { host: '127.0.0.1.evil.example' }],
    ['no Host of any form', { host: 'a/b' }],
    ['an Origin', { origin: 'https://evil.example' }],
    ['the Origin of a file', { origin: 'null' }],
  ])('with %s gets 403, with a good key too', async (_name, headers) => {
    const answer = await post({ authorization, ...headers });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'ORIGIN_REFUSED' });
  });

  test.each(['localhost:1', '[::1]:8080', '127.0.0.1'])(
    'by the name %s is served',
    async (host) => {
      expect((await post({ authorization, host })).status).toBe(200);
    },
  );

  test.each([
    ['broken JSON', '{', 400, -32_700],
    ['broken UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, -32_700],
    ['a list', '[]', 400, -32_600],
    ['a list of calls', JSON.stringify([list, list]), 400, -32_600],
  ])('of %s is answered in the words of the protocol', async (_name, body, status, code) => {
    const answer = await rawRequest(`${server.url}/mcp`, {
      method: 'POST',
      headers: { ...json, authorization },
      body,
    });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ jsonrpc: '2.0', error: { code } });
  });

  test.each(['GET', 'DELETE'])('by %s is answered that there are no sessions', async (method) => {
    const answer = await rawRequest(`${server.url}/mcp`, {
      method,
      headers: { ...json, authorization },
    });
    expect(answer.status).toBe(405);
  });

  test('with a key that may only read shows the tools that read, and refuses the others', async () => {
    const made = await rawRequest(`${server.url}/v1/keys`, {
      method: 'POST',
      headers: { ...json, authorization },
      body: JSON.stringify({ tenant: 'default', name: 'reader', scopes: ['exec:read'] }),
    });
    const { key } = JSON.parse(made.body) as { key: string };
    const client = await connectHttp('v2', { url: server.url, key });
    try {
      const names = (await client.tools()).map(({ name }) => name);
      expect(names).toEqual(['job_get', 'job_output', 'job_list', 'sandbox_info']);
      const answer = await client.call('exec', { command: ['true'] });
      expect(answer).toMatchObject({ isError: true, text: expect.stringContaining('exec:run') });
    } finally {
      await client.close();
    }
  });

  test('may name its session in the call; one that cannot be a name is refused', async () => {
    const client = await connectHttp('v2', server);
    try {
      const meta = { 'cofferdam/session': 'agent 7' };
      expect((await client.call('sandbox_info', {}, { meta })).isError).toBe(false);
      const wrong = { 'cofferdam/session': 'a\nb' };
      const answer = await client.call('exec', { command: ['true'] }, { meta: wrong });
      expect(answer.text).toContain('_meta.cofferdam/session');
    } finally {
      await client.close();
    }
  });
});

describe('a server with an authorization server and origins of its own', () => {
  test('says where keys come from, and answers the origins and names that it knows', async () => {
    const own = await startServer({
      COFFERDAM_OAUTH_ISSUER: 'https://id.example',
      COFFERDAM_PUBLIC_URL: 'https://run.example/',
      COFFERDAM_ALLOWED_ORIGINS: 'https://app.example',
      COFFERDAM_ALLOWED_HOSTS: 'run.internal',
    });
    try {
      const get = (path: string) => rawRequest(own.url + path, { method: 'GET', headers: {} });
      for (const path of ['', '/mcp']) {
        const answer = await get(`/.well-known/oauth-protected-resource${path}`);
        expect(JSON.parse(answer.body)).toMatchObject({
          resource: 'https://run.example/mcp',
          authorization_servers: ['https://id.example'],
        });
      }
      const refused = await post({}, undefined, own.url);
      expect(refused.headers['www-authenticate']).toBe(
        'Bearer resource_metadata="https://run.example/.well-known/oauth-protected-resource/mcp"',
      );
      const known = { authorization: `Bearer ${own.key}`, host: 'run.internal:80' };
      const answer = await post({ ...known, origin: 'https://app.example' }, undefined, own.url);
      expect(answer.status).toBe(200);
      expect(answer.headers['access-control-allow-origin']).toBe('https://app.example');
      const preflight = await rawRequest(`${own.url}/mcp`, {
        method: 'OPTIONS',
        headers: { origin: 'https://app.example' },
      });
      expect(preflight.status).toBe(204);
      expect(preflight.headers['access-control-allow-headers']).toContain('Authorization');
      expect((await get('/.well-known/oauth-protected-resource')).status).toBe(200);
    } finally {
      expect(await own.stop()).toBe(0);
    }
  });
});
