/** What a job, and whoever sends one, learns of the machine: documented remains, and nothing in an error. */
import os from 'node:os';
import { describe, expect, inject, test } from 'vitest';
import { packageRoot } from '../../shared/images.ts';
import { api, expectNothingLeft, RUNTIME } from './attack.ts';

const KIB = 1024;

describe('figures', () => {
  test('I10 of the machine are seen under runc, and not under gVisor', async () => {
    const command = ['sh', '-c', 'cat /proc/meminfo /proc/version; cat /proc/loadavg /proc/uptime'];
    const { stdout } = await api.run({ command });
    const total = Number(stdout.match(/^MemTotal:\s+(\d+)/m)?.[1]) * KIB;
    expect(total).toBeGreaterThan(0);
    // The shared kernel tells its own: docs/security.md says so.
    expect(total === os.totalmem()).toBe(RUNTIME === 'runc');
    expect(stdout.includes(os.release())).toBe(RUNTIME === 'runc');
  });
});

/** A path of the host, a container's id, an address of a service, a stack. */
const TELLING = [
  packageRoot,
  inject('server').dataDir,
  '/var/lib/docker',
  '/var/run/docker',
  'redis://',
  'node_modules',
  'at async',
  '.ts:',
];

describe('errors', () => {
  test('I11 tell nothing of paths, ids, addresses or code', async () => {
    const asked: [string, string, unknown?][] = [
      ['POST', '/v1/jobs', { command: [] }],
      ['POST', '/v1/jobs', { command: ['true'], image: 'nope' }],
      ['POST', '/v1/jobs', { command: ['true'], runtime: 'kata' }],
      ['POST', '/v1/jobs', { command: ['true'], limits: { memoryMb: 10 ** 9 } }],
      ['POST', '/v1/jobs', { command: ['true'], files: [{ path: '../x', content: '' }] }],
      ['POST', '/v1/jobs', '{"broken'],
      ['GET', '/v1/jobs/job_00000000000000000000000000000000'],
      ['GET', '/v1/jobs/%00'],
      ['GET', '/nowhere'],
      ['DELETE', '/v1/batches/batch_0'],
      ['PUT', '/v1/blobs/sha256:0', 'x'],
      ['POST', '/mcp', '{}'],
    ];
    for (const [method, route, body] of asked) {
      const response = await api.send(route, { method, body });
      const text = await response.text();
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.status).toBeLessThan(500);
      expect(TELLING.filter((one) => text.includes(one))).toEqual([]);
      expect(text).not.toMatch(/[0-9a-f]{64}/);
    }
  });

  test('I11 of jobs that could not start tell nothing either', async () => {
    for (const command of [['nope'], ['/etc/passwd'], ['/work']]) {
      const text = JSON.stringify({ ...(await api.run({ command })), image: '' });
      expect(TELLING.filter((one) => text.includes(one))).toEqual([]);
    }
  });
});

expectNothingLeft();
