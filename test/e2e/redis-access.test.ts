/** A Redis that asks for a name, a password and TLS, as `cofferdam doctor` finds it. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../../shared/images.ts';
import { freePort, type RedisServer, startRedisServer } from '../faults/kit/redis-servers.ts';

const NAME = 'cofferdam';
const PASSWORD = 'p@ss:w/rd';

const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-redis-access-'));
const [certificate, privateKey] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
let server: RedisServer;
let tlsPort: number;

beforeAll(async () => {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=redis'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', privateKey, '-out', certificate],
    ],
    { stdio: 'ignore' },
  );
  tlsPort = await freePort();
  server = await startRedisServer({
    'tls-port': String(tlsPort),
    'tls-cert-file': certificate,
    'tls-key-file': privateKey,
    'tls-ca-cert-file': certificate,
    'tls-auth-clients': 'no',
  });
  await server.call('ACL', 'SETUSER', NAME, 'on', `>${PASSWORD}`, '~{cofferdam}:*', '&*', '+@all');
  await server.call('ACL', 'SETUSER', 'default', 'off');
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function foundBy(url: string, env: Record<string, string> = {}): Promise<string> {
  const command = [path.join(packageRoot, 'dist/services/cli/main.js'), 'doctor'];
  const run = promisify(execFile)(process.execPath, command, {
    env: { PATH: process.env.PATH, COFFERDAM_REDIS_URL: url, ...env },
  });
  // It ends with 1 where anything is wrong, of the engine too: what it says of Redis is asked for.
  const { stdout } = await run.catch((error: { stdout: string }) => error);
  return stdout.split('\n').find((line) => /^\S+ +redis /.test(line)) ?? stdout;
}

const login = `${NAME}:${encodeURIComponent(PASSWORD)}`;

test('its name and password are those of the URL', async () => {
  const found = await foundBy(`redis://${login}@127.0.0.1:${server.port}`);
  expect(found).toContain('every write on disk');
});

test('another password is refused, and not shown', async () => {
  const found = await foundBy(`redis://${NAME}:other-secret@127.0.0.1:${server.port}`);
  expect(found).not.toContain('every write on disk');
  expect(found).not.toContain('other-secret');
});

test('it is reached over TLS, with a certificate that this machine is told to trust and with no other', async () => {
  const url = `rediss://${login}@127.0.0.1:${tlsPort}`;
  expect(await foundBy(url, { NODE_EXTRA_CA_CERTS: certificate })).toContain('every write on disk');
  expect(await foundBy(url)).not.toContain('every write on disk');
});
