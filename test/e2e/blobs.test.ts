/** Content that many jobs share: it is sent once, stored once, and fetched once by a worker. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, inject, test } from 'vitest';
import { blobNameOf } from '../../shared/contract/blob.ts';
import { callerOf, startServer } from '../helpers/server.ts';
import { run } from './command-line.ts';

const server = inject('server');
const api = callerOf(server);
const sh = (text: string) => ({ command: ['sh', '-c', text] });
const MIB = 1024 * 1024;
/** Whether a client meets the refusal or a reset is a race: often enough to lose it. */
const REFUSED_TIMES = 20;

const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-blobs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Content that no other run of these tests has put. */
const fresh = (bytes: number): Buffer => randomBytes(bytes);

async function putBlob(content: Buffer, to = api): Promise<string> {
  const blob = await blobNameOf(content);
  const response = await to.send(`/v1/blobs/${blob}`, {
    method: 'PUT',
    body: content,
    headers: { 'Content-Type': 'application/octet-stream' },
  });
  expect(await response.json()).toMatchObject({ blob, bytes: content.length });
  expect(response.status).toBe(201);
  return blob;
}

async function figure(name: string): Promise<number> {
  const text = await (await api.send('/metrics')).text();
  return Number(text.match(new RegExp(`^cofferdam_${name} (\\d+)$`, 'm'))?.[1]);
}

describe('a job that names a blob', () => {
  test('has it as a file, byte for byte, beside other files and under several paths', async () => {
    const content = fresh(300_000);
    const blob = await putBlob(content);
    const result = await api.run({
      files: [
        { path: 'deep/er/data', blob },
        { path: 'text', content: 'text' },
        { path: 'again', blob },
      ],
      ...sh('cat text; sha256sum deep/er/data again | cut -c 1-64'),
    });
    const hex = blob.slice('sha256:'.length);
    expect(result.stdout).toBe(`text${hex}\n${hex}\n`);
  });

  test('may execute it, write to it, and leaves the next job as it was put', async () => {
    const blob = await putBlob(Buffer.from(`#!/bin/sh\necho "${fresh(8).toString('hex')}"\n`));
    const files = [{ path: 'program', blob, executable: true }];
    const first = await api.run({ files, ...sh('./program && echo changed > program') });
    const second = await api.run({ files, command: ['./program'] });
    expect(first).toMatchObject({ exitCode: 0 });
    expect(second).toMatchObject({ exitCode: 0, stdout: first.stdout });
  });

  test('may name an empty one', async () => {
    const empty = Buffer.alloc(0);
    const blob = await blobNameOf(empty);
    const headers = { 'Content-Type': 'application/octet-stream' };
    await api.send(`/v1/blobs/${blob}`, { method: 'PUT', body: empty, headers });
    const files = [{ path: 'empty', blob }];
    expect((await api.run({ files, ...sh('wc -c < empty') })).stdout).toBe('0\n');
  });

  test('and dozens more like it cost one fetch of the worker', async () => {
    const content = fresh(MIB);
    const blob = await putBlob(content);
    const fetched = await figure('blob_fetches_total');
    const kept = await figure('blob_cache_bytes');
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        api.run({ files: [{ path: 'harness', blob }], ...sh(`echo ${at}; wc -c < harness`) }),
      ),
    );
    expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, at) => `${at}\n${MIB}\n`));
    expect((await figure('blob_fetches_total')) - fetched).toBe(1);
    expect((await figure('blob_cache_bytes')) - kept).toBe(MIB);
  });

  test('is refused where nobody put it, with the field', async () => {
    const blob = await blobNameOf(fresh(10));
    const body = {
      files: [
        { path: 'a', content: '' },
        { path: 'b', blob },
      ],
      ...sh('true'),
    };
    const response = await api.send('/v1/jobs', { method: 'POST', body });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code: 'BLOB_UNKNOWN', field: 'files.1.blob' });
  });

  test('is refused where its workspace has no room for it', async () => {
    const blob = await putBlob(fresh(2 * MIB));
    const body = { files: [{ path: 'a', blob }], limits: { workspaceMb: 1 }, ...sh('true') };
    const response = await api.send('/v1/jobs', { method: 'POST', body });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code: 'LIMIT_ABOVE_CEILING', field: 'files' });
  });

  test('is refused once the blob is expired; named in time, it is there for as long as it waits', async () => {
    const short = await startServer({ COFFERDAM_BLOB_TTL_MS: '3000', COFFERDAM_SLOTS: '1' });
    try {
      const own = callerOf(short);
      const [left, named] = [await putBlob(fresh(1000), own), await putBlob(fresh(1000), own)];
      const blocking = own.run(sh('sleep 7'));
      const waiting = await own.submit({ files: [{ path: 'a', blob: named }], ...sh('wc -c < a') });
      await sleep(4_500);
      const body = { files: [{ path: 'a', blob: left }], ...sh('true') };
      const late = await own.send('/v1/jobs', { method: 'POST', body });
      expect(await late.json()).toMatchObject({ code: 'BLOB_UNKNOWN' });
      await blocking;
      expect((await own.get(waiting.id, 60)).stdout).toBe('1000\n');
    } finally {
      await short.stop();
    }
  });
});

describe('a blob', () => {
  test('can be looked for before it is sent', async () => {
    const content = fresh(5000);
    const blob = await blobNameOf(content);
    const look = () => api.send(`/v1/blobs/${blob}`, { method: 'HEAD' });
    expect((await look()).status).toBe(404);
    await putBlob(content);
    const found = await look();
    expect(found.status).toBe(200);
    expect(found.headers.get('x-blob-bytes')).toBe('5000');
    expect(Date.parse(found.headers.get('x-blob-expires-at') ?? '')).toBeGreaterThan(Date.now());
  });

  test('may be as large as /v1/info says, and no larger', async () => {
    const { maxBlobBytes } = (await (await api.send('/v1/info')).json()) as {
      maxBlobBytes: number;
    };
    expect(maxBlobBytes).toBe(16 * MIB);
    const blob = await putBlob(fresh(maxBlobBytes));
    const result = await api.run({ files: [{ path: 'large', blob }], ...sh('wc -c < large') });
    expect(result.stdout).toBe(`${maxBlobBytes}\n`);
    const tooLarge = fresh(maxBlobBytes + 1);
    for (let sent = 0; sent < REFUSED_TIMES; sent++) {
      const response = await api.send(`/v1/blobs/${blob}`, {
        method: 'PUT',
        body: tooLarge,
        headers: { 'Content-Type': 'application/octet-stream' },
      });
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: 'BODY_TOO_LARGE' });
    }
  });
});

describe('cofferdam blob put', () => {
  const env = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };

  test('prints the name of a file for jobs to use, also when it is there', async () => {
    const content = fresh(100_000);
    const file = path.join(folder, 'data');
    writeFileSync(file, content);
    const blob = await blobNameOf(content);
    for (const _ of [1, 2]) {
      const command = await run(['blob', 'put', file], { env });
      expect(command).toEqual({ code: 0, stdout: `${blob}\n`, stderr: '' });
    }
    const files = [{ path: 'data', blob }];
    expect((await api.run({ files, ...sh('wc -c < data') })).stdout).toBe('100000\n');
  });

  test('says which file it could not read', async () => {
    const file = path.join(folder, 'none');
    const { code, stderr } = await run(['blob', 'put', file], { env });
    expect(code).toBe(1);
    expect(stderr).toContain(file);
  });
});
